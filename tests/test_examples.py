"""The examples run on both engines and print what is shown of them."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import peewee
import pyotp
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts import generate_key
from cmcore.models import AuditLog, Customer
from tests.conftest import MakeUrl, connected

EXAMPLES = Path(__file__).parents[1] / "examples"
DOCS = EXAMPLES.parent / "docs"
CUSTOMERS = EXAMPLES / "customers.csv"
IMPORT = "import_customers.py"

# Real customers lie beside the project on some machines, and are not part of it.
REAL_CUSTOMERS = EXAMPLES.parents[1] / "shared" / "data" / "chinook_customers.csv"


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run an example with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def import_customers(path: Path, url: str) -> list[str]:
    """Import a file and return the lines that were printed."""
    done = run("import_customers.py", path, "--database", url)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("example", "page"),
    [
        ("own_models.py", "models.md"),
        ("read_trail.py", "reading.md"),
        ("undelete.py", "soft_delete.md"),
    ],
)
def test_examples_print_what_their_page_shows(example: str, page: str) -> None:
    """The output of an example is the text block that follows it on its page."""
    done = run(example)
    assert (done.returncode, done.stderr) == (0, "")
    text = (DOCS / page).read_text(encoding="utf-8")
    shown = re.search(
        rf"<!-- examples/{example} -->\n```python\n.*?```\n\n```text\n(.*?)```",
        text,
        re.DOTALL,
    )
    assert shown
    assert done.stdout == shown[1]


@pytest.mark.parametrize(
    "example", [path.name for path in EXAMPLES.glob("*.py") if path.name != IMPORT]
)
def test_examples_are_short(example: str) -> None:
    """An example with one idea fits on a screen or two."""
    assert len((EXAMPLES / example).read_text(encoding="utf-8").splitlines()) < 85


def test_the_policy_refuses_and_redacts() -> None:
    """The veto keeps the total, also a computed one; the card number is nowhere."""
    done = run("plugin_policy.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "refused: Invoice 1 was sent: write a credit note instead.",
        "total: 120",
        "create {'id': 1, 'total': 100, 'remark': '***'}",
        "update {'total': 120}",
    ]


def test_somebody_signs_in(engine: str, make_url: MakeUrl) -> None:
    """A wrong password, a wrong code and a right one; then what the trail says."""
    url, key, password = make_url(engine, migrated=True), generate_key(), "long enough!"
    with connected(url):
        cmcore.configure(secret_key=key)
        ada = accounts.create_user("ada@example.org", password, "Ada Lovelace")
        secret = accounts.begin_totp(ada, password).secret
        code, *_ = accounts.confirm_totp(ada, pyotp.TOTP(secret).now())
        cmcore.configure(secret_key=None)
    tries = [("wrong",), (password, "000000"), (password, code)]
    lines = [word for words in tries for word in ("Ada@Example.org", *words)]
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "login.py", "--database", url],
        input="".join(f"{line}\n" for line in lines),
        env={**os.environ, "CMCORE_SECRET_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout.splitlines()
    assert [line for line in printed if line.startswith("That is not right")] == (
        printed[:2]
    )
    assert printed[2:4] == [
        "Hello, Ada Lovelace. Your session is open: True",
        "  create: system created users " + ada.id,
    ]
    assert printed[-5:] == [
        "  login_failed: Login refused: wrong password, attempts: 1",
        "  login_failed: Login refused: second factor required",
        "  login_failed: Login refused: wrong code, attempts: 2",
        "  login_failed: Login refused: second factor required",
        "  login_success: ada@example.org logged in, second_factor: recovery_code",
    ]
    assert code not in done.stdout


def test_the_sink_writes_what_was_committed() -> None:
    """Nothing before COMMIT, nothing of the savepoint that was undone."""
    done = run("sink_jsonl.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "before COMMIT: False",
        "create parcel/1 {'id': 1, 'city': 'Lyon'} by system",
        "update parcel/1 {'city': 'Paris'} by system",
    ]


def test_the_sink_says_that_it_is_best_effort() -> None:
    """Its first words tell what it may miss, and where the truth is."""
    source = (EXAMPLES / "sink_jsonl.py").read_text(encoding="utf-8")
    words = ast.get_docstring(ast.parse(source)) or ""
    assert "best effort" in words
    assert "`audit_logs` is the" in words


def test_the_import_refuses_bad_rows_one_by_one(engine: str, make_url: MakeUrl) -> None:
    """All rows but the bad one are kept; it is named with line, column and rule."""
    url = make_url(engine)
    lines = import_customers(CUSTOMERS, url)
    assert lines[:2] == [
        "14 customers created, 1 refused",
        "  line 10, column email: 'ívar@example.org' breaks ck_customers_email_format",
    ]
    with connected(url):
        creates = AuditLog.for_model(Customer).where(AuditLog.action == "create")
        assert creates.count() == 14
        assert {entry.ip_address for entry in creates} == {"203.0.113.7"}
        reasons = {entry.extra_data["reason"] for entry in creates}
        assert reasons == {f"customers.csv:{n}" for n in range(2, 17) if n != 10}


def test_the_import_shows_the_trail(make_url: MakeUrl) -> None:
    """The table has the last changes, and the answer who changed what, from what."""
    lines = import_customers(CUSTOMERS, make_url("sqlite"))
    text = "\n".join(lines)
    assert "The trail of the customers: the last 10 of 19 entries" in text
    assert re.search(r"clerk@example.org +delete +Olga Wiśniewska", text)
    assert "deleted_at" not in text
    answer = lines[lines.index("Who changed Ada Lovelace, when, from what to what?") :]
    assert re.fullmatch(
        r"  clerk@example\.org from 203\.0\.113\.7, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
        answer[1],
    )
    assert "    status: pending → active" in answer
    assert "    city: London → Paris" in answer


def test_a_second_import_refuses_every_row(engine: str, make_url: MakeUrl) -> None:
    """Rows that are there already are refused as duplicates; nothing is lost."""
    url = make_url(engine)
    import_customers(CUSTOMERS, url)
    with connected(url):
        before = Customer.select().count()
    lines = import_customers(CUSTOMERS, url)
    # The customer that the first run deleted can be entered again.
    assert lines[0] == "1 customers created, 14 refused"
    assert lines[1].startswith("  line 2, column email: 'ada@example.org' ")
    with connected(url):
        assert Customer.select().count() == before


@pytest.mark.skipif(
    not REAL_CUSTOMERS.exists(),
    reason="the sample customers are not beside the project",
)
def test_real_customers_are_imported(engine: str, make_url: MakeUrl) -> None:
    """Of 59 customers in 24 ways of writing phones, exactly one is refused."""
    url = make_url(engine)
    lines = import_customers(REAL_CUSTOMERS, url)
    assert lines[:2] == [
        "58 customers created, 1 refused",
        "  line 50, column email: 'stanisław.wójcik@wp.pl' breaks "
        "ck_customers_email_format",
    ]
    with connected(url):
        creates = AuditLog.for_model(Customer).where(AuditLog.action == "create")
        assert creates.count() == 58


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name,email\nAda,ada@example.org\n", "line 1: lacks the columns address"),
        ("", "line 1: lacks the columns address"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_none_is_refused(
    content: str | None, told: str, tmp_path: Path
) -> None:
    """A missing file, or one without the columns, is told before anything is made."""
    path = tmp_path / "customers.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    database = tmp_path / "crm.db"
    done = run("import_customers.py", path, "--database", f"sqlite:///{database}")
    assert done.returncode == 2
    assert told in done.stderr
    assert not database.exists()


def test_the_schema_that_the_import_makes_is_complete(make_url: MakeUrl) -> None:
    """The import applies all migrations of a new database."""
    url = make_url("sqlite")
    import_customers(CUSTOMERS, url)
    with connected(url) as db:
        assert isinstance(db, peewee.Database)
        assert cmcore.pending(db) == []
