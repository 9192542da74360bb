"""`audit list` and `audit show`."""

import json
from datetime import timedelta
from zoneinfo import ZoneInfo

import peewee
import pytest
from click.testing import Result

import cmcore
from cmcore.cli.output import printable
from cmcore.models import AuditLog, Customer, User
from cmcore.trail import Search, find_entries
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected


def entries(result: Result) -> list[tuple[str, str, str | None]]:
    """Return action, table and key of each JSON line."""
    assert result.exit_code == 0, result.output
    documents = map(json.loads, result.stdout.splitlines())
    return [(d["action"], d["resource_type"], d["resource_id"]) for d in documents]


def test_audit_list_is_newest_first(run: Run, url: str) -> None:
    """Each entry is a JSON line, the newest first."""
    assert entries(run("audit", "list", "--json", "--database", url)) == [
        ("data_export", "reports", None),
        ("create", "customers", "bob"),
        ("update", "customers", "ada"),
        ("create", "customers", "ada"),
    ]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--resource", "customers"], 3),
        (["--resource", "customers/ada"], 2),
        (["--resource", "customers/nobody"], 0),
        (["--action", "update"], 1),
        (["--action", "DATA_EXPORT"], 1),
        (["--user", "system"], 4),
        (["--user", "nobody@example.org"], 0),
        (["--limit", "2"], 2),
        (["--since", "2000-01-01"], 4),
        (["--since", "9998-01-01"], 0),
        (["--until", "2000-01-01"], 0),
        (["--until", "9998-01-01T00:00:00+02:00"], 4),
        (["--action", "create", "--resource", "customers/bob"], 1),
    ],
)
def test_audit_list_filters(run: Run, url: str, options: list[str], count: int) -> None:
    """Every option narrows the list, and together they all hold."""
    result = run("audit", "list", "--json", *options, "--database", url)
    assert len(entries(result)) == count


