"""Rows to test with: those of a table as they are, and new ones with plausible values.

Both pass by the models: no filter hides a row here, and no hook sees one.
"""

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

import peewee

from cmcore.engines.internals import internal
from cmcore.errors import ConfigurationError
from cmcore.fields import EnumField, JSONField, UTCDateTimeField
from cmcore.keys import now

Key = tuple[Any, ...]


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        key: Its primary key; all values where the model has none.
        is_deleted: Whether it is marked, and the model hides such rows.
        values: What it holds, by field.
    """

    key: Key
    is_deleted: bool
    values: Mapping[str, Any]


def hides_deleted(model: Any) -> bool:
    """Tell whether a model leaves marked rows out."""
    return getattr(model._meta, "hides_deleted", False)


def key_fields(model: Any) -> tuple[Any, ...]:
    """Return the fields by which a row is known."""
    return tuple(model._meta.get_primary_keys() or model._meta.sorted_fields)


def rows_of(model: Any) -> list[Row]:
    """Return all rows of a model's table, marked ones included."""
    meta = model._meta
    table = internal.Table(meta.table_name, schema=meta.schema)
    columns = [internal.Column(table, f.column_name) for f in meta.sorted_fields]
    query = internal.Select([table], columns).bind(meta.database).tuples()
    return [_row(model, raw) for raw in query]


def _row(model: Any, raw: Any) -> Row:
    values = {
        field.name: field.python_value(value)
        for field, value in zip(model._meta.sorted_fields, raw, strict=True)
    }
    is_deleted = hides_deleted(model) and values["deleted_at"] is not None
    key = tuple(values[field.name] for field in key_fields(model))
    return Row(key, is_deleted, values)


def mark(model: Any, row: Row) -> None:
    """Mark a row as deleted."""
    marked = peewee.ModelUpdate(model, {model._meta.fields["deleted_at"]: now()})
    marked.where(is_row(model, row)).execute()


def is_row(model: Any, row: Row) -> Any:
    """Return the condition that it is this row."""
    pairs = zip(key_fields(model), row.key, strict=True)
    return reduce(and_, (f.is_null() if v is None else f == v for f, v in pairs))


def live_of(rows: list[Row]) -> list[Row]:
    """Return the rows that should be seen."""
    return [row for row in rows if not row.is_deleted]


def columns_of(source: Any, model: Any) -> list[Any]:
    """Return the key columns of a model, or of another name of it."""
    return [getattr(source, field.name) for field in key_fields(model)]


def keys_of(objects: Any) -> list[Key]:
    """Return the keys of objects."""
    return [
        tuple(obj.__data__.get(field.name) for field in key_fields(type(obj)))
        for obj in objects
    ]


class Maker:
    """Makes rows, and the rows that these refer to."""

    def __init__(self) -> None:
        """Begin with nothing being made."""
        self._under_way: list[Any] = []

    def make(
        self, model: Any, given: Mapping[str, Any] | None = None, *, deleted: bool
    ) -> Row:
        """Insert a row.

        Args:
            model: Its model.
            given: Values by field that it should have.
            deleted: Whether it is marked as deleted.

        Raises:
            ConfigurationError: The database wants other values.
        """
        self._under_way.append(model)
        try:
            row = self._made(model, given or {})
        except (peewee.PeeweeException, ValueError, TypeError, RecursionError) as error:
            msg = (
                f"A row of {model.__name__} to test with cannot be made up "
                f"({type(error).__name__}). Put some into the database before: live "
                "ones, deleted ones, and such that refer to both."
            )
            raise ConfigurationError(msg) from error
        finally:
            self._under_way.pop()
        if deleted:
            mark(model, row)
        return row._replace(is_deleted=deleted)

    def _made(self, model: Any, given: Mapping[str, Any]) -> Row:
        meta = model._meta
        fresh = _fresh_fields(model, given)
        values = {
            field.name: given[field.name]
            if field.name in given
            else self._value(field, is_unique=field in fresh)
            for field in meta.sorted_fields
            if not isinstance(field, peewee.IdentityField)
        }
        by_field = {meta.fields[name]: value for name, value in values.items()}
        key = peewee.ModelInsert(model, by_field).execute()
        if isinstance(meta.primary_key, peewee.IdentityField):
            values[meta.primary_key.name] = key
        return Row(tuple(values[f.name] for f in key_fields(model)), False, values)

    def _value(self, field: Any, *, is_unique: bool) -> Any:
        if isinstance(field, peewee.ForeignKeyField):
            return self._reference(field, is_unique=is_unique)
        if field.default is not None and (callable(field.default) or not is_unique):
            return field.default() if callable(field.default) else field.default
        if field.null:
            return None
        taken = [row.values[field.name] for row in rows_of(field.model)]
        if field.choices:
            allowed = [value for value, _ in field.choices]
            return next((v for v in allowed if v not in taken), allowed[0])
        return plausible(field, len(taken), taken if is_unique else ())

    def _reference(self, field: Any, *, is_unique: bool) -> Any:
        if field.null:
            return None
        parent = field.rel_model
        known = [] if is_unique else [r for r in rows_of(parent) if not r.is_deleted]
        if parent in self._under_way:
            known = rows_of(parent)
        row = known[0] if known else self.make(parent, deleted=False)
        return row.values[field.rel_field.name]


