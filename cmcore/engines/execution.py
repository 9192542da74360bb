"""How statements reach the driver: the caller's in view of peewee, our own beside it.

The `peewee` logger and `Database.query_hooks` see the caller's statements only, with
the caller's text; the logger `cmcore.sql` shows everything that is sent.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import peewee

from cmcore.changes import MASK

logger = logging.getLogger("cmcore.sql")


def run(
    database: Any,
    sql: str,
    params: Sequence[Any],
    *,
    shown: str,
    secrets: Sequence[Any] = (),
) -> Any:
    """Execute the caller's statement; `shown` and `secrets` are for the loggers."""
    visible = params
    if secrets and peewee.logger.isEnabledFor(logging.DEBUG):
        visible = [MASK if _is_one_of(p, secrets) else p for p in params]
    database._log_query(shown, visible)
    log(sql, visible)
    start = time.perf_counter() if database.query_hooks else None
    try:
        with peewee.__exception_wrapper__:
            cursor = database.cursor()
            cursor.execute(sql, params or ())
    except Exception as error:
        if start is not None:
            database._notify_hooks(shown, visible, start, error)
        raise
    if start is not None:
        database._notify_hooks(shown, visible, start, None)
    return cursor


def quiet(database: Any, sql: str, params: Sequence[Any] = ()) -> Any:
    """Execute a statement of our own; only the logger `cmcore.sql` sees it."""
    log(sql, params)
    with peewee.__exception_wrapper__:
        cursor = database.cursor()
        cursor.execute(sql, params)
    return cursor


def quiet_many(database: Any, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute one statement of our own for many rows."""
    log(sql, rows)
    with peewee.__exception_wrapper__:
        database.cursor().executemany(sql, rows)


def log(sql: str, params: Any) -> None:
    """Show a statement to the logger `cmcore.sql`."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s %s", sql, params)


def _is_one_of(value: Any, secrets: Sequence[Any]) -> bool:
    return any(type(value) is type(s) and value == s for s in secrets)


class Rows:
    """A finished cursor that gives the caller his own columns only.

    It offers what peewee's cursor wrappers use, and deliberately no item access:
    peewee takes the TypeError for "nothing was returned".
    """

    def __init__(self, cursor: Any, rows: Sequence[Any], width: int) -> None:
        """Take the real cursor, its fetched rows, and how many columns are his."""
        self.description = tuple((cursor.description or ())[:width])
        self.rowcount = cursor.rowcount
        self.lastrowid = getattr(cursor, "lastrowid", None)
        self._rows: Iterator[Any] = iter([tuple(row[:width]) for row in rows])

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows that were not fetched yet."""
        return self._rows

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return list(self._rows)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """Return up to `size` rows."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def close(self) -> None:
        """Do nothing: the real cursor is read to its end."""
