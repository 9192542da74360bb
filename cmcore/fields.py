"""Fields: peewee's, with the column types and the manners that cmcore needs.

All but `UTCDateTimeField` keep the value of an instance in the form in which the
database gives it back, from the moment it is assigned.
"""

import enum
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import peewee

from cmcore.errors import ConfigurationError, InvalidValueError, NaiveDatetimeError
from cmcore.keys import new_key
from cmcore.moments import Moment, in_utc, parsed

__all__ = [
    "EmailField",
    "EnumField",
    "ForeignKeyField",
    "JSONField",
    "KeyField",
    "ManyToManyField",
    "SecretField",
    "UTCDateTimeField",
]

if TYPE_CHECKING:  # peewee's classes are generic for type checkers only
    # "or Any" is None where a field allows NULL: nobody is made to ask for it.
    _Field = peewee.Field[Any]
    _CharField = peewee.CharField[str | Any]
    _DateTimeField = peewee.DateTimeField[datetime | Any]
else:
    _Field = peewee.Field
    _CharField = peewee.CharField
    _DateTimeField = peewee.DateTimeField


def _table_of(field: _Field) -> str:
    """Return the name of a field's table; "" before it has a model."""
    model = getattr(field, "model", None)
    return model._meta.table_name if model else ""


def _shown(field: _Field, value: Any) -> Any:
    """Return the value for an error, or None where the model masks or excludes it."""
    meta = getattr(getattr(field, "model", None), "_meta", None)
    for option in ("audit_mask", "audit_exclude"):
        if field.name in (getattr(meta, option, None) or ()):
            return None
    return value


def _invalid(field: _Field, value: Any, detail: str) -> InvalidValueError:
    column, shown = getattr(field, "column_name", ""), _shown(field, value)
    return InvalidValueError(
        table=_table_of(field), column=column, value=shown, detail=detail
    )


def _naive(field: _Field, value: Any) -> NaiveDatetimeError:
    name, shown = getattr(field, "name", ""), _shown(field, value)
    return NaiveDatetimeError(name, shown, _table_of(field))


class _Accessor(peewee.FieldAccessor):
    """Puts what is assigned to an instance into the form that a read would give."""

    def __set__(self, instance: Any, value: Any) -> None:
        super().__set__(instance, self.field.python_value(value))


class _UniformField(_CharField):
    """A text field whose instances hold one form of a value only."""

    accessor_class = _Accessor

    def __init__(self, max_length: int = 255, **options: Any) -> None:
        default = options.get("default")
        if default is not None and not callable(default):
            options["default"] = self.adapt(default)
        super().__init__(max_length, **options)

    def adapt(self, value: Any) -> Any:
        """Leave expressions alone, which peewee allows in the place of a value."""
        return value if isinstance(value, peewee.Node) else super().adapt(value)


class KeyField(_UniformField):
    """A key of 36 characters of text; a primary key is a new UUIDv7 by default.

    Any text is allowed; a `uuid.UUID` becomes its text.
    """

    def __init__(self, max_length: int = 36, **options: Any) -> None:
        if options.get("primary_key"):
            options.setdefault("default", new_key)
        super().__init__(max_length, **options)

    def adapt(self, value: Any) -> Any:
        """Return the key as text."""
        return str(value) if isinstance(value, uuid.UUID) else super().adapt(value)


class EmailField(_UniformField):
    """An e-mail address, lower-cased before it is stored or compared."""

    def adapt(self, value: Any) -> Any:
        """Return the address in lower case."""
        text = super().adapt(value)
        return text.lower() if isinstance(text, str) else text


class Secret(str):
    """A text which does not show itself in `repr`, and so not in logs of values.

    `str()`, `format` and JSON give the text itself: whoever asks for it gets it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class SecretField(_UniformField):
    """A text that is always masked in the trail, and whose values are `Secret`s."""

    def adapt(self, value: Any) -> Any:
        """Return the text as a `Secret`."""
        text = super().adapt(value)
        return Secret(text) if isinstance(text, str) else text


class EnumField(_UniformField):
    """The value of an enumeration's member, as text; it comes back as the member.

    A member or its value is accepted, and any other value is refused before it reaches
    the database, in conditions too. A text in the database that the enumeration does
    not know (a newer version wrote it) comes back as that text, so that its row can be
    read; the row cannot be saved whole until the text is one that is known.

    Args:
        enum_class: An enumeration whose values are texts.
        max_length: The length of the column.
        **options: What every peewee field takes.
    """

    if TYPE_CHECKING:  # a member, or a text that the enumeration does not know

        def __get__(self, instance: Any, owner: Any) -> Any: ...

    def __init__(
        self, enum_class: type[enum.Enum], max_length: int = 255, **options: Any
    ) -> None:
        self.enum_class = enum_class
        self._members: dict[Any, enum.Enum] = {m.value: m for m in enum_class}
        wrong = [value for value in self._members if type(value) is not str]
        default = options.get("default")
        if not callable(default) and default is not None:
            wrong += [default] if self._member(default) is None else []
        if wrong:
            message = (
                f"EnumField({enum_class.__name__}): {wrong[0]!r} is no text, or no "
                f"value of it. Allowed: {self.allowed}."
            )
            raise ConfigurationError(message)
        super().__init__(max_length, **options)

    @property
    def allowed(self) -> str:
        """The values that the field takes, for people to read."""
        return ", ".join(map(str, self._members))

    def _member(self, value: Any) -> enum.Enum | None:
        if isinstance(value, self.enum_class):
            return value
        return self._members.get(value) if isinstance(value, str) else None

    def db_value(self, value: Any) -> Any:
        """Return the member's text, or raise `InvalidValueError`."""
        if value is None or isinstance(value, peewee.Node):
            return value
        member = self._member(value)
        if member is None:
            raise _invalid(self, value, f"Allowed: {self.allowed}.")
        return member.value

    def adapt(self, value: Any) -> Any:
        """Return the member, or the value itself where there is none."""
        member = self._member(value)
        return value if member is None else member


