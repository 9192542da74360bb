"""Values of any type come back from strict JSON as they were."""

import datetime as dt
from datetime import datetime
from decimal import Decimal
from typing import Any

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmcore import fields, values
from tests.field_table import (
    PLAIN_FIELDS,
    STRANGERS,
    Colour,
    Number,
    Size,
    same,
    strict,
    trip,
)


@pytest.mark.parametrize("value", STRANGERS, ids=ascii)
def test_a_value_of_another_type_survives_the_trip(value: Any) -> None:
    """Whatever stands in a field comes back as what it is, by way of strict JSON."""
    for field in PLAIN_FIELDS:
        if values.encoder(field) is None:
            continue  # a number field: only what SQLite lets into one, tested below
        text = values.dumps({"field": values.encode(field, value)})
        back = values.decode(field, strict(text)["field"])
        assert same(value, back), (field, text, back)
        text.encode()
        assert "\\u0000" not in text.replace("\\\\", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Size.SMALL, 1),
        (type("Name", (str,), {})("x"), "x"),
        (type("Real", (float,), {})(1.5), 1.5),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (memoryview(b"abcd")[::2], b"ac"),
        (type("Pairs", (dict,), {})(a=1), {"a": 1}),
        (type("Moment", (datetime,), {})(2024, 1, 1), datetime(2024, 1, 1)),  # noqa: DTZ001
        (Number(id=7), 7),
    ],
)
def test_subclasses_come_back_as_the_plain_type(value: Any, expected: Any) -> None:
    """Inside and outside of the field that expects them."""
    for field in (None, peewee.CharField(), peewee.FloatField(), peewee.BlobField()):
        back = values.decode(
            field, strict(values.dumps({"f": values.encode(field, value)}))["f"]
        )
        assert same(expected, back)


anything = st.text(st.characters())
numbers = st.floats() | st.integers() | st.booleans() | st.none()
documents = st.recursive(
    numbers | anything | st.sampled_from(["$text", "$object", "$float"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            anything | st.sampled_from(["$text", "$object"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(text=st.text(st.characters(exclude_categories=())))
def test_any_text(text: str) -> None:
    """Any str, lone surrogates and U+0000 among it; ordinary text is untouched."""
    encoded = values.encode(peewee.TextField(), text)
    back = strict(values.dumps({"f": encoded}))["f"]
    assert values.decode(peewee.TextField(), back) == text
    ordinary = "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
    assert (encoded == text) is ordinary


def test_any_document(empty_database: peewee.Database) -> None:
    """Any JSON value, with keys that look like tags, through json and jsonb."""

    @given(document=documents)
    def check(document: Any) -> None:
        field = fields.JSONField()
        assert same(document, trip(empty_database, field, document))
        in_text_field = trip(empty_database, peewee.TextField(), document)
        assert same(document, in_text_field)

    check()


@given(moment=st.datetimes() | st.datetimes(timezones=st.timezones()))
def test_any_datetime(moment: datetime) -> None:
    """Naive ones come back naive, aware ones with the same offset."""
    field = peewee.DateTimeField()
    encoded = strict(values.dumps({"f": values.encode(field, moment)}))["f"]
    back = values.decode(field, encoded)
    assert type(back) is datetime
    assert back.replace(tzinfo=None) == moment.replace(tzinfo=None)
    assert back.utcoffset() == moment.utcoffset()


@given(value=st.decimals() | st.floats() | st.binary() | st.times() | st.timedeltas())
def test_any_other_value(value: Any) -> None:
    """In the field that expects it, and where any type is allowed."""
    usual: dict[type, Any] = {
        Decimal: peewee.DecimalField(),
        float: peewee.FloatField(),
        bytes: peewee.BlobField(),
        dt.time: peewee.TimeField(),
    }
    for place in (usual.get(type(value)), None):
        encoded = strict(values.dumps({"f": values.encode(place, value)}))["f"]
        assert same(value, values.decode(place, encoded))


class Nasty:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError


def looped() -> list[Any]:
    """Return a list that contains itself."""
    items: list[Any] = []
    items.append(items)
    return items


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Nasty(), "Nasty that cannot be shown"),
        (Colour.RED, "Colour <Colour.RED: 'red'>"),
        ({1, 2}, "set {1, 2}"),
        (range(3), "range range(0, 3)"),
        (type("Long", (), {"__repr__": lambda _: "é\0" * 500})(), "Long \\xe9"),
        (looped(), "list [[...]]"),
    ],
)
def test_a_placeholder_stands_for_what_cannot_be_encoded(
    value: Any, shown: str
) -> None:
    """It names the type, shows the value, is short, and stays as it is on reading."""
    for field in PLAIN_FIELDS:
        encoded = values.encode(field, value)
        found = strict(values.dumps({"f": encoded, "after": 1}))["f"]
        assert found["$unencodable"].startswith(shown)
        assert len(found["$unencodable"]) < 250
        assert values.decode(field, found) == found


def test_only_the_part_that_cannot_be_encoded_is_lost() -> None:
    """The rest of a document is there."""
    encoded = values.encode(fields.JSONField(), {"a": Nasty(), "b": [1]})
    assert encoded == {
        "a": {"$unencodable": "Nasty that cannot be shown"},
        "b": [1],
    }
