"""How statements reach the driver: the caller's in view of peewee, our own beside it.

The `peewee` logger and `Database.query_hooks` see the caller's statements only, with
the caller's text; the logger `cmcore.sql` shows everything that is sent.
"""

import contextvars
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cmcore.changes import MASK
from cmcore.engines.internals import internal
from cmcore.engines.statement import Rendered

logger = logging.getLogger("cmcore.sql")


def connection_of(database: Any) -> Any:
    """Return the connection, opened only where the database opens it by itself."""
    state = database._state
    if state.closed:
        database.cursor().close()
    return state.conn


def run(
    database: Any, sql: str, params: Sequence[Any], rendered: Rendered | None = None
) -> Any:
    """Execute the caller's statement.

    Args:
        database: Where to.
        sql: The statement as it is sent.
        params: Its parameters.
        rendered: His own text and parameters, for loggers, where they differ.
    """
    is_seen = database.query_hooks or internal.logger.isEnabledFor(logging.DEBUG)
    if not is_seen:
        return quiet(database, sql, params)
    text, visible = (rendered.shown, rendered.values) if rendered else (sql, params)
    database._log_query(text, visible)
    start = time.perf_counter()
    try:
        cursor = quiet(database, sql, params)
    except Exception as error:
        _notify(database, text, visible, start, error)
        raise
    _notify(database, text, visible, start, None)
    return cursor


def _notify(
    database: Any, text: str, params: Any, start: float, error: Exception | None
) -> None:
    if database.query_hooks:
        database._notify_hooks(text, params, start, error)


def quiet(database: Any, sql: str, params: Sequence[Any] = ()) -> Any:
    """Execute a statement of our own; only the logger `cmcore.sql` sees it."""
    log(sql, params)
    with internal.__exception_wrapper__:
        cursor = database.cursor()
        cursor.execute(sql, params or ())
    return cursor


def quiet_many(database: Any, sql: str, rows: Iterable[Sequence[Any]]) -> None:
    """Execute one statement of our own for many rows, each of which is made late."""
    if logger.isEnabledFor(logging.DEBUG):
        rows = list(rows)
        log(sql, rows)
    with internal.__exception_wrapper__:
        database.cursor().executemany(sql, rows)


def log(sql: str, params: Sequence[Any]) -> None:
    """Show a statement to the logger `cmcore.sql`."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s %s", sql, _masked(params) if _hiding.get() else params)


class hidden_parameters:  # noqa: N801 - reads as a clause: with hidden_parameters()
    """Shows `***` for every parameter in both loggers, inside the block.

    For statements on a model with masked fields: their values may stand anywhere.
    """

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        """Begin to hide."""
        if _PeeweeFilter.instance not in internal.logger.filters:
            internal.logger.addFilter(_PeeweeFilter.instance)
        self._token = _hiding.set(True)

    def __exit__(self, *_: object) -> None:
        """Do as before."""
        _hiding.reset(self._token)


class _PeeweeFilter(logging.Filter):
    """Hides parameters in the records that peewee itself makes."""

    instance: "_PeeweeFilter"

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, with masks in the place of the parameters."""
        message: Any = record.msg
        if _hiding.get() and isinstance(message, tuple):
            sql, params = message
            record.msg = (sql, _masked(params))
        return True


_PeeweeFilter.instance = _PeeweeFilter()
_hiding: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "cmcore_hidden_parameters", default=False
)


def _masked(params: Any) -> list[str]:
    return [MASK for _ in params or ()]


class Rows:
    """A finished cursor that gives the caller his own columns only.

    It offers what peewee's cursor wrappers use, and deliberately no item access:
    peewee takes the TypeError for "nothing was returned".
    """

    def __init__(self, cursor: Any, rows: Sequence[Any], width: int) -> None:
        """Take the real cursor, its fetched rows, and how many columns are his."""
        self.description = tuple(cursor.description[:width]) if width else None
        self.rowcount = cursor.rowcount
        self.lastrowid = getattr(cursor, "lastrowid", None)
        own = [tuple(row[:width]) for row in rows] if width else []
        self._rows: Iterator[Any] = iter(own)

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
