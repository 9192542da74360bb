"""Values of every field class survive the trip through the trail's JSON."""

import datetime as dt
import math
import pickle
import uuid
from datetime import UTC
from decimal import Decimal
from typing import Any

import peewee
import pytest

from cmcore import fields, values
from cmcore.fields import Secret
from tests.field_table import (
    CASES,
    INSTANTS,
    KEYS,
    WALL_CLOCKS,
    WITHOUT_A_COLUMN,
    Case,
    Colour,
    Named,
    Nested,
    Number,
    same,
    strict,
    trip,
)

# -- Every field class, through the database ---------------------------------------


def wrong_trips(database: Any, case: Case, number: int) -> list[Any]:
    """Store the values of a case, and return those that the trail would alter."""
    options: Any = {"database": database, "table_name": f"case_{number}"}
    attributes: Any = {"field": case.field, "Meta": type("Meta", (), options)}
    if not case.field.primary_key:
        attributes["id"] = peewee.AutoField()
    model: Any = type(f"Case{number}", (peewee.Model,), attributes)
    database.create_tables([model])
    given_values = [*case.stored, *([None] if case.field.null else [])]
    for value in given_values:
        model.insert(field=value).execute()
    read = [row[0] for row in model.select(model.field).tuples()]
    assert len(read) == len(given_values)
    assert sum(value is None for value in read) == given_values.count(None)
    return [
        (value, values.encode(model.field, value), trip(database, model.field, value))
        for value in read
        if not same(value, trip(database, model.field, value))
    ]


def test_every_field_class_survives_the_trip(
    empty_database: peewee.Database, engine: str
) -> None:
    """Ordinary, extreme and NULL values: inserted, read, encoded, decoded, the same."""
    database: Any = empty_database
    targets = [Number, Named, Nested]
    with database.bind_ctx(targets):
        database.create_tables(targets)
        Number.create(id=7)
        Named.create(id="k1", code=KEYS[0])
        Nested.create(named="k1")
        wrong = {
            f"{number} {case.field.__class__.__name__}": altered
            for number, case in enumerate(CASES)
            if engine in case.engines
            and (altered := wrong_trips(database, case, number))
        }
    assert wrong == {}


def test_no_field_class_of_peewee_is_forgotten() -> None:
    """The table above names every class of peewee that has a column."""
    here = {
        name
        for name, found in vars(peewee).items()
        if isinstance(found, type) and issubclass(found, peewee.Field)
    }
    tested = {type(case.field).__name__ for case in CASES}
    assert here - tested - WITHOUT_A_COLUMN == {
        "PrimaryKeyField"
    }  # AutoField's old name


@pytest.mark.parametrize("value", [1, True, "text", None, 2**63])
def test_numbers_pass_as_they_are(value: Any) -> None:
    """Integer, boolean and IP address fields need no encoder."""
    for field in (peewee.IntegerField(), peewee.BooleanField(), peewee.AutoField()):
        assert values.encoder(field) is None
        assert values.encode(field, value) is value
        assert values.decode(field, value) is value


def test_the_plain_forms() -> None:
    """The usual values of a field are written as a person expects."""
    expected: list[Any] = [
        (peewee.DecimalField(), Decimal("12.50"), '"12.50"'),
        (peewee.FloatField(), 2.5, "2.5"),
        (peewee.FloatField(), math.nan, '"NaN"'),
        (peewee.FloatField(), -math.inf, '"-Infinity"'),
        (peewee.FloatField(), -0.0, '"-0.0"'),
        (peewee.CharField(), "Ünï \\", '"Ünï \\\\"'),
        (peewee.CharField(), "a\0b", '{"$text":"a\\\\u0000b"}'),
        (peewee.BlobField(), b"abc", '"YWJj"'),
        (peewee.UUIDField(), uuid.UUID(int=1), f'"{uuid.UUID(int=1)}"'),
        (peewee.DateField(), dt.date(2024, 2, 29), '"2024-02-29"'),
        (peewee.TimeField(), dt.time(1, 2, 3), '"01:02:03"'),
        (fields.UTCDateTimeField(), INSTANTS[0], '"0001-01-01T00:00:00+00:00"'),
        (fields.EnumField(Colour), Colour.RED, '"red"'),
        (fields.JSONField(), {"a": [1, None]}, '{"a":[1,null]}'),
        (peewee.DateField(), "2024-02-29", '{"$text":"2024-02-29"}'),
        (peewee.BooleanField(), False, "false"),
    ]
    for field, value, text in expected:
        assert values.dumps({"f": values.encode(field, value)}) == f'{{"f":{text}}}'