def _fresh_fields(model: Any, given: Mapping[str, Any]) -> set[Any]:
    """Return the fields whose values no other row may have.

    Of several that are unique together one is enough, and a value that is given is
    taken to be new; a new row to refer to is made only where nothing else is left.
    """
    meta = model._meta
    groups = [[field] for field in meta.sorted_fields if field.unique]
    groups.append(list(key_fields(model)))
    for index in meta.fields_to_index():
        if getattr(index, "_unique", False):
            parts = index._expressions
            groups.append([part for part in parts if isinstance(part, peewee.Field)])
    fresh: set[Any] = set()
    for group in groups:
        own = {f for f in group if not isinstance(f, peewee.ForeignKeyField)}
        is_given = any(field.name in given for field in group)
        fresh |= own if own or is_given else set(group)
    return fresh


def _text(field: Any, number: int) -> str:
    text = f"sample {number} {uuid.uuid4().hex}"
    if "mail" in field.name:
        text = f"{uuid.uuid4().hex}@example.org"
    size = getattr(field, "max_length", None) or len(text)
    return text if len(text) <= size else uuid.uuid4().hex[:size]


def _moment(number: int) -> datetime.datetime:
    return now() + datetime.timedelta(seconds=number)


Made = Callable[[Any, int], Any]

_KINDS: tuple[tuple[type, Made], ...] = (
    (EnumField, lambda field, number: _pick(list(field.enum_class), number)),
    (peewee.UUIDField, lambda *_: uuid.uuid4()),
    (peewee.BinaryUUIDField, lambda *_: uuid.uuid4()),
    (UTCDateTimeField, lambda _, number: _moment(number)),
    (
        peewee.DateTimeField,
        lambda _, number: _moment(number).replace(tzinfo=None, microsecond=0),
    ),
    (peewee.DateField, lambda _, number: _moment(86400 * number).date()),
    (peewee.TimeField, lambda _, number: datetime.time(number % 24, number // 24 % 60)),
    (
        peewee.TimestampField,
        lambda _, number: _moment(number).replace(tzinfo=None, microsecond=0),
    ),
    (peewee.IPField, lambda _, number: f"10.0.{number // 256 % 256}.{number % 256}"),
    (peewee.BooleanField, lambda _, number: number % 2 == 1),
    (peewee.DecimalField, lambda _, number: decimal.Decimal(number % 100)),
    (peewee.IntegerField, lambda _, number: number),
    (peewee.FloatField, lambda _, number: float(number)),
    (peewee.BlobField, lambda *_: uuid.uuid4().bytes),
    (JSONField, lambda *_: {}),
    (peewee.JSONField, lambda *_: {}),
)


def _pick(members: list[enum.Enum], number: int) -> enum.Enum:
    return members[number % len(members)]


def plausible(field: Any, number: int, taken: Collection[Any]) -> Any:
    """Return a value that a field might hold, by its type.

    Args:
        field: A field of a model.
        number: From where to count.
        taken: Values that it must not be.
    """
    kinds = (make for kind, make in _KINDS if isinstance(field, kind))
    make = next(kinds, _text)
    for n in range(number + 1, number + 10_000):
        value = make(field, n)
        if value not in taken:
            return value
    return make(field, number)
