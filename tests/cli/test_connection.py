"""Which database a command works on, and what is said where there is none."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
import psycopg2
import pytest

from cmcore.cli import cli
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, run_sql
from tests.stock import SCRIPTS
from tests.test_docs import commands

X = ("--database", "sqlite:///x.db")
PASSWORD = "s3cr3t-pa55"
MALFORMED = [
    url.replace("PW", PASSWORD)
    for url in (
        "postgresql//ada:PW@127.0.0.1/crm",
        "postgresql:/ada:PW@127.0.0.1/crm",
        "postgresql:ada:PW@127.0.0.1/crm",
        "postgresql;//ada:PW@127.0.0.1/crm",
        "://ada:PW@127.0.0.1/crm",
        "//ada:PW@127.0.0.1/crm",
        "ada:PW@127.0.0.1/crm",
        "mysql://ada:PW@127.0.0.1/crm",
        "http://ada:PW@127.0.0.1/crm",
        "postgresql+nothing://ada:PW@127.0.0.1/crm",
        "postgresql://ada:PW@127.0.0.1:port/crm",
        "postgresql://ada:PW@127.0.0.1:99999/crm",
        "postgresql://ada:PW@[::1/crm",
        "postgresql://ada:PW@127.0.0.1:1",
        "postgresql://ada:PW@127.0.0.1:1/",
        "postgresql://ada:PW@127.0.0.1:1/crm",
        "postgresql://ada:PW@127.0.0.1:1/crm?nonsense=1",
        "postgresql://ada:PW%zz@127.0.0.1:1/crm",
        "postgresql://ada:x@PW@127.0.0.1:1/crm",
        "postgresql://ada:PW/x@127.0.0.1:1/crm",
        "postgresql://ada:PW@127.0.0.1:1/crm?connect_timeout=PW",
        "postgresql://127.0.0.1:1/crm?user=ada&password=PW",
        " postgresql://ada:PW@127.0.0.1:1/crm",
        "postgresql://ada:\\'\"PW@127.0.0.1:1/crm",
        "sqlite://ada:PW@127.0.0.1/crm.db",
    )
]


def test_the_database_may_stand_anywhere(run: Run, url: str) -> None:
    """Before or after the command, and after wins; else the variables, in order."""
    wrong = "sqlite:////nowhere/at/all.db"
    for arguments, env in (
        (("--database", url, "status"), {}),
        (("status", "--database", url), {}),
        (("--database", wrong, "status", "--database", url), {}),
        (("--database", url, "status"), {"CMCORE_DATABASE_URL": wrong}),
        (("status",), {"CMCORE_DATABASE_URL": url, "DATABASE_URL": wrong}),
        (("status",), {"CMCORE_DATABASE_URL": "", "DATABASE_URL": url}),
        (("--database", url, "audit", "list"), {}),
        (("audit", "--database", url, "list"), {}),
        (("audit", "--database", wrong, "list", "--database", url), {}),
        (("audit", "list", "--database", url), {}),
        (("plugins", "--database", url), {}),
        (("migrations", "--database", url), {}),
    ):
        result = run(*arguments, env=env)
        assert result.exit_code == 0, (arguments, result.output)


def test_every_group_and_command_takes_the_database() -> None:
    """So that it may stand behind any of the words that call a command."""
    groups = [c for c in cli.commands.values() if isinstance(c, click.Group)]
    everything = [cli, *groups, *(command for _, command in commands())]
    assert len(groups) == 4
    for command in everything:
        options = [name for option in command.params for name in option.opts]
        assert options.count("--database") == 1, command.name


def test_a_database_behind_the_group_is_used(run: Run, url: str) -> None:
    """It is the one that the command opens."""
    for words in (("partition", "report"), ("user", "list"), ("audit", "list")):
        result = run(words[0], "--database", url, words[1])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--nonsense"),
        ("nonsense",),
        ("status", "--database", "nonsense"),
        ("status", "--database", ""),
        ("rollback", "--count", "0", "--database", "sqlite:///x.db"),
        ("audit", "list", "--since", "yesterday", "--database", "sqlite:///x.db"),
        ("audit", "list", "--tz", "Mars/Olympus", "--database", "sqlite:///x.db"),
        ("audit", "list", "--limit", "many", "--database", "sqlite:///x.db"),
        ("migrate", "--target", "nosuch", *X),
        ("migrate", "--trail-only", "--target", SCRIPTS[0], *X),
        ("audit", "show"),
    ],
)
def test_wrong_usage_ends_with_2(
    run: Run,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command that is not understood says so on stderr and touches nothing."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "migrate", "doctor"])
@pytest.mark.parametrize(
    "url", ["postgresql://ada@127.0.0.1:1/crm", "sqlite:////no/such/folder/crm.db"]
)
def test_an_unreachable_database_ends_with_3(run: Run, command: str, url: str) -> None:
    """A server that is down, or a file that cannot be opened, is told in a sentence."""
    result = run(command, "--database", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there_is_an_empty_database(
    run: Run, tmp_path: Path
) -> None:
    """`status` says what is pending, as for an empty file, and makes none."""
    result = run("status", "--json", "--database", f"sqlite:///{tmp_path}/new.db")
    (tmp_path / "empty.db").touch()
    empty = run("status", "--json", "--database", f"sqlite:///{tmp_path}/empty.db")
    assert (result.exit_code, result.stdout) == (5, empty.stdout)
    assert "no file" in result.stderr
    assert "new.db" in result.stderr
    assert "new.db" not in {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "command", [("partition", "report"), ("audit", "list"), ("doctor",)]
)
def test_reading_makes_no_file(
    run: Run, command: tuple[str, ...], tmp_path: Path
) -> None:
    """A mistyped name of a file is told, and no empty database is made of it."""
    result = run(*command, "--database", f"sqlite:///{tmp_path}/typo.db")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "typo.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["sqlite:///", "sqlite://", ":memory:", "sqlite:///:memory:", "sqlite:///?cache=1"],
)
@pytest.mark.parametrize("command", ["migrate", "rollback", "status", "doctor"])
def test_a_database_without_a_file_is_refused(run: Run, url: str, command: str) -> None:
    """It would be gone after the command; most likely a variable was empty."""
    result = run(command, "--database", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{url} names no file" in result.stderr
    assert "Is a variable empty?" in result.stderr


def test_an_unknown_zone_is_named(run: Run) -> None:
    """A slash alone makes no secret of an argument."""
    asked = ("audit", "list", "--tz", "Mars/Base", "--database", "sqlite:///x.db")
    assert "'Mars/Base' is no time zone" in run(*asked).stderr


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize(
    "place", ["option", "variable", "argument", "command", "count"]
)
def test_no_output_shows_a_password(
    run: Run, url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a malformed URL stands, no part of its password is repeated."""
    monkeypatch.chdir(tmp_path)
    result = {
        "option": lambda: run("status", "--database", url),
        "variable": lambda: run("status", env={"DATABASE_URL": url}),
        "argument": lambda: run("status", url),
        "command": lambda: run(url),
        "count": lambda: run("rollback", f"--count={url}"),
    }[place]()
    assert result.exit_code in {2, 3}
    assert PASSWORD not in result.output
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    "secret", [f"u:{PASSWORD}@h", f"postgresql://h/?password={PASSWORD}"]
)
@pytest.mark.parametrize(
    ("command", "code"),
    [(("audit", "show"), 1), (("migrate", "--target"), 2)],
    ids=["not found", "refused"],
)
def test_no_refusal_shows_a_password(
    run: Run, url: str, secret: str, command: tuple[str, ...], code: int
) -> None:
    """A URL in the place of an id or a name is not repeated either."""
    result = run("--database", url, *command, secret)
    assert (result.exit_code, result.stdout) == (code, "")
    assert PASSWORD not in result.stderr
    assert "…" in result.stderr


