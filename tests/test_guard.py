"""What every script does first: lock, look again, and switch foreign keys off."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import peewee
import pytest
from peewee_migrate.router import Router
from playhouse.db_url import connect

from cmcore.errors import DatabaseLockedError, MigrationError
from cmcore.schema import guard, tables
from cmcore.schema.history import FULL_HISTORY, migrations_path
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump, fetch, migrate, rollback


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


@pytest.fixture(params=[0, 1], ids=["off", "on"])
def foreign_keys(request: pytest.FixtureRequest) -> int:
    """Whether SQLite's foreign keys are off or on at the start."""
    return int(request.param)


@pytest.fixture
def sqlite(make_url: MakeUrl, foreign_keys: int) -> Iterator[Any]:
    """A SQLite file, with a short wait for locks."""
    path = make_url("sqlite").removeprefix("sqlite:///")
    pragmas = {"foreign_keys": foreign_keys}
    database = peewee.SqliteDatabase(path, pragmas=pragmas, timeout=0.1)
    database.connect()
    yield database
    database.close()


def assert_untouched(db: Any, foreign_keys: int) -> None:
    """The connection is as it was: pragma, no transaction, no depth."""
    assert db.pragma("foreign_keys") == foreign_keys
    assert not db.connection().in_transaction
    assert db.transaction_depth() == 0


def test_foreign_keys_are_as_before_after_success(
    sqlite: Any, foreign_keys: int
) -> None:
    """They are off while a script runs, and back afterwards, both ways."""
    seen: list[int] = []
    original = sqlite.execute_sql

    def watch(sql: str, params: Any = None) -> Any:
        changes = sql.startswith(("CREATE TABLE", "DROP TABLE", "ALTER TABLE"))
        if changes and FULL_HISTORY not in sql:
            seen.append(original("PRAGMA foreign_keys").fetchone()[0])
        return original(sql, params)

    sqlite.execute_sql = watch
    migrate(sqlite)
    assert_untouched(sqlite, foreign_keys)
    rollback(sqlite, len(SCRIPTS))
    assert_untouched(sqlite, foreign_keys)
    assert len(seen) > 20
    assert set(seen) == {0}


def test_foreign_keys_are_as_before_after_a_failure(
    sqlite: Any, foreign_keys: int
) -> None:
    """A statement that fails, or the script itself, leaves no trace."""
    migrate(sqlite, 3)
    with stock.failing_at(sqlite, 16), pytest.raises(stock.PlantedError):
        migrate(sqlite)
    assert_untouched(sqlite, foreign_keys)
    migrate(sqlite)
    assert_untouched(sqlite, foreign_keys)


def test_a_locked_database_is_said_to_be_so(sqlite: Any, foreign_keys: int) -> None:
    """A writer that does not finish: nothing changes, and a rerun works."""
    migrate(sqlite, 3)
    before = dump(sqlite)
    other = peewee.SqliteDatabase(sqlite.database)
    with other.atomic("IMMEDIATE"), pytest.raises(DatabaseLockedError, match="locked"):
        migrate(sqlite)
    other.close()
    assert_untouched(sqlite, foreign_keys)
    assert dump(sqlite) == before
    assert migrate(sqlite) == SCRIPTS[3:]


def test_a_reader_that_blocks_the_commit_undoes_the_script(
    sqlite: Any, foreign_keys: int
) -> None:
    """In rollback-journal mode COMMIT fails; the script is undone as a whole."""
    migrate(sqlite, 3)
    before = dump(sqlite)
    other = peewee.SqliteDatabase(sqlite.database)
    with other.atomic():
        other.execute_sql("SELECT count(*) FROM users").fetchall()
        with pytest.raises(peewee.OperationalError, match="locked"):
            migrate(sqlite)
    other.close()
    assert_untouched(sqlite, foreign_keys)
    assert dump(sqlite) == before
    assert migrate(sqlite) == SCRIPTS[3:]


