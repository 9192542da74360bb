"""The built-in plugin `audit`: a change becomes a row of `audit_logs`.

All entries of one statement are one INSERT, in the transaction of the change.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

import peewee

from cmcore.changes import Action, Change
from cmcore.context import Context, storable
from cmcore.encodings import encode_any
from cmcore.engines.binding import engine_of
from cmcore.engines.failures import first_line, read_failure
from cmcore.entries import COLUMNS, audit_columns
from cmcore.errors import (
    ConstraintError,
    DuplicateError,
    InvalidValueError,
    MissingReferenceError,
    TooLongError,
    UnboundModelError,
)
from cmcore.hooks import hookimpl
from cmcore.keys import new_key, now
from cmcore.layout import Layout
from cmcore.models.actors import acting_context
from cmcore.models.audit_log import AuditLog
from cmcore.models.failures import translated
from cmcore.models.recorder import Changes
from cmcore.models.schema_state import require_schema
from cmcore.models.unit import Unit, transaction_id
from cmcore.schema.checks import rule, rules_of
from cmcore.values import dumps, key_text

_TABLE = "audit_logs"


@hookimpl(tryfirst=True)
def cmcore_after_create(changes: Sequence[Change]) -> None:
    """Write the entries of created rows."""
    _write(changes)


@hookimpl(tryfirst=True)
def cmcore_after_update(changes: Sequence[Change]) -> None:
    """Write the entries of updated rows."""
    _write(changes)


@hookimpl(tryfirst=True)
def cmcore_after_delete(changes: Sequence[Change]) -> None:
    """Write the entries of deleted and purged rows."""
    _write(changes)


@hookimpl(tryfirst=True)
def cmcore_after_restore(changes: Sequence[Change]) -> None:
    """Write the entries of restored rows."""
    _write(changes)


def _write(changes: Sequence[Change]) -> None:
    if not isinstance(changes, Changes):  # hooks get nothing else
        return
    layout, shared = changes.layout, changes.shared
    if not layout.audit or _is_entry(layout, changes):
        return
    context: Context = shared["context"]
    table = layout.model._meta.table_name
    known = _shared_columns(context, shared["at"], shared["transaction_id"], table)
    columns = audit_columns(changes, context.user_email or context.user_id or "")
    _insert(shared["database"], known, columns)


def _is_entry(layout: Layout, changes: Changes) -> bool:
    """Tell whether entries were written; that they are deleted is recorded."""
    return layout.model is AuditLog and changes.entries[0].action is Action.CREATE


def _shared_columns(
    context: Context, at: datetime, transaction: str, resource_type: str
) -> dict[str, Any]:
    extra = context.extra
    moment = _MOMENT.db_value(at)
    return {
        "resource_type": resource_type[:100],
        "user_id": context.user_id,
        "user_email": context.user_email and context.user_email[:255],
        "user_role": context.user_role and context.user_role[:50],
        "ip_address": context.ip_address,
        "user_agent": context.user_agent,
        "request_method": context.request_method,
        "request_path": context.request_path,
        "request_id": context.request_id,
        "transaction_id": transaction,
        "extra_data": _extra_json(extra) if extra else None,
        "success": True,
        "created_at": moment,
        "updated_at": moment,
    }


_MOMENT: Any = AuditLog._meta.fields["created_at"]


def _extra_json(extra: Mapping[str, Any]) -> str:
    return dumps({storable(name): encode_any(value) for name, value in extra.items()})


def _insert(
    database: Any, shared: dict[str, Any], columns: dict[str, list[Any]]
) -> None:
    engine = engine_of(database)
    if engine is None:
        return
    try:
        known = {name: value for name, value in shared.items() if value is not None}
        engine.insert_columns(database, _TABLE, known, columns)
    except peewee.IntegrityError as error:
        raise _refusal(error, shared["user_id"]) from error


_USER_KEY = "fk_audit_logs_user_id"


def _refusal(error: peewee.IntegrityError, user: Any) -> ConstraintError:
    """Return what is wrong with an entry: its user, or what others put on the trail.

    SQLite does not tell which foreign key it was.
    """
    failure = read_failure(error)
    if failure and failure.constraint in {None, _USER_KEY}:
        return MissingReferenceError(
            table=_TABLE,
            column="user_id",
            constraint=_USER_KEY,
            value=user,
            detail="cmcore.acting_as() names a user that is not in the table users.",
        )
    kinds = {"missing": MissingReferenceError, "unique": DuplicateError}
    kind: type[ConstraintError] = kinds.get(failure.kind if failure else "") or (
        InvalidValueError
    )
    constraint = failure and failure.constraint
    own = rule(constraint or "")
    detail = f"It must be {own.sentence}." if own else f"{first_line(error)}."
    return kind(table=_TABLE, constraint=constraint, detail=detail)


class AuditAction(StrEnum):
    """The standard security events, for `record()`."""

    LOGIN_SUCCESS = "login_success"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - an event
    PASSWORD_RESET = "password_reset"  # noqa: S105 - an event
    TWO_FACTOR_ENABLED = "2fa_enabled"
    TWO_FACTOR_DISABLED = "2fa_disabled"
    USER_SUSPEND = "user_suspend"
    USER_ACTIVATE = "user_activate"
    ROLE_ASSIGN = "role_assign"
    PERMISSION_GRANT = "permission_grant"
    PERMISSION_REVOKE = "permission_revoke"
    DATA_EXPORT = "data_export"
    CONFIG_CHANGE = "config_change"
    SECURITY_ALERT = "security_alert"
    SYSTEM_ERROR = "system_error"


def record(  # noqa: PLR0913 - the columns of an entry
    action: str,
    *,
    resource_type: str,
    resource_id: Any = None,
    description: str,
    success: bool = True,
    error_message: str | None = None,
    **extra: Any,
) -> AuditLog:
    """Write an entry for an event that is not a change of a row.

    It goes to the database of `AuditLog`, into the transaction that is open there.

    Args:
        action: An `AuditAction`, or a word of your own of up to 50 characters.
        resource_type: What it happened to; up to 100 characters.
        resource_id: Which one; any key, recorded as text.
        description: A sentence that a person can read.
        success: False where the event is a failed attempt.
        error_message: Why it failed.
        **extra: Kept in `extra_data`, beside what the context has there.

    Returns:
        The entry.

    Raises:
        InvalidValueError: An empty action, resource_type or description.
        TooLongError: A text longer than its column.
        MissingReferenceError: The context names a user who does not exist.
    """
    given = {
        "action": storable(str(action.value if isinstance(action, Enum) else action)),
        "resource_type": storable(str(resource_type)),
        "description": storable(str(description)),
    }
    _check(given)
    database: Any = AuditLog._meta.database
    if isinstance(database, peewee.Proxy):
        database = database.obj or database
    if database is None:
        raise UnboundModelError(AuditLog.__name__)
    database.connection()
    layout = AuditLog._meta.layout
    engine: Any = engine_of(database)
    with (
        translated(None, database, layout),
        Unit(database, engine, layout, savepoint=False) as unit,
    ):
        require_schema(database, _TABLE, unit.before_reading)
        context = acting_context(database, unit.before_reading)
        merged = {**context.extra, **extra}
        identifier, at = new_key(), now()
        shared = _shared_columns(
            context, at, transaction_id(database), given["resource_type"]
        )
        shared["extra_data"] = _extra_json(merged) if merged else None
        shared["success"] = bool(success)
        shared["error_message"] = error_message and storable(str(error_message))
        key = None if resource_id is None else key_text(resource_id)
        row = (identifier, given["action"], key, given["description"], None, None)
        columns = {name: [value] for name, value in zip(COLUMNS, row, strict=True)}
        _insert(database, shared, columns)
        entry: AuditLog = AuditLog.get_by_id(identifier)
    return entry


def _check(given: dict[str, str]) -> None:
    fields: Any = AuditLog._meta.fields
    for column, value in given.items():
        limit = getattr(fields[column], "max_length", None)
        if limit is not None and len(value) > limit:
            raise TooLongError(
                table=_TABLE,
                column=column,
                value=value,
                detail=f"At most {limit} characters fit.",
            )
    for each in rules_of(_TABLE):
        if each.column in given and not each.is_valid(given[each.column]):
            raise InvalidValueError(
                table=_TABLE,
                column=each.column,
                constraint=each.name,
                value=given[each.column],
                detail=f"It must be {each.sentence}.",
            )
