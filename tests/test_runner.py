"""cmcore's own runner: migrate, rollback, pending."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import peewee
import pytest
from peewee_migrate.models import MigrateHistory

from cmcore.errors import DatabaseLockedError, DataLossRefusedError, MigrationError
from cmcore.runner import migrate, migrate_each, pending, rollback
from cmcore.schema.history import FULL_HISTORY, TRAIL_HISTORY, inspect, scripts
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS

TRAIL = scripts(trail_only=True)


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


def test_it_runs_what_is_pending(db: Any) -> None:
    """All, or up to a script; the names that ran are returned."""
    assert pending(db) == SCRIPTS
    assert stock.tables(db) == set()
    assert migrate(db, SCRIPTS[1]) == SCRIPTS[:2]
    assert pending(db) == SCRIPTS[2:]
    assert inspect(db) == ("full", tuple(SCRIPTS[2:]))
    assert migrate(db) == SCRIPTS[2:]
    assert migrate(db) == []
    assert pending(db) == []
    assert rollback(db) == [SCRIPTS[-1]]
    assert rollback(db, len(SCRIPTS) - 4) == SCRIPTS[-2:2:-1]
    assert pending(db) == SCRIPTS[3:]
    assert rollback(db, 3) == SCRIPTS[2::-1]
    assert inspect(db) == ("none", tuple(SCRIPTS))


def test_it_leaves_the_schema_that_the_stock_runner_leaves(
    db: Any, engine_of: str, make_url: MakeUrl
) -> None:
    """The shortcuts that it takes change nothing."""
    migrate(db)
    with stock.opened(make_url, engine_of) as other:
        stock.migrate(other)
        assert stock.dump(other) == stock.dump(db)


@pytest.fixture
def engine_of(db: Any) -> str:
    """The target for another database of the same engine."""
    return "sqlite" if stock.is_sqlite(db) else "postgresql"


def test_an_unknown_target_is_refused(db: Any) -> None:
    """The error lists the scripts, and nothing runs."""
    with pytest.raises(
        MigrationError, match=r"no script '007_x'.*001_create_customers"
    ):
        migrate(db, "007_x")
    assert stock.tables(db) == set()


@pytest.mark.parametrize("count", [0, -1, 3])
def test_a_wrong_count_is_refused(db: Any, count: int) -> None:
    """Rolling back more than there is, or nothing, is a mistake."""
    migrate(db, SCRIPTS[1])
    with pytest.raises(MigrationError, match=f"Cannot roll back {count} script"):
        rollback(db, count)
    assert pending(db) == SCRIPTS[2:]


@pytest.mark.parametrize("count", ["1", 1.5, None, True])
def test_a_count_that_is_no_number_is_refused(db: Any, count: Any) -> None:
    """It is a mistake as well, and is shown."""
    migrate(db, SCRIPTS[0])
    with pytest.raises(MigrationError, match=f"count is {count!r}: how many"):
        rollback(db, count)
    assert pending(db) == SCRIPTS[1:]


def test_a_script_of_a_newer_version_is_not_rolled_back(db: Any) -> None:
    """Its code is not there; the error names it."""
    migrate(db)
    stock.insert(db, FULL_HISTORY, id=99, name="999_later", migrated_at=stock.MOMENT)
    with pytest.raises(MigrationError, match="999_later is not packaged"):
        rollback(db)
    assert pending(db) == []


def test_a_transaction_of_the_caller_is_refused(db: Any) -> None:
    """Whether peewee knows of it or not; looking is allowed."""
    with db.atomic(), pytest.raises(MigrationError, match=r"outside db\.atomic\(\)"):
        migrate(db)
    db.begin()
    with pytest.raises(MigrationError, match="one is open"):
        migrate(db)
    assert pending(db) == SCRIPTS
    db.rollback()
    assert stock.tables(db) == set()


def test_a_closed_connection_is_opened_and_closed_again(db: Any) -> None:
    """One that is open stays open."""
    db.close()
    migrate(db)
    assert db.is_closed()
    assert pending(db) == []
    assert db.is_closed()
    db.connect()
    rollback(db)
    assert not db.is_closed()


def test_a_database_in_memory_stays_open() -> None:
    """Closing it would lose what was made."""
    db: Any = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})
    assert migrate(db) == SCRIPTS
    assert pending(db) == []
    assert db.pragma("foreign_keys") == 1
    db.close()


def test_a_proxy_is_followed(db: Any) -> None:
    """Applications that bind late pass their proxy."""
    proxy = peewee.DatabaseProxy()
    proxy.initialize(db)
    assert migrate(proxy) == SCRIPTS
    assert pending(proxy) == []
    assert rollback(proxy) == SCRIPTS[-1:]


def test_a_failing_script_keeps_those_before_it(db: Any) -> None:
    """The error reaches the caller, and the next call goes on from there."""
    migrate(db, SCRIPTS[2])
    stock.insert_user(db, "u1")
    stock.insert_customer(db, "c1", phone="no phone")
    with pytest.raises(MigrationError, match="ck_customers_phone_format"):
        migrate(db)
    assert pending(db) == SCRIPTS[5:]
    db.execute_sql("UPDATE customers SET phone = NULL")
    assert migrate(db) == SCRIPTS[5:]


def test_the_stock_runner_is_left_as_it_was(db: Any) -> None:
    """The history model of an application's own router keeps its table."""
    meta: Any = MigrateHistory._meta
    before = meta.table_name, meta.database
    migrate(db)
    rollback(db)
    assert (meta.table_name, meta.database) == before


