"""What the tests of values share: a table of every field class, and comparisons."""

import datetime as dt
import enum
import json
import math
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import peewee
from playhouse import fields as playhouse_fields
from playhouse import postgres_ext, sqlite_ext

from cmcore import fields, values

ANYWHERE = ("sqlite", "postgresql")
SQLITE = ("sqlite",)
POSTGRESQL = ("postgresql",)


class Colour(enum.Enum):
    """An enumeration of texts."""

    RED = "red"
    GREEN = "green"


class Size(enum.IntEnum):
    """An enumeration of numbers."""

    SMALL = 1


class Number(peewee.Model):
    """The target of a foreign key by number."""


class Named(peewee.Model):
    """The target of a foreign key by text, and of one that is no primary key."""

    id = fields.KeyField(primary_key=True)
    code = peewee.UUIDField(unique=True)


class Nested(peewee.Model):
    """Its primary key is a foreign key itself."""

    named = peewee.ForeignKeyField(Named, primary_key=True)


TEXTS = [
    "",
    "plain",
    "Ünï 😀 wide",
    'back\\slash "q" \\u0000',
    '{"$text": "x"}',
    "***",
]
INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-5))),
    datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]
WALL_CLOCKS = [moment.replace(tzinfo=None) for moment in INSTANTS]
SECONDS = [datetime(1970, 1, 2), datetime(2024, 2, 29, 12, 30, 15)]  # noqa: DTZ001
FLOATS = [0.0, -0.0, 1.5, -1e-7, 1e16, 1e22, 1.7976931348623157e308, 5e-324, math.inf]
DECIMALS = [Decimal(text) for text in ("0", "-1.50", "123456789.12345", "1E+5")]
DOCUMENTS: list[Any] = [
    {},
    [],
    "text",
    0,
    True,
    1.5,
    {"a": [1, 2.5, None, True, {"b": "é"}], "": []},
    {"$text": "mine"},
    {"$decimal": {"$object": []}},
    {"$unencodable": "no"},
    [10**30, -0.5, "***"],
]
KEYS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid4()]


class Case(NamedTuple):
    """A field, what to store in it, and where."""

    field: Any
    stored: list[Any]
    engines: tuple[str, ...] = ANYWHERE


CASES = [
    Case(peewee.IntegerField(null=True), [0, -(2**31), 2**31 - 1]),
    Case(peewee.BigIntegerField(null=True), [0, -(2**63), 2**63 - 1]),
    Case(peewee.SmallIntegerField(null=True), [0, -(2**15), 2**15 - 1]),
    Case(peewee.AutoField(), [1, 2**31 - 1]),
    Case(peewee.BigAutoField(), [1, 2**63 - 1]),
    Case(peewee.IdentityField(), [1, 2**31 - 1], POSTGRESQL),
    Case(sqlite_ext.AutoIncrementField(), [1, 2**63 - 1], SQLITE),
    Case(peewee.BitField(), [0, 5, 2**62]),
    Case(peewee.BooleanField(null=True), [True, False]),
    Case(peewee.FloatField(null=True), [0.0, -0.0, 1.5, 1e22, math.inf, -math.inf]),
    Case(peewee.DoubleField(null=True), FLOATS),
    Case(peewee.DoubleField(null=True), [math.nan, -math.inf], POSTGRESQL),
    Case(peewee.DecimalField(20, 5, null=True), DECIMALS),
    Case(peewee.DecimalField(20, 5, null=True), [Decimal("NaN")], POSTGRESQL),
    Case(sqlite_ext.TDecimalField(20, 5, null=True), DECIMALS),
    Case(peewee.CharField(null=True), TEXTS),
    Case(peewee.CharField(null=True), ["\0", "a\0\\u0000"], SQLITE),
    Case(peewee.FixedCharField(9, null=True), ["", "plain", "Ünï 😀"]),
    Case(peewee.TextField(null=True), [*TEXTS, "é" * 100_000]),
    Case(peewee.BlobField(null=True), [b"", b"\0", bytes(range(256))]),
    Case(peewee.BigBitField(), [b"", bytes(range(256))]),
    Case(playhouse_fields.CompressedField(null=True), [b"", bytes(range(256))]),
    Case(playhouse_fields.PickleField(null=True), [{"a": (1, Colour.RED)}, Size.SMALL]),
    Case(peewee.UUIDField(null=True), KEYS),
    Case(peewee.BinaryUUIDField(null=True), KEYS),
    Case(peewee.DateTimeField(null=True), WALL_CLOCKS),
    Case(peewee.DateTimeField(null=True), INSTANTS, SQLITE),
    Case(postgres_ext.DateTimeTZField(null=True), INSTANTS, POSTGRESQL),
    Case(sqlite_ext.ISODateTimeField(null=True), [*WALL_CLOCKS, *INSTANTS], SQLITE),
    Case(peewee.DateField(null=True), [dt.date.min, dt.date(2024, 2, 29), dt.date.max]),
    Case(peewee.TimeField(null=True), [dt.time.min, dt.time(1, 2, 3, 4), dt.time.max]),
    Case(peewee.TimestampField(null=True, default=None, utc=True), SECONDS),
    Case(peewee.TimestampField(null=True, default=None, resolution=6), SECONDS),
    Case(
        postgres_ext.IntervalField(null=True),
        [timedelta(days=-9, microseconds=1)],
        POSTGRESQL,
    ),
    Case(peewee.IPField(null=True), ["0.0.0.0", "203.0.113.7", "255.255.255.255"]),  # noqa: S104
    Case(peewee.JSONField(null=True), DOCUMENTS),
    Case(fields.JSONField(null=True), DOCUMENTS),
    Case(postgres_ext.BinaryJSONField(null=True), DOCUMENTS, POSTGRESQL),
    Case(postgres_ext.ArrayField(peewee.UUIDField, null=True), [[], KEYS], POSTGRESQL),
    Case(
        postgres_ext.ArrayField(peewee.DecimalField, null=True),
        [DECIMALS[:2]],
        POSTGRESQL,
    ),
    Case(peewee.AnyField(null=True), [1, "x", b"\0", 1.5], SQLITE),
    Case(peewee.BareField(null=True), [1, "x", b"\0", 1.5], SQLITE),
    Case(playhouse_fields.EnumField(Colour, null=True), [Colour.RED]),
    Case(playhouse_fields.IntEnumField(Size, null=True), [Size.SMALL]),
    Case(fields.KeyField(null=True), ["", *map(str, KEYS)]),
    Case(fields.EmailField(null=True), ["ada@example.org", "é@example.org"]),
    Case(fields.EnumField(Colour, null=True), list(Colour)),
    Case(fields.UTCDateTimeField(null=True), INSTANTS),
    Case(peewee.ForeignKeyField(Number, null=True), [7]),
    Case(fields.ForeignKeyField(Named, null=True), ["k1"]),
    Case(fields.ForeignKeyField(Named, field="code", null=True), [KEYS[0]]),
    Case(peewee.ForeignKeyField(Nested, null=True), ["k1"]),
]