def test_an_open_reader_is_no_hindrance_in_wal_mode(
    sqlite: Any, foreign_keys: int
) -> None:
    """Readers see the old schema until they look again."""
    sqlite.pragma("journal_mode", "wal")
    migrate(sqlite, 3)
    other = peewee.SqliteDatabase(sqlite.database)
    with other.atomic():
        other.execute_sql("SELECT count(*) FROM users").fetchall()
        migrate(sqlite)
    other.close()
    assert_untouched(sqlite, foreign_keys)


def test_a_transaction_of_the_caller_is_refused(db: Any) -> None:
    """Inside atomic() or `with db:` a script cannot be a unit of its own."""
    migrate(db, 1)
    before = dump(db)
    with db.atomic(), pytest.raises(MigrationError, match="connection_context"):
        migrate(db)
    with (
        db.atomic(),
        pytest.raises(MigrationError, match="needs a transaction of its own"),
    ):
        rollback(db)
    assert dump(db) == before


def test_a_script_that_was_overtaken_gives_up(db: Any) -> None:
    """The history is read again under the lock; the loser says to run again."""
    migrate(db, 1)
    late = stock.router(db)
    assert late.diff == SCRIPTS[1:]
    migrate(db, 2)
    before = dump(db)
    with pytest.raises(MigrationError, match=r"applied by another process.*run again"):
        late.run_one(SCRIPTS[1], late.migrator, fake=False)
    assert dump(db) == before
    with pytest.raises(MigrationError, match="run again"):
        late.run_one(SCRIPTS[4], late.migrator, fake=False)
    with pytest.raises(MigrationError, match="history changed meanwhile"):
        late.run_one(SCRIPTS[0], late.migrator, fake=False, downgrade=True)
    assert dump(db) == before


def test_another_history_table_is_refused(db: Any) -> None:
    """In a history that is shared, scripts of the same name are silently skipped."""
    router = Router(db, migrate_dir=migrations_path(), migrate_table="shared")
    with pytest.raises(MigrationError, match=FULL_HISTORY):
        router.run()
    assert stock.tables(db) == {"shared"}


@pytest.mark.postgresql
def test_an_idle_reader_makes_it_give_up_on_postgresql(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table locked by an open transaction: it says so, soon, and changes nothing."""
    monkeypatch.setattr(tables, "LOCK_WAIT", "50ms")
    url = make_url("postgresql")
    reader: Any = connect(url)
    with stock.opened(lambda *_args, **_options: url, "postgresql") as db:
        migrate(db, 4)
        before = dump(db)
        with reader.atomic():
            reader.execute_sql("SELECT count(*) FROM customers")
            with pytest.raises(MigrationError, match="kept a table locked for 5s"):
                migrate(db)
        assert dump(db) == before
        assert migrate(db) == SCRIPTS[4:]
        assert fetch(db, "SHOW lock_timeout") == [("0",)]
    reader.close()


@pytest.mark.postgresql
def test_runners_wait_for_each_other_on_postgresql(make_url: MakeUrl) -> None:
    """The advisory lock is waited for, however long the other script takes."""
    url = make_url("postgresql")
    other: Any = connect(url)
    waiting: Any = connect(url)
    done: list[list[str]] = []
    with other.atomic():
        guard.wait_for_runners(other)
        thread = threading.Thread(target=lambda: done.append(migrate(waiting)))
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        assert fetch(other, "SELECT to_regclass('customers')") == [(None,)]
    thread.join(30)
    assert done == [SCRIPTS]
    other.close()
    waiting.close()


def test_an_old_sqlite_is_refused(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns cannot be dropped before 3.35, so nothing begins."""
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 34, 1))
    with stock.opened(make_url, "sqlite") as db:
        with pytest.raises(MigrationError, match="too old"):
            migrate(db)
        assert stock.tables(db) == {FULL_HISTORY}