@pytest.mark.postgresql
def test_a_password_may_be_percent_encoded(
    run: Run, make_url: MakeUrl, postgresql_url: str
) -> None:
    """`%40` in a password is an at sign, and connects where the server asks for it."""
    url = urlsplit(make_url("postgresql", migrated=True))
    role = f"role_{uuid.uuid4().hex}"
    run_sql(postgresql_url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'p@s/s:%wd'")
    try:
        with asking_for_passwords(postgresql_url, role):
            host = url.netloc.rpartition("@")[2]
            for password, code in ((quote("p@s/s:%wd", safe=""), 0), ("wrong%40", 3)):
                theirs = url._replace(netloc=f"{role}:{password}@{host}").geturl()
                assert run("status", "--database", theirs).exit_code == code
    finally:
        run_sql(postgresql_url, f"DROP ROLE {role}")


@contextmanager
def asking_for_passwords(server: str, role: str) -> Iterator[None]:
    """Make the server ask this role for its password, where we can."""
    connection = psycopg2.connect(server)
    cursor = connection.cursor()
    cursor.execute("SHOW hba_file")
    [(rules_file,)] = cursor.fetchall()
    rules = Path(rules_file)
    connection.close()
    if not os.access(rules, os.W_OK):  # another machine's server has rules of its own
        yield
        return
    given = rules.read_text(encoding="utf-8")
    ours = "".join(
        f"{kind} all {role} {address} scram-sha-256\n"
        for kind, address in (("local", ""), ("host", "all"))
    )
    rules.write_text(ours + given, encoding="utf-8")
    run_sql(server, "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        rules.write_text(given, encoding="utf-8")
        run_sql(server, "SELECT pg_reload_conf()")


@pytest.mark.postgresql
def test_a_role_without_rights_is_told(run: Run, make_url: MakeUrl) -> None:
    """What the database refuses is one sentence, with a cure, and no traceback."""
    url = make_url("postgresql", migrated=True)
    role = "cmcore_test_nobody"
    run_sql(url, f"DROP ROLE IF EXISTS {role}")
    run_sql(url, f"CREATE ROLE {role}")
    mark = "&" if "?" in url else "?"
    try:
        for command in (["partition", "report"], ["doctor"], ["status"]):
            asked = f"{url}{mark}options=-crole%3D{role}"
            result = run(*command, "--database", asked)
            assert result.exit_code == 1, result.output
            assert "permission denied" in result.stderr
            assert "Use a role that may" in result.stderr
    finally:
        run_sql(url, f"DROP ROLE {role}")


@pytest.mark.postgresql
def test_a_connection_that_is_lost_is_told(
    run: Run, make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server that cannot be reached, whatever failed in the end."""
    url = make_url("postgresql", migrated=True)

    def lost(db: Any) -> None:
        pid = db.connection().info.backend_pid
        run_sql(url, f"SELECT pg_terminate_backend({pid})")
        db.execute_sql("SELECT 1")

    monkeypatch.setattr("cmcore.partitions.report", lost)
    result = run("partition", "report", "--database", url)
    assert result.exit_code == 3, result.output
    assert "The connection was lost" in result.stderr