def test_other_threads_keep_their_writes_meanwhile(make_url: MakeUrl) -> None:
    """Nothing is patched: what another thread writes to its database is there."""
    path = make_url("sqlite").removeprefix("sqlite:///")
    options: dict[str, Any] = {"thread_safe": False, "check_same_thread": False}
    other: Any = peewee.SqliteDatabase(path, **options)
    other.connect()
    other.execute_sql("CREATE TABLE t (n INTEGER)")
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            other.execute_sql("INSERT INTO t VALUES (1)")
            written += 1

    thread = threading.Thread(target=write)
    with stock.opened(make_url, "sqlite") as db:
        thread.start()
        migrate(db)
        rollback(db, len(SCRIPTS))
        stop.set()
        thread.join()
    assert written > 0
    assert stock.fetch(other, "SELECT count(*) FROM t") == [(written,)]
    other.close()


def test_the_trail_alone(db: Any) -> None:
    """An application keeps its own users; the history is another one."""
    db.execute_sql("CREATE TABLE users (id INTEGER PRIMARY KEY, totp_secret TEXT)")
    assert migrate(db, trail_only=True) == TRAIL
    assert stock.tables(db) == {"users", "audit_logs", TRAIL_HISTORY}
    assert inspect(db) == ("trail", ())
    assert pending(db) == []
    assert migrate(db, trail_only=True) == []
    stock.insert_entry(db, "a1", user_id="12", deleted_by="whoever")
    with pytest.raises(DataLossRefusedError, match="audit_logs has 1 row"):
        rollback(db)
    db.execute_sql("DELETE FROM audit_logs")
    assert rollback(db) == TRAIL
    assert stock.tables(db) == {"users", TRAIL_HISTORY}


def test_the_two_kinds_are_not_mixed(
    db: Any, engine_of: str, make_url: MakeUrl
) -> None:
    """A database has all tables or only the trail; the other call says so."""
    migrate(db)
    before = stock.dump(db)
    with pytest.raises(
        MigrationError,
        match=r"all tables.*`cmcore migrate`, or cmcore.migrate\(db\), without",
    ):
        migrate(db, trail_only=True)
    assert stock.dump(db) == before
    with stock.opened(make_url, engine_of) as other:
        migrate(other, trail_only=True)
        with pytest.raises(
            MigrationError, match=r"--trail-only`.*\(db, trail_only=True\)"
        ):
            migrate(other)
        assert stock.tables(other) == {"audit_logs", TRAIL_HISTORY}