@pytest.mark.parametrize(
    "options",
    [
        ("--since", "0001-01-01", "--tz", "Asia/Tokyo"),
        ("--until", "9999-12-31T23:59:59", "--tz", "America/New_York"),
        ("--since", "0001-01-01T00:00+00:01"),
    ],
)
def test_a_time_beyond_all_years_is_usage(
    run: Run, url: str, options: tuple[str, ...]
) -> None:
    """A time that does not exist in UTC is told as other bad times are."""
    result = run("audit", "list", *options, "--database", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not in the years 1 to 9999 in UTC" in result.stderr


def test_audit_list_finds_users_by_address(run: Run, url: str) -> None:
    """A user's e-mail address stands for the user, in any case."""
    with connected(url):
        eva = User.create(
            id="eva", email="eva@example.org", full_name="Eva", password_hash="!" * 8
        )
        with cmcore.acting_as(eva):
            Customer.create(id="cleo", name="Cleo", email="cleo@example.org")
    by_address = run(
        "audit", "list", "--user", "EVA@example.org", "--json", "--database", url
    )
    by_id = run("audit", "list", "--user", "eva", "--json", "--database", url)
    assert entries(by_address) == entries(by_id) == [("create", "customers", "cleo")]


def test_what_a_user_did_is_found_through_an_index(
    engine: str, database: peewee.Database
) -> None:
    """An id is not looked for in every entry, which takes long in a long trail."""
    sql, parameters = find_entries(Search(user="eva", limit=5)).sql()
    if engine == "sqlite":
        sql = f"EXPLAIN QUERY PLAN {sql}"
    else:
        database.execute_sql("SET enable_seqscan = off")
        sql = f"EXPLAIN {sql}"
    plan = str(database.execute_sql(sql, parameters).fetchall())
    assert "idx_audit_user_action" in plan


def test_audit_list_reads_times_in_the_zone(run: Run, url: str) -> None:
    """--tz is the zone of the times that are given and of those that are shown."""
    with connected(url):
        moment = AuditLog.select().order_by(AuditLog.created_at.desc()).get().created_at
    clock_in_tokyo = (moment + timedelta(hours=9, seconds=-60)).replace(tzinfo=None)
    asked = ("audit", "list", "--json", "--since", clock_in_tokyo.isoformat())
    in_tokyo = run(*asked, "--tz", "Asia/Tokyo", "--database", url)
    assert len(entries(in_tokyo)) == 4
    assert entries(run(*asked, "--database", url)) == []
    shown = json.loads(in_tokyo.stdout.splitlines()[0])["created_at"]
    assert shown == moment.astimezone(ZoneInfo("Asia/Tokyo")).isoformat()


def test_audit_list_says_that_there_is_more(run: Run, url: str) -> None:
    """When the limit cuts the list, stderr says so, and stdout is data alone."""
    result = run("audit", "list", "--limit", "1", "--json", "--database", url)
    assert len(entries(result)) == 1
    assert "--limit" in result.stderr
    assert run("audit", "list", "--limit", "4", "--database", url).stderr == ""


def test_audit_list_is_plain_in_a_pipe(run: Run, url: str) -> None:
    """Without a terminal each entry is one line, without colours or control codes."""
    lines = run("audit", "list", "--database", url).stdout.splitlines()
    assert len(lines) == 5
    headings = ["Time,", "UTC", "Action", "User", "Resource", "What", "Id"]
    assert lines[0].split() == headings
    assert "city: - → Paris" in lines[3]
    assert "\x1b" not in "".join(lines)


def test_audit_list_says_that_there_is_none(run: Run, url: str) -> None:
    """On stderr, since stdout is data alone; JSON lines are none, and nothing more."""
    asked = ("audit", "list", "--resource", "nothing", "--database", url)
    result = run(*asked)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No entries.\n"
    assert run(*asked, "--json").output == ""


def test_audit_list_says_what_every_entry_is(run: Run, url: str) -> None:
    """A delete does not repeat its own time and user; what changed nothing is told."""
    with connected(url):
        Customer.get_by_id("ada").delete_instance()
        told = {entry.id: entry.description for entry in AuditLog.trail()}
    lines = run("audit", "list", "--database", url).stdout.splitlines()[1:]
    assert "deleted_at" not in "".join(lines)
    for line in lines:
        assert "city: - → Paris" in line or told[line.split()[-1]] in printable(line)


def test_audit_show_tells_everything(run: Run, url: str) -> None:
    """One entry: its columns, and each value before and after."""
    listed = run("audit", "list", "--action", "update", "--json", "--database", url)
    entry = json.loads(listed.stdout)
    shown = run("audit", "show", entry["id"], "--database", url)
    assert shown.exit_code == 0
    assert "203.0.113.7" in shown.stdout
    assert ["city", "-", "Paris"] in [
        line.split() for line in shown.stdout.splitlines()
    ]
    as_json = run("audit", "show", entry["id"], "--json", "--database", url)
    assert json.loads(as_json.stdout) == entry


def test_control_characters_do_not_reach_the_terminal(run: Run, url: str) -> None:
    """A value with an escape sequence is shown as text."""
    listed = run(
        "audit", "list", "--resource", "customers/bob", "--json", "--database", url
    )
    shown = run("audit", "show", json.loads(listed.stdout)["id"], "--database", url)
    assert r"Bob \x1b[31m" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_an_entry_that_is_not_there_ends_with_1(run: Run, url: str) -> None:
    """The answer says how to find ids; stdout stays empty."""
    result = run("audit", "show", "nothing", "--database", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cmcore audit list" in result.stderr


@pytest.mark.parametrize("command", [("audit", "list"), ("audit", "show", "x")])
def test_the_trail_needs_the_schema(
    run: Run, engine: str, make_url: MakeUrl, command: tuple[str, ...]
) -> None:
    """Before `migrate` the commands that read the trail end with 5 and say why."""
    url = make_url(engine)
    with connected(url):
        pass
    result = run(*command, "--database", url)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "cmcore migrate" in result.stderr


def test_audit_list_shows_entries_of_nobody(run: Run, url: str) -> None:
    """An entry that another program wrote without a user is listed with the others."""
    with connected(url):
        AuditLog.create(action="x", resource_type="tools", description="By hand")
    result = run("audit", "list", "--database", url)
    assert result.exit_code == 0
    assert "By hand" in result.stdout
