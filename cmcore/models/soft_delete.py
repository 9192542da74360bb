"""`SoftDeleteMixin`: rows are marked as deleted, hidden, and can come back."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import peewee

from cmcore.errors import (
    ConfigurationError,
    ProtectedRowError,
    StaleDeletedError,
    UnsafeCascadeError,
)
from cmcore.fields import UTCDateTimeField
from cmcore.models.base import Model, whole
from cmcore.models.dependents import (
    Found,
    children_first,
    chunked,
    dependents,
    is_soft_deleted,
    keys_of,
    neighbours,
    reached_models,
    with_keys,
)
from cmcore.models.live import EVERYTHING, Show
from cmcore.models.marking import Restore, SoftDelete, free_moment
from cmcore.models.mixins import UserReference
from cmcore.models.purging import Purge, purge_query, purge_rows
from cmcore.models.queries import RecordedUpdate

_MARKS = ("deleted_at", "deleted_by")


class DeletingUser(UserReference):
    """A reference to who deleted a row; a plain id beside `ActorMixin`."""

    def chosen_for(self, bases: Iterable[type]) -> peewee.Field:
        """Return the field that a model with these bases gets."""
        if not any(getattr(base, "has_plain_users", False) for base in bases):
            return self
        plain = peewee.CharField(max_length=36, null=True)
        plain.named_index = True  # type: ignore[attr-defined]  # for Metadata
        return plain


class SoftDeleteMixin(Model, abstract=True):
    """Adds `deleted_at` and `deleted_by`: a delete marks the row, reads leave it out.

    `select()` and `update()`, and whatever is built on them, see live rows only, in
    joins as well; `with_deleted()` and `only_deleted()` see the others. Unique indexes
    hold among live rows; a primary key stays taken. `purge()` removes rows for good.

    Not covered: SQL that passes by the models, and a foreign key of a plain
    `peewee.Model`, which does not find a deleted row.
    """

    marks_deleted = True

    deleted_at = UTCDateTimeField(null=True)
    deleted_by = DeletingUser(partial_index=True)

    deleted_at.named_index = True  # type: ignore[attr-defined]  # for Metadata

    if TYPE_CHECKING:
        deleted_by_id: peewee.CharField[str | None]

    @classmethod
    def with_deleted(cls, *fields: Any) -> "peewee.ModelSelect[Self]":
        """Return a select that sees deleted rows of this model too.

        Joined models stay cut down to live rows; `with_deleted()` of the query names
        those that should not.
        """
        query: Any = cls.select(*fields)
        found: peewee.ModelSelect[Self] = query.with_deleted(cls)
        return found

    @classmethod
    def only_deleted(cls, *fields: Any) -> "peewee.ModelSelect[Self]":
        """Return a select that sees deleted rows of this model only."""
        query: Any = cls.select(*fields)
        found: peewee.ModelSelect[Self] = query.showing(Show.DELETED, cls)
        return found

    @classmethod
    def update_with_deleted(
        cls, data: Any = None, /, **values: Any
    ) -> peewee.ModelUpdate:
        """Return an update of live and deleted rows."""
        given: Any = cls
        query = RecordedUpdate(cls, given._normalize_data(data, values))
        query._reach = {EVERYTHING: Show.ALL}
        return query

    if TYPE_CHECKING:

        @classmethod
        def restore(cls) -> peewee.ModelUpdate:
            """Return a query that brings deleted rows back."""

        @classmethod
        def purge(
            cls, *, older_than: timedelta | None = None, include_live: bool = False
        ) -> Purge:
            """Return a query that removes rows for good."""
    else:  # which an object does not have

        @peewee.classmethod_only
        def delete(cls) -> SoftDelete:  # noqa: N805 - peewee's own decorator
            """Return a query that marks live rows as deleted."""
            return SoftDelete(cls)

        @peewee.classmethod_only
        def restore(cls) -> Restore:  # noqa: N805 - peewee's own decorator
            """Return a query that brings deleted rows back.

            Executing it raises `RestoreConflictError` if a live row, or another one
            that it restores, has a unique value of one; then nothing is restored.
            """
            return Restore(cls)

        @peewee.classmethod_only
        def purge(
            cls,  # noqa: N805 - peewee's own decorator
            *,
            older_than: timedelta | None = None,
            include_live: bool = False,
        ) -> Purge:
            """Return a query that removes rows for good, in batches, oldest first.

            Deleted rows that depend on them go first. Outside a transaction of yours
            each batch is one; an error undoes its own batch. Executing it raises
            `StillReferencedError` where live rows refer to one of the rows.

            Args:
                older_than: How long ago they were deleted, at least.
                include_live: Live rows as well, not only deleted ones.
            """
            return purge_query(cls, older_than, include_live=include_live)

    @property
    def is_deleted(self) -> bool:
        """Whether the row was deleted, as far as this object knows.

        One that was read by its key without `deleted_at` asks the database, once.
        """
        if "deleted_at" not in self.__data__ and self._has_stored_key():
            self._read_marks()
        return self.deleted_at is not None

    def _has_stored_key(self) -> bool:
        """Tell whether the key came from the database, or has gone into it."""
        meta: Any = self._meta
        names = {field.name for field in meta.get_primary_keys()}
        return bool(names) and names <= self.__data__.keys() - self._dirty

    def _read_marks(self) -> None:
        model: Any = type(self)
        marks = [model._meta.fields[name] for name in _MARKS]
        row = model.with_deleted(*marks).where(self._pk_expr()).get_or_none()
        for name in _MARKS:
            self.__data__[name] = row and row.__data__[name]

    def save(self, force_insert: bool = False, only: Any = None) -> int:
        """Save as peewee does, but never a row that was deleted meanwhile.

        Raises:
            StaleDeletedError: The row was deleted; nothing is changed.
            ProtectedRowError: `deleted_at` or `deleted_by` was assigned.
        """
        meta: Any = self._meta
        known = meta.primary_key is not False and self._pk is not None
        inserts = force_insert or not known
        self._refuse_marks(only)
        data: Any = self.__data__
        held = {name: data.pop(name) for name in _MARKS if name in data}
        try:
            count: int = super().save(force_insert, only)
            if inserts:  # the new row is live, even the copy of a deleted one
                held = dict.fromkeys(_MARKS)
                self.__rel__.pop("deleted_by", None)
        finally:
            data.update(held)
        if count == 0 and count is not False and not inserts:
            self._refuse_stale()
        return count

    def delete_instance(
        self, recursive: bool = False, delete_nullable: bool = False
    ) -> int:
        """Mark the row as deleted, and with `recursive` those that depend on it.

        Dependents through a nullable link keep it and stay, unless `delete_nullable`
        takes them. All rows of one call have the same `deleted_at`, by which
        `restore_instance(recursive=True)` knows them.

        Returns:
            1, or 0 if the row is deleted already.

        Raises:
            UnsafeCascadeError: A dependent model has no `SoftDeleteMixin`.
        """
        model: Any = type(self)
        if not recursive:
            return self._mark(model.delete())
        affected = reached_models(model, nullable=delete_nullable)
        unsafe = tuple(m for m in affected if not is_soft_deleted(m))
        if unsafe:
            raise UnsafeCascadeError(unsafe)

        def live(link: Any, child: Any) -> Any:
            skipped = link.null and not delete_nullable
            return None if skipped else child.select()

        with whole(model, always=True) as unit:
            unit.before_reading()
            root = model.delete().where(self._pk_expr())
            near = neighbours(affected, below=True)
            root.call_moment = free_moment(near, unit.database)
            if not root.execute():
                return 0
            found = dependents(model, [self._pk], live)
            found[model].discard(self._pk)
            for child in children_first(found):
                for part in chunked(found[child]):
                    query: Any = child.delete().where(with_keys(child, part))
                    query.call_moment = root.call_moment
                    query.execute()
        self._show(root)
        return 1

    def restore_instance(self, recursive: bool = False) -> int:
        """Bring the row back, and with `recursive` what its deletion took along.

        Returns:
            1, or 0 if the row is live.

        Raises:
            RestoreConflictError: A live row has a unique value of one of the rows;
                nothing is restored.
        """
        model: Any = type(self)
        if not recursive:
            return self._mark(model.restore())
        with whole(model, always=True) as unit:
            unit.before_reading()
            root = model.only_deleted().where(self._pk_expr()).get_or_none()
            if root is None:
                return 0
            back = model.restore().where(self._pk_expr(), _together(root, model))
            if not back.execute():
                return 0
            found = deleted_with(root)
            found[model].discard(root._pk)
            for child, keys in found.items():
                for part in chunked(keys):
                    query: Any = child.restore().where(with_keys(child, part))
                    query.where(_together(root, child)).execute()
        self._show(back)
        return 1

    def purge_instance(self) -> int:
        """Remove the row for good, live or deleted; deleted dependents go first.

        Returns:
            1, or 0 if there is no such row.

        Raises:
            StillReferencedError: Live rows refer to it.
        """
        model: Any = type(self)
        if model._meta.primary_key is False:
            msg = f"{model.__name__} has no primary key: name the row in purge()."
            raise ConfigurationError(msg)
        keys = keys_of(model, model.with_deleted().where(self._pk_expr()))
        return int(bool(keys and purge_rows(model, keys, is_deleted=False)))

    def _mark(self, query: Any) -> int:
        """Execute a delete or a restore of this row, and show it on the object."""
        query = query.where(self._pk_expr())
        count: int = query.execute()
        if count:
            self._show(query)
        return count

    def _show(self, query: Any) -> None:
        """Take over what a query has written into the two columns."""
        values: tuple[datetime | None, Any] = (query.moment, query.marked_by)
        for name, value in zip(_MARKS, values, strict=True):
            self.__data__[name] = value
            self.__rel__.pop(name, None)
            self._dirty.discard(name)

    def _refuse_marks(self, only: Any) -> None:
        meta: Any = self._meta
        named = {
            field if isinstance(field, str) else field.name
            for field in (self._dirty if only is None else only)
        }
        for name in _MARKS:
            assigned = only is not None or self.__data__.get(name) is not None
            if name in named and assigned:
                raise ProtectedRowError(meta.table_name, column=name)

    def _refuse_stale(self) -> None:
        model: Any = type(self)
        row = model.only_deleted().where(self._pk_expr()).get_or_none()
        if row is not None:
            by = row.__data__["deleted_by"]
            raise StaleDeletedError(model, self._pk, row.deleted_at, by)


def _together(root: Any, child: Any) -> Any:
    """Return the condition that a row was deleted by the call that took the root."""
    by, who = root.__data__["deleted_by"], child._meta.fields["deleted_by"]
    whose = who.is_null() if by is None else who == by
    return (child.deleted_at == root.deleted_at) & whose


def deleted_with(root: Any) -> Found:
    """Return a deleted row, and those that its deletion took along."""

    def taken(_: Any, child: Any) -> Any:
        if not is_soft_deleted(child):
            return None
        return child.only_deleted().where(_together(root, child))

    return dependents(type(root), [root._pk], taken)
