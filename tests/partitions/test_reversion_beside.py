"""A reversion that copies, beside others: nothing that they do is lost, or undone."""

# ruff: noqa: S608 - constants of this test

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import is_partitioned
from cmcore.errors import ArchiveError, MigrationError
from cmcore.keys import now
from cmcore.partitions import conversion, ensure, reversion, revert
from cmcore.partitions.leftovers import leftovers
from cmcore.partitions.turns import alone_with
from cmcore.schema import guard
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import THIS
from tests.partitions.stages import INSERT, MONTHS, STAGES, Meanwhile
from tests.partitions.tables import add, anatomy, content
from tests.partitions.threads import beside

pytestmark = pytest.mark.postgresql

WRITER = "cmcore_test_writer"


@pytest.mark.parametrize("when", STAGES)
def test_what_others_do_is_in_the_new_table(
    grown: peewee.Database,
    other: peewee.Database,
    when: str,
    meanwhile: Meanwhile,
) -> None:
    """Entries come, change, move to another month, get another id, go, or lose a user.

    It is so at each stage, also where triggers do not fire, and for a partition itself.
    """
    seen: list[Any] = []

    def work() -> None:
        first, last = MONTHS[0], MONTHS[-1]
        move = "UPDATE audit_logs SET created_at ="
        for sql in (
            INSERT.format("new", now()),
            INSERT.format("early", first.start),
            INSERT.format("far", THIS.shifted(30).start),
            "UPDATE audit_logs SET description = 'Changed.' WHERE id = 'm1-000002'",
            f"{move} '{last.start}' WHERE id = 'm0-000003'",
            f"{move} '{first.start}' WHERE id = 'm3-000004'",
            "UPDATE audit_logs SET id = 'renamed' WHERE id = 'm2-000005'",
            "DELETE FROM audit_logs WHERE id = 'm2-000006'",
            f"DELETE FROM audit_logs_{first} WHERE id = 'm0-000007'",
            "DELETE FROM users WHERE id = 'u1'",
            "SET session_replication_role = replica",
            "UPDATE audit_logs SET description = 'Replica.' WHERE id = 'm0-000008'",
        ):
            run(other, sql)
        with other.atomic() as transaction:
            run(other, INSERT.format("never", now()))
            transaction.rollback()
        seen.extend(content(other))

    before = content(grown)
    revert(grown, progress=meanwhile(when, work))
    assert not is_partitioned(grown, "audit_logs")
    assert content(grown) == seen != before
    assert leftovers(grown) == []
    assert len({entry[0] for entry in seen}) == len(seen) == 121


def test_nothing_is_lost_among_writers(grown: peewee.Database) -> None:
    """They insert, change and remove entries, and users, without an end or an error."""
    done = threading.Event()
    mine: dict[int, set[str]] = {0: set(), 1: set()}

    def write(number: int) -> None:
        for turn in itertools.count():
            if done.is_set():
                return
            month = MONTHS[turn % len(MONTHS)]
            keys = [f"w{number}-{turn}-{i}" for i in range(3)]
            with grown.atomic():
                for key in keys:
                    run(grown, INSERT.format(key, month.start))
                run(grown, f"UPDATE audit_logs SET action = 'x' WHERE id = '{keys[0]}'")
                run(grown, f"DELETE FROM audit_logs WHERE id = '{keys[1]}'")
            mine[number] |= {keys[0], keys[2]}

    def dismiss() -> None:
        for number in range(6):
            time.sleep(0.05)
            run(grown, f"DELETE FROM users WHERE id = 'u{number}'")

    def back() -> None:
        try:
            time.sleep(0.1)
            revert(grown)
            time.sleep(0.1)
        finally:
            done.set()

    beside(grown, back, dismiss, lambda: write(0), lambda: write(1))
    assert min(map(len, mine.values())) > 0
    found = rows(grown, "SELECT id, action, user_id FROM audit_logs")
    assert len(found) == 120 + sum(map(len, mine.values()))
    assert {key for key, *_ in found if key[0] == "w"} == mine[0] | mine[1]
    changed = {key for key, action, _ in found if action == "x"}
    assert changed == {key for key in mine[0] | mine[1] if key.endswith("-0")}
    assert {user for *_, user in found} == {None}


def test_who_may_only_insert_is_not_in_need_of_more(
    grown: peewee.Database, meanwhile: Meanwhile
) -> None:
    """The trigger notes what such a writer writes."""
    writer = type(grown)(grown.database, **grown.connect_params)
    run(grown, f"DROP ROLE IF EXISTS {WRITER}")
    run(grown, f"CREATE ROLE {WRITER}")
    try:
        run(grown, f"GRANT INSERT ON audit_logs TO {WRITER}")

        def work() -> None:
            with writer.connection_context():
                run(writer, f"SET ROLE {WRITER}")
                run(writer, INSERT.format("theirs", now()))

        revert(grown, progress=meanwhile("copied", work))
        assert rows(grown, "SELECT count(*) FROM audit_logs") == [(121,)]
    finally:
        run(grown, f"DROP OWNED BY {WRITER}")
        run(grown, f"DROP ROLE {WRITER}")


