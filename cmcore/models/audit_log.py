"""The entries of the trail."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, overload

import peewee

from cmcore.fields import JSONField, KeyField
from cmcore.hooks import dispatch
from cmcore.models.base import Model
from cmcore.models.guards import AppendOnly
from cmcore.models.literals import python_value
from cmcore.models.mixins import StampedTime, UserReference
from cmcore.models.reads import RecordedSelect
from cmcore.models.soft_delete import SoftDeleteMixin
from cmcore.models.unit import when_committed
from cmcore.schema.constraints import (
    WithoutRowid,
    checks_of,
    default,
    with_declared_lengths,
)
from cmcore.values import key_text

if TYPE_CHECKING:

    class _Entries(peewee.ModelSelect["AuditLog"]):
        @overload
        def __getitem__(self, value: int) -> "AuditLog": ...
        @overload
        def __getitem__(self, value: slice) -> list["AuditLog"]: ...
        def __getitem__(self, value: Any) -> Any: ...
        def first(self, database: Any = None, n: int = 1) -> "AuditLog | None": ...
else:
    _Entries = RecordedSelect


class Trail(_Entries):
    """A select of entries, newest first, which can be narrowed step by step."""

    def for_instance(self, obj: peewee.Model) -> Self:
        """Keep the entries of one row, given as an object; also after it is gone."""
        meta: Any = obj._meta
        keys = [
            python_value(field, getattr(obj, field.safe_name))
            for field in meta.get_primary_keys()
        ]
        key = key_text(keys[0] if len(keys) == 1 else tuple(keys)) if keys else None
        return self.for_model(type(obj)).where(AuditLog.resource_id == key)

    def for_model(self, model: type[peewee.Model]) -> Self:
        """Keep the entries of one model's table."""
        return self.where(AuditLog.resource_type == model._meta.table_name)

    def by_user(self, user: Any) -> Self:
        """Keep what one user did, given as an object or by id."""
        key = user.get_id() if isinstance(user, peewee.Model) else str(user)
        return self.where(AuditLog.user == key)

    def between(self, start: datetime | None, end: datetime | None) -> Self:
        """Keep the entries from `start` up to, and without, `end`; both aware.

        None is no bound.

        Raises:
            NaiveDatetimeError: A moment without a time zone.
        """
        bounds = [] if start is None else [AuditLog.created_at >= start]
        bounds += [] if end is None else [AuditLog.created_at < end]
        return self.where(*bounds) if bounds else self


@with_declared_lengths
class AuditLog(SoftDeleteMixin, Model):
    """One change of one row, or one event: who, what, when, from where, and why.

    `created_by` and `updated_by` are NULL unless somebody other than the acting user
    wrote or annotated the entry.
    """

    id = KeyField(primary_key=True)
    action = peewee.CharField(max_length=50)
    resource_type = peewee.CharField(max_length=100)
    resource_id = peewee.CharField(null=True)
    description = peewee.TextField()
    user = UserReference(column_name="user_id", partial_index=None)
    user_email = peewee.CharField(null=True)
    user_role = peewee.CharField(max_length=50, null=True)
    ip_address = peewee.CharField(max_length=45, null=True)
    user_agent = peewee.TextField(null=True)
    request_method = peewee.CharField(max_length=10, null=True)
    request_path = peewee.TextField(null=True)
    request_id = peewee.CharField(max_length=128, null=True)
    transaction_id = peewee.CharField(max_length=36, null=True)
    old_values = JSONField(null=True)
    new_values = JSONField(null=True)
    extra_data = JSONField(null=True)
    success = peewee.BooleanField(default=True, constraints=[default(True)])
    error_message = peewee.TextField(null=True)
    created_at = StampedTime(once=True)
    updated_at = StampedTime()
    created_by = UserReference(partial_index=True)
    updated_by = UserReference(partial_index=True)

    if TYPE_CHECKING:
        user_id: peewee.CharField[str | None]
        created_by_id: peewee.CharField[str | None]
        updated_by_id: peewee.CharField[str | None]

    class Meta:
        table_name = "audit_logs"
        constraints = checks_of("audit_logs")
        owned = True
        shows_deleted = True
        guard = AppendOnly()
        schema_manager_class = WithoutRowid

    def __repr__(self) -> str:
        """Say who did what to which row."""
        data: Any = self.__data__.get
        key = "" if data("resource_id") is None else f"/{data('resource_id')}"
        who = data("user_email") or data("user")
        what = f"{data('action')} {data('resource_type')}{key}"
        return f"<{type(self).__name__} {what} by {who}>"

    @classmethod
    def trail(cls) -> Trail:
        """Return all entries, newest first, soft-deleted ones included."""
        query = Trail(cls, cls._meta.sorted_fields, is_default=True)
        return query.order_by(cls.created_at.desc(), cls.id.desc())

    @classmethod
    def for_instance(cls, obj: peewee.Model) -> Trail:
        """Return the entries of one row, newest first; also after it is gone.

        They are read from the object's own database.
        """
        trail = cls.trail().for_instance(obj)
        if obj._meta.database is not None:
            trail.bind(obj._meta.database)
        return trail

    @classmethod
    def for_model(cls, model: type[peewee.Model]) -> Trail:
        """Return the entries of one model's table, newest first."""
        return cls.trail().for_model(model)

    @classmethod
    def by_user(cls, user: Any) -> Trail:
        """Return what one user did, given as an object or by id, newest first."""
        return cls.trail().by_user(user)

    @classmethod
    def between(cls, start: datetime | None, end: datetime | None) -> Trail:
        """Return the entries from `start` up to, and without, `end`, newest first."""
        return cls.trail().between(start, end)

    @classmethod
    def history_of(cls, obj: peewee.Model) -> Trail:
        """Return the entries of one row from its newest creation on, newest first.

        SQLite gives the key of a deleted last row to the next one, whose history does
        not begin before its own creation.
        """
        trail = cls.for_instance(obj)
        created = trail.where(cls.action == "create").limit(1).get_or_none()
        if created is None:
            return trail
        return trail.where(
            (cls.created_at > created.created_at)
            | ((cls.created_at == created.created_at) & (cls.id >= created.id))
        )


def _observe(database: peewee.Database, transaction_id: str) -> None:
    """Show the entries that survived to the plugins which want to see them.

    They are read again, so what a savepoint undid is absent.
    """
    if not dispatch.has_observers():
        return
    try:
        query = AuditLog.select().where(AuditLog.transaction_id == transaction_id)
        query.bind(database)
        entries = list(query.order_by(AuditLog.created_at, AuditLog.id))
    except Exception:  # noqa: BLE001 - the commit has happened already
        dispatch.logger.exception("cmcore_after_commit: the entries cannot be read")
        return
    if entries:
        dispatch.committed(entries)


Model.use_trail(AuditLog)
when_committed(_observe)

for _name, _columns in {
    "idx_audit_logs_created_at": (AuditLog.created_at,),
    "idx_audit_logs_transaction_id": (AuditLog.transaction_id,),
    "idx_audit_user_action": (AuditLog.user, AuditLog.action),
    "idx_audit_resource": (AuditLog.resource_type, AuditLog.resource_id),
}.items():
    AuditLog.add_index(AuditLog.index(*_columns, name=_name))
AuditLog.add_index(
    AuditLog.index(
        AuditLog.request_id,
        where=AuditLog.request_id.is_null(False),
        name="idx_audit_logs_request_id",
    )
)
