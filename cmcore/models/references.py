"""Following a reference from an object: to the row itself, deleted or not."""

import functools
from typing import Any

import peewee

from cmcore.models.reads import RelatedRows


def following(field: Any) -> None:
    """Let a field find deleted rows from an object; to be called before it is bound."""
    if isinstance(field, peewee.ForeignKeyField):
        field.accessor_class = _mixed(_Following, field.accessor_class)
    elif isinstance(field, peewee.ManyToManyField):
        field.accessor_class = _mixed(_Relating, field.accessor_class)


@functools.cache
def _mixed(mixin: type, accessor: Any) -> Any:
    if issubclass(accessor, mixin):
        return accessor
    return type(accessor.__name__, (mixin, accessor), {})


def _hides_deleted(model: Any) -> bool:
    return getattr(model._meta, "hides_deleted", False)


class _Following:
    """Mixed into the accessor of a foreign key."""

    name: str
    field: Any
    rel_model: Any

    def get_rel_instance(self, instance: Any) -> Any:
        """Return the object that a row refers to.

        After an outer join peewee knows that there is no live one. Then it is looked
        for once among the deleted ones.
        """
        key, known = instance.__data__.get(self.name), instance.__rel__
        lost = known.get(self.name) is None and self.field.lazy_load
        if key is None or not lost or not _hides_deleted(self.rel_model):
            return super().get_rel_instance(instance)  # type: ignore[misc]  # mixin
        if self.name not in known:
            rows = self.rel_model.with_deleted()
        elif instance.__dict__.get("_absent", {}).get(self.name) != key:
            rows = self.rel_model.only_deleted()
        else:
            return None
        found = rows.where(self.field.rel_field == key).get_or_none()
        if found is not None:
            known[self.name] = found
        elif self.name not in known:
            raise self.rel_model.DoesNotExist(key)
        else:
            instance.__dict__.setdefault("_absent", {})[self.name] = key
        return found


class _Relating:
    """Mixed into the accessor of a many-to-many field."""

    model: Any
    rel_model: Any

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the query, or after a prefetch a list, without deleted rows."""
        found: Any = super().__get__(instance, owner)  # type: ignore[misc]  # mixin
        if not isinstance(found, list) or not _hides_deleted(self.rel_model):
            return found
        if any("deleted_at" not in row.__data__ for row in found):  # not fetched
            return list(self.get_query(instance))
        return [row for row in found if row.deleted_at is None]

    def get_query(self, instance: Any) -> Any:
        """Return the related rows; those of a deleted object too."""
        query: Any = super().get_query(instance)  # type: ignore[misc]  # mixin
        query.__class__ = RelatedRows
        return query.with_deleted(self.model)