@pytest.mark.parametrize("when", STAGES)
def test_ensure_may_run_meanwhile(
    grown: peewee.Database,
    other: peewee.Database,
    when: str,
    meanwhile: Meanwhile,
) -> None:
    """It moves entries out of the default partition, none of which is lost."""
    add(grown, [THIS.shifted(8).start] * 5, prefix="far")
    before = content(grown)
    added: list[str] = []
    work = lambda: added.extend(ensure(other))  # noqa: E731
    revert(grown, progress=meanwhile(when, work))
    assert added == [f"audit_logs_{THIS.shifted(8)}"]
    assert content(grown) == before
    assert not is_partitioned(grown, "audit_logs")


def test_retention_and_reversion_keep_out_of_each_others_way(
    grown: peewee.Database,
    other: peewee.Database,
    tmp_path: Path,
    meanwhile: Meanwhile,
) -> None:
    """The second one says so, and changes nothing."""
    before = anatomy(grown)
    with alone_with(other), pytest.raises(ArchiveError, match="Another process"):
        revert(grown)
    assert anatomy(grown) == before

    def work() -> None:
        with pytest.raises(ArchiveError, match="Another process"):
            cmcore.partitions.retain(other, 1, tmp_path)

    entries = content(grown)
    revert(grown, progress=meanwhile("copied", work))
    assert content(grown) == entries


@pytest.mark.parametrize("few", [-1, 1000])
def test_what_is_read_under_the_lock_is_as_it_is_then(
    grown: peewee.Database,
    other: peewee.Database,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where a transaction sees the moment of its first statement by default."""
    monkeypatch.setattr(reversion, "_FEW", few)
    isolation = "default_transaction_isolation = serializable"
    run(grown, f'ALTER DATABASE "{grown.database}" SET {isolation}')
    grown.close()
    grown.connect()
    wait = guard.wait_for_runners

    def wait_for_runners(db: peewee.Database) -> None:
        wait(db)
        for month in MONTHS:
            run(other, INSERT.format(f"late-{month}", month.start))

    monkeypatch.setattr(conversion, "wait_for_runners", wait_for_runners)
    revert(grown)
    assert rows(grown, "SELECT count(*) FROM audit_logs") == [(120 + len(MONTHS),)]


def test_who_may_not_do_it_changes_nothing(grown: peewee.Database) -> None:
    """A role that does not own the trail is told by the database."""
    before = anatomy(grown)
    run(grown, f"DROP ROLE IF EXISTS {WRITER}")
    run(grown, f"CREATE ROLE {WRITER}")
    run(grown, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {WRITER}")
    run(grown, f"GRANT CREATE ON SCHEMA public TO {WRITER}")
    try:
        run(grown, f"SET ROLE {WRITER}")
        with pytest.raises(MigrationError, match="as before: permission denied"):
            revert(grown)
        run(grown, "RESET ROLE")
    finally:
        run(grown, f"DROP OWNED BY {WRITER}")
        run(grown, f"DROP ROLE {WRITER}")
    assert anatomy(grown) == before


def test_a_publication_of_all_tables_is_not_in_the_way(grown: peewee.Database) -> None:
    """What is noted has no key, and can be removed all the same."""
    run(grown, "CREATE PUBLICATION everything FOR ALL TABLES")
    entries = content(grown)
    revert(grown)
    assert content(grown) == entries


def test_a_trail_without_users_is_copied(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no foreign keys, and none is told."""
    monkeypatch.setattr(reversion, "_FEW", -1)
    with connected(make_url("postgresql")) as db:
        cmcore.migrate(db, trail_only=True)
        before = anatomy(db)
        cmcore.partitions.convert(db)
        assert len(revert(db)) == 2
        assert anatomy(db) == before


def test_a_connection_that_is_lost_leaves_a_trail_that_works(
    grown: peewee.Database,
    other: peewee.Database,
    meanwhile: Meanwhile,
) -> None:
    """The error says that something stays, and the next run completes."""
    entries = content(grown)

    def work() -> None:
        run(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname"
            " = current_database() AND pid <> pg_backend_pid()",
        )

    with pytest.raises(MigrationError, match="as before") as error:
        revert(grown, progress=meanwhile("copied", work))
    assert "stays: revert again" in "".join(error.value.__notes__)
    grown.close()
    grown.connect()
    assert len(leftovers(grown)) == 3
    assert content(grown) == entries
    revert(grown)
    assert content(grown) == entries
    assert leftovers(grown) == []
