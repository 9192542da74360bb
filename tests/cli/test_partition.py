"""`partition convert`, `ensure` and `revert`: the trail in monthly pieces."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from cmcore import partitions
from cmcore.partitions.months import Month
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected, run_sql

THIS = Month.of(datetime.now(UTC))
NEXT = [f"audit_logs_{THIS.shifted(n)}" for n in range(1, 6)]
BEFORE = re.compile(r"audit_logs_before_\d{4}_\d{2}")


@pytest.fixture
def plain(make_url: MakeUrl) -> str:
    """The URL of a PostgreSQL database whose trail has no partitions."""
    return make_url("postgresql", migrated=True)


@pytest.fixture
def converted(plain: str) -> str:
    """The URL of a PostgreSQL database whose trail has partitions."""
    with connected(plain) as db:
        partitions.convert(db)
    return plain


def pieces_of(url: str) -> list[str]:
    """Return the names of the partitions, sorted."""
    with connected(url) as db:
        found = db.execute_sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'audit_logs'::regclass ORDER BY 1"
        )
        return [name for (name,) in found]


@pytest.mark.postgresql
def test_convert_says_what_it_did(run: Run, plain: str) -> None:
    """The steps go to stdout, the same as of the dry run, which changes nothing."""
    rehearsed = run("partition", "convert", "--dry-run", "--database", plain)
    assert (rehearsed.exit_code, rehearsed.stderr) == (0, "Nothing was changed.\n")
    assert pieces_of(plain) == []
    result = run("partition", "convert", "--database", plain)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == rehearsed.stdout
    assert BEFORE.search(result.stdout)
    assert "audit_logs_default" in pieces_of(plain)
    again = run("partition", "convert", "--database", plain)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "There was nothing to do.\n"


@pytest.mark.postgresql
def test_convert_as_json_is_one_document(run: Run, plain: str) -> None:
    """With --json there are the steps, and whether they were only rehearsed."""
    for options in (("--dry-run",), ()):
        result = run("partition", "convert", "--json", *options, "--database", plain)
        document = json.loads(result.stdout)
        assert (result.exit_code, result.stderr) == (0, "")
        assert document["dry_run"] is bool(options)
        assert any(BEFORE.search(step) for step in document["steps"])
    assert pieces_of(plain) != []


@pytest.mark.postgresql
def test_what_stops_a_conversion_is_named(run: Run, plain: str) -> None:
    """A foreign key of an application makes it refuse, with 1."""
    run_sql(plain, "CREATE TABLE notes (entry varchar(36) REFERENCES audit_logs (id))")
    for options in (("--dry-run",), ()):
        result = run("partition", "convert", *options, "--database", plain)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "notes" in result.stderr
    assert pieces_of(plain) == []


@pytest.mark.postgresql
def test_revert_says_what_it_did(run: Run, converted: str) -> None:
    """The steps go to stdout, the same as of the dry run; then nothing is left."""
    before = pieces_of(converted)
    rehearsed = run("partition", "revert", "--dry-run", "--database", converted)
    assert (rehearsed.exit_code, pieces_of(converted)) == (0, before)
    result = run("partition", "revert", "--database", converted)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == rehearsed.stdout
    assert pieces_of(converted) == []
    again = run("partition", "revert", "--json", "--database", converted)
    assert json.loads(again.stdout) == {"dry_run": False, "steps": []}
    assert run("doctor", "--database", converted).exit_code == 0


@pytest.mark.postgresql
def test_ensure_prints_the_partitions_that_it_adds(run: Run, converted: str) -> None:
    """Names go to stdout; a dry run prints them and adds nothing."""
    asked = ("partition", "ensure", "--months", "5", "--database", converted)
    before = pieces_of(converted)
    rehearsed = run(*asked, "--dry-run")
    assert (rehearsed.exit_code, pieces_of(converted)) == (0, before)
    assert rehearsed.stderr == "2 partitions would be added.\n"
    result = run(*asked)
    assert (result.exit_code, result.stdout) == (0, rehearsed.stdout)
    assert result.stdout.splitlines() == NEXT[3:]
    assert result.stderr == "2 partitions added.\n"
    again = run(*asked)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == ""  # cron would send a letter each day
    document = json.loads(run(*asked, "--json").stdout)
    assert document == {"dry_run": False, "partitions": []}


@pytest.mark.postgresql
def test_the_function_does_the_same_in_sql(run: Run, converted: str) -> None:
    """What --print-function prints, without a database, installs in one."""
    printed = run("partition", "ensure", "--print-function")
    assert (printed.exit_code, printed.stderr) == (0, "")
    run_sql(converted, printed.stdout)
    with connected(converted) as db:
        added = db.execute_sql("SELECT create_audit_log_partition(4)").fetchall()
    assert added == [(NEXT[3],)]
    assert NEXT[3] in pieces_of(converted)


@pytest.mark.postgresql
def test_ensure_needs_a_conversion_first(run: Run, plain: str) -> None:
    """On a plain table it ends with 2 and names the command."""
    result = run("partition", "ensure", "--database", plain)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cmcore partition convert" in result.stderr
    assert run("partition", "ensure", "--months", "0").exit_code == 2


@pytest.mark.parametrize("command", ["convert", "ensure", "revert"])
def test_partitions_are_for_postgresql(
    run: Run, make_url: MakeUrl, command: str
) -> None:
    """SQLite: it ends with 2 and says what to do instead."""
    url = make_url("sqlite", migrated=True)
    result = run("partition", command, "--database", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cmcore partition retain" in result.stderr


@pytest.mark.postgresql
def test_a_trail_that_is_not_there_is_pending(run: Run, make_url: MakeUrl) -> None:
    """Without the migrations a conversion ends with 5."""
    url = make_url("postgresql")
    result = run("partition", "convert", "--database", url)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "cmcore migrate" in result.stderr


@pytest.mark.parametrize("command", ["convert", "ensure", "revert"])
def test_a_server_that_does_not_answer_is_3(run: Run, command: str) -> None:
    """The database cannot be reached, and its password is not told."""
    url = "postgresql://ada:sesame@127.0.0.1:1/crm"
    result = run("partition", command, "--database", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "sesame" not in result.stderr


@pytest.mark.postgresql
def test_progress_is_shown_on_a_terminal_alone(make_url: MakeUrl) -> None:
    """A bar is on stderr if that is a terminal, and never with --json."""
    for options, has_bar in (((), True), (("--json",), False)):
        url = make_url("postgresql", migrated=True)
        command = ("partition", "convert", *options, "--database", url)
        shown, said = with_stderr_on_terminal(*command)
        assert ("Converting" in shown, "4/4" in shown) == (has_bar, has_bar)
        assert "Converting" not in said
        assert BEFORE.search(said)
        assert "\x1b[3" not in shown  # no colours, since NO_COLOR is set


def with_stderr_on_terminal(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it wrote on the terminal, and into a pipe."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cmcore", *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "NO_COLOR": "1"},
        text=True,
    ) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # Linux says so when the other side closes
            while part := os.read(ours, 4096):
                written += part
        said, _ = process.communicate()
    os.close(ours)
    assert process.returncode == 0
    return written.decode(), said
