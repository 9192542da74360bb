"""Raw rows as JSON objects by field name, row by row or a column at a time.

The text is what `values.dumps` makes of the encoded Python values. The usual raw values
of the usual fields are that text nearly as they stand, and take a short way to it.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, NamedTuple

import peewee

from cmcore.changes import MASK
from cmcore.fields import EmailField, KeyField
from cmcore.layout import Layout
from cmcore.values import dumps, encoder

_FEW_ROWS = 8  # for which a column is not worth its overhead
_BOOLEANS = {False: "false", True: "true"}

ToJson = Callable[[Any], str]
Column = Sequence[Any]


class Writer(NamedTuple):
    """Makes JSON of the raw values of one field.

    Attributes:
        one: Takes a value that is not None.
        many: Takes a column, in which NULLs may stand.
    """

    one: ToJson
    many: Callable[[Column], Iterable[str]]


class Shape:
    """Some fields of a model, as a JSON object."""

    def __init__(
        self, names: Iterable[str], parts: Sequence[tuple[int, Writer]]
    ) -> None:
        """Take the names, and of each the position in a row and the writer."""
        quoted = (encode_basestring(name).replace("%", "%%") for name in names)
        self._template = "{" + ",".join(f"{name}:%s" for name in quoted) + "}"
        self._ones = [(i, writer.one) for i, writer in parts]
        self._many = [(i, writer.many) for i, writer in parts]

    def texts(self, rows: Sequence[Sequence[Any]]) -> Iterable[str]:
        """Return the object of each row."""
        template = self._template
        if len(rows) < _FEW_ROWS or not self._many:
            return [
                template
                % tuple(
                    [
                        "null" if (raw := row[i]) is None else write(raw)
                        for i, write in self._ones
                    ]
                )
                for row in rows
            ]
        columns = list(zip(*rows, strict=True))
        written = [write(columns[i]) for i, write in self._many]
        return map(template.__mod__, zip(*written, strict=True))


def masked() -> Writer:
    """Return the writer of a field whose values nobody may see."""
    return _by_itself(lambda _: f'"{MASK}"')


def writer_of(layout: Layout, position: int) -> Writer:
    """Return the writer of a field."""
    field = layout.fields[position]
    convert = layout.converters[position]
    encode = encoder(field)

    def write(raw: Any) -> str:
        value = raw if convert is None else convert(raw)
        if encode is not None:
            value = encode(value)
        if type(value) is str and value.isascii():
            return encode_basestring(value)
        return dumps({"": value})[4:-1]

    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    short = _SHORT_WAYS.get(type(field))
    return short(write) if short else _by_itself(write)


def _by_itself(write: ToJson) -> Writer:
    """Return the writer that looks at each value."""
    return Writer(
        write, lambda column: ["null" if r is None else write(r) for r in column]
    )


def _text(write: ToJson) -> Writer:
    def one(raw: Any) -> str:
        if type(raw) is str and raw.isascii() and "\0" not in raw:
            return encode_basestring(raw)
        return write(raw)

    def many(column: Column) -> Iterable[str]:
        if set(map(type, column)) == {str}:
            whole = "".join(column)
            if whole.isascii() and "\0" not in whole:
                return map(encode_basestring, column)
        return ["null" if raw is None else one(raw) for raw in column]

    return Writer(one, many)


def _integer(write: ToJson) -> Writer:
    def one(raw: Any) -> str:
        return str(raw) if type(raw) is int else write(raw)

    def many(column: Column) -> Iterable[str]:
        if set(map(type, column)) == {int}:
            return map(str, column)
        return ["null" if raw is None else one(raw) for raw in column]

    return Writer(one, many)


def _float(write: ToJson) -> Writer:
    def one(raw: Any) -> str:
        if type(raw) is float and raw and raw - raw == 0:  # not zero, nor infinite
            return repr(raw)
        return write(raw)

    return _by_itself(one)


def _decimal(write: ToJson) -> Writer:
    def one(raw: Any) -> str:
        if type(raw) in {Decimal, int}:
            return f'"{raw}"'
        if type(raw) is float and "e" not in (text := repr(raw)) and raw - raw == 0:
            return f'"{text}"'
        return write(raw)

    return _by_itself(one)


def _boolean(write: ToJson) -> Writer:
    return _by_itself(lambda raw: _BOOLEANS.get(raw) or write(raw))


_SHORT_WAYS: dict[type, Callable[[ToJson], Writer]] = {
    peewee.CharField: _text,
    peewee.TextField: _text,
    KeyField: _text,
    EmailField: _text,
    peewee.IntegerField: _integer,
    peewee.AutoField: _integer,
    peewee.BigIntegerField: _integer,
    peewee.FloatField: _float,
    peewee.DoubleField: _float,
    peewee.DecimalField: _decimal,
    peewee.BooleanField: _boolean,
}
