"""What has to hold before a script may touch anything, on either engine.

Entered first in every migrate and rollback, in the stock runner's transaction, which is
still empty then. One script runs at a time in a database; a second runner waits, looks
at the history again, and gives up if it was overtaken. On SQLite foreign keys are off
until the transaction ends, since DROP TABLE would follow them and lose rows.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import peewee

from cmcore.engines.catalog import is_sqlite, table_exists
from cmcore.engines.introspection import run
from cmcore.errors import DatabaseLockedError, MigrationError
from cmcore.schema import history

LOCK_KEY = int.from_bytes(b"cmcore")
LOCK_TIMEOUT = "5s"
_LEAST_SQLITE = (3, 35, 0)  # the first that can drop a column
_LOCK_NOT_AVAILABLE, _DEADLOCK = "55P03", "40P01"


def enter(db: peewee.Database, script: str, log: str, *, undo: bool) -> None:
    """Lock the database for one script, and see whether it is this script's turn.

    Args:
        db: The database, in a transaction that the runner has just begun.
        script: The name of the script.
        log: The history table.
        undo: Whether the script is to be rolled back.

    Raises:
        MigrationError: It is not this script's turn, or the transaction is somebody
            else's. Nothing was changed.
        DatabaseLockedError: Somebody else is writing, and did not finish in time.
    """
    if db.transaction_depth() != 1:
        msg = (
            f"{script} refused, and nothing was changed: it needs a transaction of its "
            "own. Run migrations outside db.atomic() and `with db:`; to open the "
            "connection for them, use db.connection_context()."
        )
        raise MigrationError(msg)
    if is_sqlite(db):
        _lock_sqlite(db)
    else:
        wait_for_runners(db)
        run(db, f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    _check_turn(db, script, log, undo=undo)


def wait_for_runners(db: peewee.Database) -> None:
    """Wait for other runners; the lock goes with the transaction."""
    run(db, "SELECT pg_advisory_xact_lock(?)", (LOCK_KEY,))


@contextlib.contextmanager
def begin_locked(db: Any) -> Iterator[None]:
    """Run a block in a transaction that no other runner is in at the same time."""
    with db.transaction("IMMEDIATE") if is_sqlite(db) else db.transaction():
        if not is_sqlite(db):
            wait_for_runners(db)
        yield


def is_lock_conflict(error: BaseException) -> bool:
    """Tell whether PostgreSQL gave up waiting for a lock that somebody else holds."""
    original = getattr(error, "orig", None)
    codes = {getattr(original, name, None) for name in ("pgcode", "sqlstate")}
    return bool(codes & {_LOCK_NOT_AVAILABLE, _DEADLOCK})


def _lock_sqlite(db: Any) -> None:
    """End the empty transaction, and begin one that writes, with foreign keys off."""
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        msg = (
            f"SQLite {sqlite3.sqlite_version} is too old for the migrations, which "
            "need 3.35 or newer. Install a newer Python or SQLite."
        )
        raise MigrationError(msg)
    enforced = bool(db.pragma("foreign_keys"))
    db.commit()
    try:
        if enforced:
            db.pragma("foreign_keys", 0)
        db.begin("IMMEDIATE")
    except BaseException as error:
        if enforced:
            db.pragma("foreign_keys", 1)
        db.begin()
        if isinstance(error, peewee.OperationalError) and "locked" in str(error):
            raise DatabaseLockedError from error
        raise
    if enforced:
        _restore_afterwards(db)


def _restore_afterwards(db: Any) -> None:
    """Switch foreign keys on again when the runner ends its transaction."""
    transaction: Any = db.top_transaction()

    def restoring(end: Callable[..., None]) -> Callable[..., None]:
        def ended(begin: bool = True) -> None:
            end(False)
            db.pragma("foreign_keys", 1)
            if begin:
                db.begin()

        return ended

    transaction.commit = restoring(transaction.commit)
    transaction.rollback = restoring(transaction.rollback)


def _check_turn(db: peewee.Database, script: str, log: str, *, undo: bool) -> None:
    if not table_exists(db, log):
        msg = (
            f"{script} refused, and nothing was changed: the history of cmcore's "
            f"scripts belongs into the table {log}. Use `cmcore migrate`, or name the "
            "packaged folder with --directory, or pass migrate_table to the Router."
        )
        raise MigrationError(msg)
    done = history.applied(db, log)
    if undo:
        overtaken = not done or done[-1] != script
        event = "The history changed meanwhile"
    else:
        packaged = history.scripts(trail_only=log == history.TRAIL_HISTORY)
        earlier = packaged[: packaged.index(script)] if script in packaged else []
        overtaken = script in done or not set(earlier) <= set(done)
        event = "It was applied by another process"
    if overtaken:
        msg = (
            f"{script} refused, and nothing was changed: {event}, so look at the list "
            "and run again."
        )
        raise MigrationError(msg)