def test_looking_logs_nothing_and_changes_nothing(
    db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """`inspect` reads through a raw cursor, in a transaction as well."""
    migrate(db, SCRIPTS[3])
    with db.atomic(), caplog.at_level(logging.DEBUG, "peewee"):
        caplog.clear()
        before = len(caplog.records)
        state = inspect(db)
        assert len(caplog.records) == before
        db.execute_sql("SELECT 1")
    assert state == ("full", tuple(SCRIPTS[4:]))


def test_a_trail_made_from_the_model_is_known(db: Any) -> None:
    """Without a history, a lone audit_logs is the trail."""
    db.execute_sql("CREATE TABLE audit_logs (id VARCHAR(36) PRIMARY KEY)")
    assert inspect(db) == ("trail", ())


def test_tables_in_the_way_are_named_before_anything_runs(db: Any) -> None:
    """All of them at once, with both cures; the cure for the trail works."""
    db.execute_sql("CREATE TABLE users (id INTEGER PRIMARY KEY)")
    db.execute_sql("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    cure = (
        "Nothing was changed: .*customers, users already.*Rename them, or .*"
        r"`cmcore migrate --trail-only`, or cmcore\.migrate\(db, trail_only=True\)"
    )
    for target in (None, SCRIPTS[0]):
        with pytest.raises(MigrationError, match=cure):
            migrate(db, target)
    assert stock.tables(db) == {"users", "customers"}
    assert migrate(db, trail_only=True) == TRAIL


def test_a_taken_trail_has_no_cure_but_another_name(db: Any) -> None:
    """Where audit_logs is in the way, the trail alone would be refused as well."""
    db.execute_sql("CREATE TABLE audit_logs (id INTEGER PRIMARY KEY)")
    for trail_only in (False, True):
        with pytest.raises(MigrationError, match=r"audit_logs.* already") as refused:
            migrate(db, trail_only=trail_only)
        assert "trail" not in str(refused.value).partition("Rename")[2]
    assert "audit_logs" in stock.tables(db)


def test_early_scripts_can_be_taken_back_for_the_trail(db: Any) -> None:
    """What is there is named, and the way out that is named works."""
    migrate(db, SCRIPTS[0])
    db.execute_sql("CREATE TABLE users (id INTEGER PRIMARY KEY)")
    with pytest.raises(MigrationError, match=f"{SCRIPTS[1]} refused.*Rename"):
        migrate(db)
    way = f"seen {SCRIPTS[0]},.*`cmcore rollback --count 1`, or cmcore.rollback"
    with pytest.raises(MigrationError, match=way):
        migrate(db, trail_only=True)
    rollback(db, 1)
    assert migrate(db, trail_only=True) == TRAIL


def test_a_refusal_tells_what_was_done_before_it(db: Any) -> None:
    """Forward and back; where nothing was done before, nothing is said of it."""
    migrate(db, SCRIPTS[3])
    stock.insert_customer(db, "c1", created_by="system", phone="none")
    with pytest.raises(MigrationError) as refused:
        migrate(db)
    assert str(refused.value).endswith(f"Run before it, and still there: {SCRIPTS[4]}.")
    with pytest.raises(MigrationError) as refused:
        migrate(db)
    assert "before it" not in str(refused.value)
    with pytest.raises(DataLossRefusedError) as lost:
        rollback(db, 5)
    assert str(lost.value).endswith(
        f"Taken back before it: {', '.join(SCRIPTS[4:0:-1])}; "
        "`cmcore migrate` brings that back."
    )
    assert pending(db) == SCRIPTS[1:]
    migrate(db, SCRIPTS[4])


def test_a_lock_in_the_middle_tells_what_was_done_before_it(make_url: MakeUrl) -> None:
    """The scripts that ran before stay, and are named; the rest can be run later."""
    with stock.opened(make_url, "sqlite") as db:
        scripts = migrate_each(db)
        assert next(scripts) == SCRIPTS[0]
        other = peewee.SqliteDatabase(db.database)
        with other.atomic("IMMEDIATE"), pytest.raises(DatabaseLockedError) as caught:
            next(scripts)
        other.close()
        text = f"Run before it, and still there: {SCRIPTS[0]}."
        assert caught.value.__notes__ == [text]
        assert migrate(db) == SCRIPTS[1:]
