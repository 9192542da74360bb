"""The built-in plugin `audit`: a change becomes a row of `audit_logs`.

All entries of one statement are one INSERT, in the transaction of the change.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import peewee

from cmcore.changes import MASK, Change
from cmcore.context import Context
from cmcore.engines.binding import engine_of
from cmcore.errors import InvalidValueError, MissingReferenceError, TooLongError
from cmcore.hooks import dispatch, hookimpl
from cmcore.keys import new_key, now
from cmcore.layout import Layout
from cmcore.models.actors import acting_context
from cmcore.models.audit_log import AuditLog
from cmcore.models.unit import Unit, transaction_id
from cmcore.schema.checks import rules_of
from cmcore.values import dumps, encoder, key_text

_TABLE = "audit_logs"
_VARYING = ("id", "action", "resource_id", "description", "old_values", "new_values")
_WORDS = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "restore": "restored",
    "purge": "purged",
}


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
    first = changes[0]
    layout: Layout = first.model._meta.layout  # type: ignore[attr-defined]
    if not layout.audit:
        return
    writer = _Writer(layout, first.context)
    redacts = dispatch.has_redactors()
    rows = [
        writer.row(change, dispatch.redactions(change) if redacts else frozenset())
        for change in changes
    ]
    table = first.model._meta.table_name
    shared = _shared_columns(first.context, first.at, first.transaction_id, table)
    _insert(first.database, shared, rows)


class _Writer:
    """Encodes the changes of one model."""

    def __init__(self, layout: Layout, context: Context) -> None:
        if "encoders" not in layout.cache:
            named = zip(layout.names, layout.fields, strict=True)
            layout.cache["encoders"] = {name: encoder(field) for name, field in named}
        self._encoders = layout.cache["encoders"]
        self._stamps = {layout.names[i] for i in layout.stamp_positions}
        self._who = context.user_email or context.user_id
        self._table = layout.model._meta.table_name

    def row(self, change: Change, redacted: frozenset[str]) -> tuple[Any, ...]:
        key = None if change.key is None else key_text(change.key)
        action = change.action.value
        return (
            new_key(),
            action,
            key,
            self._description(action, key, change),
            self._json(change.old, redacted),
            self._json(change.new, redacted),
        )

    def _description(self, action: str, key: str | None, change: Change) -> str:
        row = self._table if key is None else f"{self._table} {key}"
        fields = ""
        if change.old is not None and change.new is not None:
            told = [name for name in change.new if name not in self._stamps]
            fields = f" ({', '.join(told)})"
        return f"{self._who} {_WORDS[action]} {row}{fields}"

    def _json(
        self, values: Mapping[str, Any] | None, redacted: frozenset[str]
    ) -> str | None:
        if values is None:
            return None
        encoded = dict(values)
        encoders = self._encoders
        for name, value in values.items():
            write = encoders[name]
            if value is None or value is MASK:
                continue
            if name in redacted:
                encoded[name] = MASK
            elif write is not None:
                encoded[name] = write(value)
        return dumps(encoded)


def _shared_columns(
    context: Context, at: datetime, transaction: str, resource_type: str
) -> dict[str, Any]:
    extra = context.extra
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
        "created_at": _MOMENT.db_value(at),
        "updated_at": _MOMENT.db_value(at),
    }


_MOMENT: Any = AuditLog._meta.fields["created_at"]
_ENCODE_ANY: Any = encoder(None)


def _extra_json(extra: Mapping[str, Any]) -> str:
    return dumps({name: _ENCODE_ANY(value) for name, value in extra.items()})


def _insert(
    database: Any, shared: dict[str, Any], rows: Sequence[Sequence[Any]]
) -> None:
    engine = engine_of(database)
    if engine is None:
        return
    try:
        engine.insert_rows(database, _TABLE, shared, _VARYING, rows)
    except peewee.IntegrityError as error:
        raise MissingReferenceError(
            table=_TABLE,
            column="user_id",
            constraint="fk_audit_logs_user_id",
            value=shared["user_id"],
            detail="cmcore.acting_as() names a user that is not in the table users.",
        ) from error


class AuditAction(str, Enum):
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

    def __str__(self) -> str:
        """Return the value, as it stands in the trail."""
        return self.value


def record(
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
        "action": str(action.value if isinstance(action, Enum) else action),
        "resource_type": str(resource_type),
        "description": str(description),
    }
    _check(given)
    database: Any = AuditLog._meta.database
    if isinstance(database, peewee.Proxy):
        database = database.obj or database
    database.connection()
    layout: Layout = AuditLog._meta.layout  # type: ignore[attr-defined]
    engine: Any = engine_of(database)
    identifier, at = new_key(), now()
    with Unit(database, engine, layout, savepoint=False):
        context = acting_context(database)
        merged = {**context.extra, **extra}
        shared = _shared_columns(
            context, at, transaction_id(database), given["resource_type"]
        )
        shared["extra_data"] = _extra_json(merged) if merged else None
        shared["success"] = bool(success)
        shared["error_message"] = error_message
        key = None if resource_id is None else key_text(resource_id)
        row = (identifier, given["action"], key, given["description"], None, None)
        _insert(database, shared, [row])
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
    for rule in rules_of(_TABLE):
        if rule.column in given and not rule.is_valid(given[rule.column]):
            raise InvalidValueError(
                table=_TABLE,
                column=rule.column,
                constraint=rule.name,
                value=given[rule.column],
                detail=f"It must be {rule.sentence}.",
            )
