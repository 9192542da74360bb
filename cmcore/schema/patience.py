"""Doing something that needs a table for itself while others work, on PostgreSQL.

Who waits for a table of its own makes everybody behind it wait as well, so such a
statement waits a moment at most, gives up, and tries again.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from cmcore.engines.introspection import run
from cmcore.errors import MigrationError
from cmcore.schema.guard import is_lock_conflict

BRIEFLY = "80ms"
# Who only checks or builds waits beside the others.
PATIENTLY = "60s"
ATTEMPTS = 60
PAUSE = 0.5

Result = TypeVar("Result")


def attempt(db: Any, wait: str, work: Callable[[], Result]) -> Result:
    """Do something in one transaction, again while others hold their tables.

    Args:
        db: The database, without a transaction.
        wait: How long one lock may take, as `80ms`.
        work: What executes the statements.

    Raises:
        MigrationError: Somebody kept a table locked through all attempts.
    """
    number = 0
    while True:
        try:
            with db.atomic():
                run(db, f"SET LOCAL lock_timeout = '{wait}'")
                return work()
        except peewee.OperationalError as error:
            if not is_worth_another_try(error, number):
                raise
            number += 1
            time.sleep(PAUSE)


def is_worth_another_try(error: peewee.DatabaseError, number: int) -> bool:
    """Tell whether a lock was in the way, and there are attempts left.

    Raises:
        MigrationError: A lock was in the way in this last attempt too.
    """
    if not is_lock_conflict(error):
        return False
    if number + 1 < ATTEMPTS:
        return True
    msg = (
        f"another transaction kept a table locked through {ATTEMPTS} attempts. End it, "
        "and run again."
    )
    raise MigrationError(msg) from error