def _has_zones(types: Mapping[str, str] | None) -> bool:
    """Tell by an engine's column types whether it has one for moments."""
    return not types or types.get("DATETIME") != "DATETIME"


class _WallClock(peewee.WrappedNode):
    """What a clock in UTC shows at a moment, whatever zone the session is in."""

    def __sql__(self, ctx: Any) -> Any:
        if _has_zones(ctx.state.field_types):
            return ctx.literal("timezone('UTC', ").sql(self.node).literal(")")
        return ctx.sql(self.node)


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)


def _utc_part(part: str) -> Any:
    def read(field: _Field) -> Any:
        database = field.model._meta.database
        extracted = database.extract_date(part, _WallClock(field))
        return extracted.python_value(_whole)

    return property(read, doc=f"The {part} in UTC, as an expression.")


class UTCDateTimeField(_DateTimeField):
    """A moment: an aware datetime of any zone goes in, one in UTC comes out.

    It keeps microseconds and the years 1 to 9999. A naive datetime, or ISO 8601 text
    without an offset, raises `NaiveDatetimeError`. Text that another program stored
    without an offset is read as UTC. `year` to `second` and `truncate` mean UTC.
    """

    field_type = "TIMESTAMPTZ"

    def ddl_datatype(self, ctx: Any) -> peewee.SQL:
        """Return TIMESTAMPTZ where the engine knows moments, else TEXT."""
        types = ctx.state.field_types if ctx else None
        return peewee.SQL("TIMESTAMPTZ" if _has_zones(types) else "TEXT")

    def db_value(self, value: Any) -> Any:
        """Return the moment in UTC in a form that every driver stores well."""
        moment = parsed(value) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            return self._stored(moment)
        if isinstance(value, date):
            raise _naive(self, value)
        if isinstance(value, str | int | float):
            raise _invalid(self, value, "It is no aware datetime and no ISO 8601 text.")
        return value  # NULL, an expression, an interval

    def _stored(self, moment: datetime) -> Moment:
        if moment.utcoffset() is None:
            raise _naive(self, moment)
        try:
            utc = in_utc(moment)
        except OverflowError as error:
            detail = "In UTC it is not within the years 1 to 9999."
            raise _invalid(self, moment, detail) from error
        return Moment.combine(utc, utc.timetz())

    def python_value(self, value: Any) -> Any:
        """Return the moment as an aware datetime in UTC."""
        moment = parsed(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            return value
        if isinstance(moment, Moment):
            return datetime.combine(moment, moment.timetz())
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return in_utc(moment)

    def truncate(self, part: str) -> Any:
        """Return an expression: the moment cut down to a part, a datetime in UTC."""
        cut = self.model._meta.database.truncate_date(part, _WallClock(self))
        return cut.python_value(self.python_value)

    year = _utc_part("year")
    month = _utc_part("month")
    day = _utc_part("day")
    hour = _utc_part("hour")
    minute = _utc_part("minute")
    second = _utc_part("second")


class JSONField(peewee.JSONField):
    """A JSON value: jsonb on PostgreSQL, text on SQLite."""


if TYPE_CHECKING:
    ForeignKeyField = peewee.ForeignKeyField  # which knows the model it refers to
else:

    class ForeignKeyField(peewee.ForeignKeyField):
        """A reference to a row; the bare key is `<name>_id` in Python."""


class ManyToManyField(peewee.ManyToManyField):
    """Many to many, through a table whose rows are in the trail as well.

    The model of an automatic through table has the same root class, database and
    schema as the declaring model, where peewee's derives from `peewee.Model`.
    """

    _on_delete: str | None
    _on_update: str | None

    def _create_through_model(self) -> type[peewee.Model]:
        left, right = (model._meta for model in self.get_models())
        meta = self.model._meta
        options = {
            "schema": meta.schema,
            "table_name": f"{left.table_name}_{right.table_name}_through",
            "indexes": (((left.name, right.name), True),),
        }
        if not getattr(meta, "follows_default", False):
            options["database"] = meta.database
        if hasattr(meta, "audit"):
            options["audit"] = meta.audit
        attributes: dict[str, Any] = {
            side.name: peewee.ForeignKeyField(
                side.model, on_delete=self._on_delete, on_update=self._on_update
            )
            for side in (left, right)
        }
        attributes["Meta"] = type("Meta", (), options)
        name = f"{left.model.__name__}{right.model.__name__}Through"
        return type(name, (_root_class(self.model),), attributes)


def _root_class(model: type[peewee.Model]) -> type[peewee.Model]:
    """Return the class without a table that a model descends from, as far from it."""
    roots = (base for base in reversed(model.__mro__) if issubclass(base, peewee.Model))
    bare = [base for base in roots if "_meta" not in vars(base)]
    return bare[1] if len(bare) > 1 else peewee.Model
