"""What capture needs to know of a model, computed once per model.

The positions in `fields`, `names`, `columns` and in every captured row are the same.
"""

from collections.abc import Callable
from typing import Any

import peewee

from cmcore.errors import ConfigurationError
from cmcore.fields import KeyField, SecretField


def quoted(name: str) -> str:
    """Return an SQL identifier in double quotes, which both engines read alike."""
    return '"' + name.replace('"', '""') + '"'


class Layout:
    """The columns of one model: their names, converters, keys, masks and stamps.

    Attributes:
        table: peewee's table object; another one means that the model has changed.
        names: Field names in the order of the columns.
        columns: Quoted column names.
        converters: Driver value to Python value for each column, None for as it is.
        keys: Positions of the primary key's columns, empty without a key.
        exact: For each column the type of raw values which are the Python values
            themselves; None where there is none.
        marks: Positions of what says that a row is deleted; empty if nothing does.
        cache: For what higher layers compute once from a layout.
        epochs: Fields that rise with changes of others, which they watch.
        guard: Refuses statements on rows that cmcore itself needs, or None.
        owned: Whether the table is one of the schema that cmcore migrates.
        excluded: Positions that are never recorded.
        is_virtual: Whether it is a virtual table of SQLite.
        recorded: All other positions.
        hides: Whether any field is masked or excluded.
        masked: Positions whose values are recorded as a mask.
        stamps: Fields which every write fills in by itself.
        stamp_positions: Their positions on an update; alone they are no change.
    """

    __slots__ = (
        "audit",
        "cache",
        "columns",
        "converters",
        "epochs",
        "exact",
        "excluded",
        "fields",
        "guard",
        "hides",
        "is_virtual",
        "keys",
        "marks",
        "masked",
        "model",
        "names",
        "owned",
        "positions",
        "qualifier",
        "recorded",
        "stamp_positions",
        "stamps",
        "table",
        "table_sql",
    )

    def __init__(self, model: type[peewee.Model]) -> None:
        """Read the model; raises ConfigurationError for a name that is no field."""
        meta: Any = model._meta
        self.model = model
        self.table = meta.table
        self.audit: bool = meta.audit
        self.guard: Any = meta.guard
        self.is_virtual = hasattr(meta, "extension_module")
        self.owned: bool = meta.owned
        self.cache: dict[str, Any] = {}
        self.fields: tuple[Any, ...] = tuple(meta.sorted_fields)
        self.names = tuple(field.name for field in self.fields)
        self.columns = tuple(quoted(field.column_name) for field in self.fields)
        self.positions = {field: i for i, field in enumerate(self.fields)}
        self.converters = tuple(_converter(field) for field in self.fields)
        self.exact = tuple(_EXACT.get(type(_source(f))) for f in self.fields)
        self.keys = tuple(self.positions[key] for key in meta.get_primary_keys())
        self.marks: tuple[int, ...] = ()
        if meta.is_soft_deleted:
            self.marks = tuple(map(self.names.index, ("deleted_at", "deleted_by")))
        schema = f"{quoted(meta.schema)}." if meta.schema else ""
        self.table_sql = schema + quoted(meta.table_name)
        self.qualifier = quoted(meta.table_name)
        self.excluded = self._positions_of("audit_exclude")
        self.masked = self._positions_of("audit_mask") | {
            i for i, field in enumerate(self.fields) if isinstance(field, SecretField)
        }
        self.hides = bool(self.masked or self.excluded)
        self._refuse_hidden_keys()
        self.recorded = tuple(
            i for i in range(len(self.fields)) if i not in self.excluded
        )
        self.epochs = tuple(f for f in self.fields if hasattr(f, "watched"))
        self.stamps = tuple(f for f in self.fields if hasattr(f, "stamp"))
        self.stamp_positions = frozenset(
            self.positions[f] for f in self.stamps if not f.stamp.once
        )

    def _positions_of(self, option: str) -> frozenset[int]:
        names = getattr(self.model._meta, option)
        model = self.model.__name__
        if isinstance(names, str):
            msg = f"{model}.Meta.{option} is a text. Write a tuple: ({names!r},)."
            raise ConfigurationError(msg)
        unknown = [name for name in names if name not in self.names]
        if unknown:
            msg = (
                f"{model}.Meta.{option} names {unknown[0]!r}, which is no field of "
                f"{model}. Its fields are {', '.join(self.names)}."
            )
            raise ConfigurationError(msg)
        return frozenset(self.names.index(name) for name in names)

    def _refuse_hidden_keys(self) -> None:
        """Refuse a key that nobody may see: it names its row everywhere."""
        for i in self.keys:
            if i in self.masked or i in self.excluded:
                msg = (
                    f"{self.model.__name__}.{self.names[i]} is a primary key, which "
                    "names its row in the trail: it cannot be masked, excluded or a "
                    "SecretField. Use a key without a meaning."
                )
                raise ConfigurationError(msg)

    def qualified_columns(self, qualifier: str) -> str:
        """Return all columns, comma-separated, behind the given qualifier."""
        return f"{qualifier}." + f", {qualifier}.".join(self.columns)

    def is_marked(self, row: Any) -> bool:
        """Tell whether a captured row is marked as deleted."""
        return bool(self.marks) and row[self.marks[0]] is not None

    def key_values(self, row: Any) -> tuple[Any, ...]:
        """Return the raw values of the primary key of a captured row."""
        return tuple([row[i] for i in self.keys])

    def key(self, row: Any) -> Any:
        """Return the primary key as a Python value; a tuple where it is composite."""
        values = tuple([self.value(i, row[i]) for i in self.keys])
        if len(values) == 1 and not self.model._meta.composite_key:
            return values[0]
        return values or None

    def value(self, position: int, raw: Any) -> Any:
        """Return the Python value of a raw one."""
        convert = self.converters[position]
        return raw if convert is None or raw is None else convert(raw)


def _converter(field: Any) -> Callable[[Any], Any] | None:
    """Return how a driver's value becomes a Python value; None where it is one."""
    source = _source(field)
    if type(source) in {peewee.Field, peewee.BareField}:
        return None
    convert: Callable[[Any], Any] = source.python_value
    if isinstance(source, peewee.BlobField):
        return lambda raw: convert(bytes(raw) if isinstance(raw, memoryview) else raw)
    return convert


def _source(field: Any) -> Any:
    """Return the field whose values a foreign key holds, or the field itself."""
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    return field


_EXACT: dict[type, type] = {
    peewee.CharField: str,
    peewee.TextField: str,
    KeyField: str,
    peewee.IntegerField: int,
    peewee.AutoField: int,
    peewee.BigIntegerField: int,
}