def test_a_foreign_key_takes_an_instance_too() -> None:
    """`encode` records the value of the field that the foreign key refers to."""
    named = Named(id="k1", code=KEYS[2])
    by_key, by_code = (case.field for case in CASES[-3:-1])
    by_code.rel_field, by_code.rel_model = Named.code, Named
    by_key.rel_field, by_key.rel_model = Named.id, Named
    assert values.encode(by_key, named) == "k1"
    assert values.encode(by_code, named) == str(KEYS[2])


# -- What must not fail, and what must not be shown ---------------------------------


def deep(levels: int) -> Any:
    """Return a list nested many times."""
    return [] if levels == 0 else [deep(levels - 1)]


def test_dumps_never_raises() -> None:
    """What an encoder of None let through, or is too deep or large for JSON."""
    text = values.dumps(
        {
            "nan": math.nan,
            "bytes": b"x",
            "deep": values.encode(None, deep(400)),
            "deeper": values.encode(None, deep(30_000 // 100)),
            "huge": values.encode(None, 10**5000),
            "fine": 1,
        }
    )
    read = strict(text)
    assert read["nan"] == {"$float": "NaN"}
    assert read["bytes"] == {"$bytes": "eA=="}
    assert "$unencodable" in read["huge"]
    assert read["fine"] == 1


def test_dumps_survives_documents_that_are_too_deep() -> None:
    """A document deeper than Python's stack becomes a placeholder, the rest stays."""
    document: list[Any] = []
    for _ in range(50_000):
        document = [document]
    encoded = values.encode(fields.JSONField(), document)
    assert "$unencodable" in encoded
    read = strict(values.dumps({"encoded": encoded, "raw": document, "fine": 1}))
    assert "$unencodable" in read["raw"]
    assert read["fine"] == 1


@pytest.mark.parametrize("field", [fields.SecretField(), None, fields.JSONField()])
def test_a_secret_is_never_encoded(field: Any) -> None:
    """By a secret field, and wherever a `Secret` has got to."""
    document = {"seal": Secret("walnut"), Secret("seal"): [Secret("walnut")]}
    for value in (Secret("walnut"), document):
        encoded = values.dumps({"f": values.encode(field, value)})
        assert "walnut" not in encoded
        assert "***" in encoded
    assert values.encode(fields.SecretField(), "walnut") == "***"
    assert values.encode(fields.SecretField(), None) is None
    assert repr(values.decode(fields.SecretField(), "***")) == "'***'"


def test_a_subclass_of_a_secret_field_is_masked_too() -> None:
    """Whatever conversions it has of its own."""

    class Encrypted(fields.SecretField):
        def db_value(self, value: Any) -> Any:
            return value[::-1]

    assert values.encode(Encrypted(), "walnut") == "***"


# -- Fields with conversions of their own ------------------------------------------


class Money:
    """A value class of an application."""

    def __init__(self, cents: int) -> None:
        """Take the amount."""
        self.cents = cents


class MoneyField(peewee.DecimalField):
    """Stores `Money` as a number."""

    def db_value(self, value: Any) -> Any:
        """Return the number."""
        return Decimal(value.cents) / 100

    def python_value(self, value: Any) -> Any:
        """Return the money."""
        return Money(int(value * 100))


class TagsField(peewee.TextField):
    """Stores a set as text."""

    def db_value(self, value: Any) -> Any:
        """Return the text."""
        return ",".join(sorted(value))

    def python_value(self, value: Any) -> Any:
        """Return the set."""
        return set(value.split(","))


class ComputedField(peewee.TextField):
    """Lets the database convert."""

    def db_value(self, value: Any) -> Any:
        """Return an expression."""
        return peewee.fn.UPPER(value)


class BinaryField(peewee.BlobField):
    """Stores pickles by way of a driver's wrapper."""

    def db_value(self, value: Any) -> Any:
        """Return a driver's object."""
        return type("Binary", (), {"adapted": pickle.dumps(value)})()

    def python_value(self, value: Any) -> Any:
        """Return the object."""
        return pickle.loads(value)  # noqa: S301


def test_a_field_of_an_application_is_recorded_as_it_is_stored() -> None:
    """Its own `python_value` makes the value again; NULL stays NULL."""
    encoded = values.encode(MoneyField(), Money(1250))
    assert encoded == "12.5"
    assert values.decode(MoneyField(), encoded).cents == 1250
    assert values.encode(TagsField(), {"b", "a"}) == "a,b"
    assert values.decode(TagsField(), "a,b") == {"a", "b"}
    assert values.decode(BinaryField(), values.encode(BinaryField(), (1, "x"))) == (
        1,
        "x",
    )
    for field in (MoneyField(), TagsField()):
        assert values.encode(field, None) is None
        assert values.decode(field, None) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [(MoneyField(), 12), (ComputedField(), "x"), (fields.EnumField(Colour), "gold")],
)
def test_a_value_that_its_own_field_refuses_is_recorded_as_it_is(
    field: Any, value: Any
) -> None:
    """So is one that the database converts; both come back unconverted."""
    encoded = values.encode(field, value)
    assert encoded == {"$value": value}
    assert values.decode(field, encoded) == value


def test_a_subclass_without_conversions_is_like_its_parent() -> None:
    """It has the parent's plain form."""
    field = type("PriceField", (peewee.DecimalField,), {})()
    assert values.encode(field, Decimal("1.50")) == "1.50"
    assert same(values.decode(field, "1.50"), Decimal("1.50"))


# -- Keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, None),
        (7, "7"),
        (True, "true"),
        ("k1", "k1"),
        ("Ünï", "Ünï"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (INSTANTS[1], "2024-03-01T04:59:59.999999+00:00"),
        (WALL_CLOCKS[0], "0001-01-01T00:00:00"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+2"), "100"),
        (b"abc", "YWJj"),
        (1.5, "1.5"),
        ((1, "a", uuid.UUID(int=1)), '[1,"a","00000000-0000-0000-0000-000000000001"]'),
        (("Ünï", None, (1, 2)), '["Ünï",null,[1,2]]'),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_key_as_text(key: Any, expected: Any) -> None:
    """Plain for one column, a JSON array for several."""
    assert values.key_text(key) == expected


@pytest.mark.parametrize("key", ["x" * 256, "a\0b", "\ud800", ("y" * 300, 1)])
def test_a_key_that_does_not_fit_is_a_digest(key: Any) -> None:
    """Too long, or not storable on PostgreSQL: 64 hexadecimal digits of SHA-256."""
    text = values.key_text(key)
    assert text is not None
    assert text.startswith("sha256:")
    assert len(text) == 71
    assert text == values.key_text(key)
    assert text != values.key_text(("other", key))


def test_equal_keys_give_equal_text() -> None:
    """Decimals of another scale, moments in another zone, subclasses of text."""
    moment = INSTANTS[1]
    assert values.key_text(Decimal("1.0")) == values.key_text(Decimal("1.00"))
    assert values.key_text(moment) == values.key_text(moment.astimezone(UTC))
    assert values.key_text(type("Id", (str,), {"__str__": repr})("k")) == "k"
    assert values.key_text(bytearray(b"k")) == values.key_text(memoryview(b"k"))