WITHOUT_A_COLUMN = {
    "CompositeKey",
    "DeferredForeignKey",
    "Field",
    "FieldAlias",
    "ManyToManyField",
    "MetaField",
    "VirtualField",
    "_BaseFormattedField",
    "_StringField",
}


def strict(text: str) -> Any:
    """Read JSON, refusing what is not JSON by its standard."""

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def trip(database: Any, field: Any, value: Any) -> Any:
    """Send a value through encode, JSON text, the engine's JSON, and decode."""
    text = values.dumps({"field": values.encode(field, value)})
    if isinstance(database, peewee.PostgresqlDatabase):
        text = database.execute_sql("SELECT %s::jsonb::text", (text,)).fetchone()[0]
    else:
        text = database.execute_sql("SELECT ?", (text,)).fetchone()[0]
    return values.decode(field, strict(text)["field"])


def same(first: Any, second: Any) -> bool:
    """Compare with types, inside containers too, and NaN and the sign of zero."""
    if isinstance(first, memoryview | bytearray):
        first = bytes(first)
    if type(first) is not type(second):
        return False
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        ordered = sorted(first.items(), key=repr), sorted(second.items(), key=repr)
        return len(first) == len(second) and all(map(same, *ordered))
    if isinstance(first, float | Decimal):
        return bool(repr(first) == repr(second))
    return bool(first == second)


STRANGERS: list[Any] = [
    None,
    True,
    0,
    -(10**40),
    1.5,
    -0.0,
    math.nan,
    -math.inf,
    1e300,
    "text",
    "2024-01-01",
    "1.5",
    "NaN",
    "AAAA",
    "a\0b\\",
    "\ud800 \udfff\ud83d\ude00",
    Decimal("1.50"),
    Decimal("-Infinity"),
    KEYS[2],
    b"\0\xff",
    INSTANTS[1],
    WALL_CLOCKS[1],
    dt.date(2024, 2, 29),
    dt.time(1, 2, 3, 4, tzinfo=UTC),
    timedelta.min,
    timedelta.max,
    (1, ("a", None)),
    [b"", {"a\0": 1, 7: {"$text": "x"}, (1, 2): Decimal(1)}],
    {"$object": []},
    {"$object": [["a", 1]], "b": 2},
]
#: The fields of the table without conversions of their own, and no field.
PLAIN_FIELDS: list[Any] = [
    None,
    *(
        case.field
        for case in CASES
        if values._kind(case.field) in values._KINDS.values()
    ),
]
