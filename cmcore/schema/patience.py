"""Doing something that needs a table for itself while others work, on PostgreSQL.

Who waits for a table of its own makes everybody behind it wait as well, so such a
statement waits a moment at most, gives up, and tries again.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from cmcore.engines.introspection import rows, run
from cmcore.errors import MigrationError
from cmcore.schema.guard import is_lock_conflict

BRIEFLY = "80ms"
# Who only checks or builds waits beside the others.
PATIENTLY = "60s"
ATTEMPTS = 60
PAUSE = 0.5

Result = TypeVar("Result")


def attempt(
    db: Any,
    wait: str,
    work: Callable[[], Result],
    *,
    ahead: Callable[[], object] = lambda: None,
) -> Result:
    """Do something in one transaction, again while others hold their tables.

    Each statement sees what others have committed before it, so that what is read after
    a lock is as it is then.

    Args:
        db: The database, without a transaction.
        wait: How long one lock may take, as `80ms`.
        work: What executes the statements.
        ahead: What is done before each attempt, in transactions of its own.

    Raises:
        MigrationError: Somebody kept a table locked through all attempts.
    """
    number = 0
    while True:
        ahead()
        try:
            with db.atomic():
                run(db, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
                run(db, f"SET LOCAL lock_timeout = '{wait}'")
                return work()
        except peewee.OperationalError as error:
            if not is_worth_another_try(error, number, lambda: _holders(db)):
                raise
            number += 1
            time.sleep(PAUSE)


def is_worth_another_try(
    error: peewee.DatabaseError, number: int, holders: Callable[[], str] = str
) -> bool:
    """Tell whether a lock was in the way, and there are attempts left.

    Args:
        error: What the database said.
        number: How many attempts there were before.
        holders: Names whoever may hold the lock.

    Raises:
        MigrationError: A lock was in the way in this last attempt too.
    """
    if not is_lock_conflict(error):
        return False
    if number + 1 < ATTEMPTS:
        return True
    msg = (
        f"another transaction kept a table locked through {ATTEMPTS} attempts"
        f"{holders()}. End it, and run again."
    )
    raise MigrationError(msg) from error


def _holders(db: peewee.Database) -> str:
    """Name the oldest transactions of others that hold locks of tables."""
    found = rows(
        db,
        "SELECT format('process %s of %s, %s for %s s', pid, usename, state,"
        " extract(epoch FROM now() - xact_start)::int) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks"
        " WHERE locktype = 'relation' AND granted AND relation >= 16384"
        " AND database = (SELECT oid FROM pg_database"
        " WHERE datname = current_database())) ORDER BY xact_start LIMIT 3",
    )
    names = "; ".join(name for (name,) in found)
    return f" (perhaps {names})" if names else ""
