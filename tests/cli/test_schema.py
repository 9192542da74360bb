"""`migrate`, `rollback`, `status` and `migrations`."""

import json
from pathlib import Path

from tests import stock
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected
from tests.stock import SCRIPTS


def test_migrate_prints_what_it_applied(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """Names go to stdout, talk to stderr, and a second run has nothing to do."""
    url = make_url(engine)
    first = run("migrate", "--database", url)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines()[0] == "001_create_customers_table"
    assert first.stderr.endswith("scripts applied.\n")
    second = run("migrate", "--database", url)
    assert (second.exit_code, second.stdout) == (0, "")
    assert second.stderr == "Nothing was pending.\n"


def test_what_was_done_before_a_refusal_is_told(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """Names are printed as the scripts are done, forward and back."""
    url = make_url(engine)
    with stock.opened(lambda *_args, **_options: url, engine) as db:
        stock.migrate(db, 3)
        stock.insert_customer(db, "c1", created_by="system", phone="none")
    result = run("migrate", "--database", url)
    assert (result.exit_code, result.stdout.splitlines()) == (1, SCRIPTS[3:5])
    assert "ck_customers_phone_format" in result.stderr
    result = run("rollback", "--count", "5", "--database", url)
    assert (result.exit_code, result.stdout.splitlines()) == (1, SCRIPTS[4:0:-1])
    assert "customers has 1 row(s)" in result.stderr


def test_migrate_stops_at_its_target(run: Run, engine: str, make_url: MakeUrl) -> None:
    """With --target only the scripts up to that one are applied."""
    url = make_url(engine)
    result = run("migrate", "--target", "002_create_users_table", "--database", url)
    assert result.stdout.splitlines() == [
        "001_create_customers_table",
        "002_create_users_table",
    ]
    document = json.loads(run("status", "--json", "--database", url).stdout)
    assert document["applied"] == result.stdout.splitlines()
    assert document["pending"][0] == "003_create_audit_logs_table"


def test_migrate_can_make_the_trail_alone(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """With --trail-only there is audit_logs, and no table of users."""
    url = make_url(engine)
    assert run("migrate", "--trail-only", "--database", url).exit_code == 0
    with connected(url) as db:
        assert "audit_logs" in db.get_tables()
        assert "users" not in db.get_tables()


def test_rollback_takes_back_the_newest(run: Run, url: str) -> None:
    """One script by default, --count for more; an answer of one line each."""
    newest = run("rollback", "--database", url)
    assert newest.exit_code == 0, newest.output
    assert len(newest.stdout.splitlines()) == 1
    assert newest.stderr == "1 script rolled back.\n"
    assert run("status", "--database", url).exit_code == 5
    two = run("rollback", "--count", "2", "--database", url)
    assert len(two.stdout.splitlines()) == 2


def test_a_refused_rollback_ends_with_1(run: Run, url: str) -> None:
    """A rollback that would lose rows says so and changes nothing."""
    count = len(
        json.loads(run("status", "--json", "--database", url).stdout)["applied"]
    )
    result = run("rollback", "--count", str(count), "--database", url)
    assert result.exit_code == 1
    assert "CMCORE_ALLOW_DATA_LOSS" in result.stderr
    assert result.stderr.startswith("Error: ")


def test_status_knows_what_is_pending(run: Run, engine: str, make_url: MakeUrl) -> None:
    """Exit code 5 before `migrate`, 0 after it; the same in both forms."""
    url = make_url(engine)
    with connected(url):
        pass  # the file is there
    before = run("status", "--database", url)
    assert before.exit_code == 5
    assert ["001_create_customers_table", "pending"] in [
        line.split() for line in before.stdout.splitlines()
    ]
    assert "cmcore migrate" in before.stderr
    run("migrate", "--database", url)
    after = run("status", "--json", "--database", url)
    assert after.exit_code == 0
    assert json.loads(after.stdout)["pending"] == []
    assert after.stderr == ""


def test_migrations_prints_the_folder(run: Run) -> None:
    """The folder is the one that the stock tool needs; no database is asked."""
    result = run("migrations")
    folder = Path(result.stdout.rstrip("\n"))
    assert (folder / "001_create_customers_table.py").exists()
