"""Who acts on a database: the context's user, looked up once for each block."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cmcore.context import Context, current_context, user_columns
from cmcore.engines.binding import engine_of
from cmcore.engines.execution import quiet
from cmcore.errors import CmcoreError, MissingReferenceError
from cmcore.hooks import dispatch
from cmcore.models.schema_state import schema_of

SYSTEM = "system"
"""The id of the user who acted when nobody is named."""


def acting_context(database: Any, before_reading: Callable[[], None]) -> Context:
    """Return the context of a write: its user is never None, and is known here.

    Args:
        database: Where the write goes.
        before_reading: Called before anything is read.

    Raises:
        MissingReferenceError: The context names a user who does not exist. On a
            database that holds only the trail, ids are taken as given.
    """
    context = current_context()
    if context.user_id is None:
        context = _of_plugins(context, database, before_reading)
    key = database if context.user_id is not None else SYSTEM
    known = context.resolved.get(key)
    if known is None:
        if context.user_id is not None:
            before_reading()
        known = context.resolved[key] = _resolved(context, database)
    return known


def _of_plugins(
    context: Context, database: Any, before_reading: Callable[[], None]
) -> Context:
    """Ask the plugins who acts; an answer that makes no sense is logged, not kept."""
    if not dispatch.can_resolve_user():
        return context
    before_reading()
    user = dispatch.resolve_user()
    if user is None:
        return context
    try:
        named = replace(context, resolved={}, **user_columns(user))
        named.resolved[database] = _resolved(named, database)
    except CmcoreError:
        dispatch.logger.exception("cmcore_resolve_user: %r is no user", user)
        return context
    return named


def _resolved(context: Context, database: Any) -> Context:
    if context.user_id is None:
        return replace(context, user_id=SYSTEM)
    if context.user_email is not None or schema_of(database).kind == "trail":
        return context
    engine = engine_of(database)
    mark = engine.placeholder if engine else "?"
    found = quiet(
        database,
        f"SELECT email, role FROM users WHERE id = {mark}",
        (context.user_id,),
    ).fetchone()
    if found is None:
        raise MissingReferenceError(
            table="audit_logs",
            column="user_id",
            value=context.user_id,
            detail="cmcore.acting_as() names a user that is not in the table users.",
        )
    return replace(context, user_email=found[0], user_role=found[1])
