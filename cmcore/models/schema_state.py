"""Whether a database has the schema that the models expect, asked once for each."""

import weakref
from collections.abc import Callable
from typing import Any

import peewee

from cmcore.errors import PendingMigrationsError
from cmcore.schema.history import SchemaState, inspect

_known: weakref.WeakKeyDictionary[Any, tuple[Any, SchemaState]] = (
    weakref.WeakKeyDictionary()
)


def schema_of(
    database: Any, before_reading: Callable[[], None] | None = None
) -> SchemaState:
    """Return the state of the schema; a complete one is remembered.

    Args:
        database: Where to look.
        before_reading: Called before anything is read.
    """
    if isinstance(database, peewee.Proxy):
        database = database.obj or database
    name = database.database
    known = _known.get(database)
    if known is not None and known[0] == name:
        return known[1]
    if before_reading is not None:
        before_reading()
    state = inspect(database)
    if state.kind != "none" and not state.pending:
        _known[database] = (name, state)
    return state


def forget_schema(database: Any) -> None:
    """Ask again at the next use: a migration or a rollback has run."""
    _known.pop(database, None)


def require_schema(
    database: Any,
    what: str,
    before_reading: Callable[[], None] | None = None,
    *,
    is_ours: bool = True,
) -> None:
    """Raise `PendingMigrationsError` unless the schema is the one of the models.

    Args:
        database: Where to look.
        what: The table that is wanted.
        before_reading: Called before anything is read.
        is_ours: It is a table of cmcore, of which the trail alone has only one.
    """
    state = schema_of(database, before_reading)
    if state.kind == "trail" and is_ours and what != "audit_logs":
        raise PendingMigrationsError((), what, is_trail=True)
    if state.kind == "none" or state.pending:
        raise PendingMigrationsError(tuple(state.pending), what)
