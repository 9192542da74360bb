"""Finding entries of the trail, and giving them as plain data."""

from collections.abc import Collection
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

import peewee

from cmcore.models.audit_log import AuditLog


class Search(NamedTuple):
    """What is asked of the trail; None where everything will do.

    Attributes:
        user: A user's id, or the e-mail address that the user had at the time.
        resource: A table, or a table and a key as `customers/0198…`.
        action: As it is recorded, for example `update`.
        since: The first moment that counts, aware.
        until: The first moment that does not count any more, aware.
        limit: How many entries at most.
    """

    user: str | None = None
    resource: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None


def find_entries(search: Search) -> "peewee.ModelSelect[AuditLog]":
    """Return the entries for which all that is asked holds, newest first."""
    user, resource, action, since, until, limit = search
    query: Any = AuditLog.trail()
    if user is not None:
        is_theirs = AuditLog.user == user
        if "@" in user:  # no index has addresses, and OR would spoil that of the ids
            is_theirs |= AuditLog.user_email == user.lower()
        query = query.where(is_theirs)
    if resource is not None:
        table, slash, key = resource.partition("/")
        query = query.where(AuditLog.resource_type == table)
        query = query.where(AuditLog.resource_id == key) if slash else query
    if action is not None:
        query = query.where(AuditLog.action == action.lower())
    if since is not None:
        query = query.where(AuditLog.created_at >= since)
    if until is not None:
        query = query.where(AuditLog.created_at < until)
    found: peewee.ModelSelect[AuditLog] = query.limit(limit)
    return found


def taken_along(row: peewee.Model, known: Collection[str]) -> list[str]:
    """Return the other tables with rows that are deleted since a row's last deletion.

    Args:
        row: A row of a soft-deleted model.
        known: The tables that are not looked for.
    """
    is_delete = AuditLog.action == "delete"
    entry = AuditLog.for_instance(row).where(is_delete).first()
    moment = entry and (entry.new_values or {}).get("deleted_at")
    if entry is None or moment is None:
        return []
    later: Any = AuditLog.alias()
    is_undone = later.select(later.id).where(
        later.resource_type == AuditLog.resource_type,
        later.resource_id == AuditLog.resource_id,
        later.action.in_(("restore", "purge")),
        later.created_at > AuditLog.created_at,
    )
    together = AuditLog.select().where(
        is_delete,
        AuditLog.transaction_id == entry.transaction_id,
        AuditLog.resource_type.not_in(list(known)),
        ~peewee.fn.EXISTS(is_undone),
    )
    return sorted(
        {
            each.resource_type
            for each in together
            if (each.new_values or {}).get("deleted_at") == moment
        }
    )


def entry_document(entry: AuditLog, zone: tzinfo = UTC) -> dict[str, Any]:
    """Return all columns of an entry as plain data for JSON, times in a zone."""
    return {
        field.column_name: _plain(entry.__data__[name], zone)
        for name, field in AuditLog._meta.fields.items()
        if name in entry.__data__
    }


def _plain(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat()
    return value
