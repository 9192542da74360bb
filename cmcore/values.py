"""One value of a field to JSON and back, without loss.

What a field usually holds is written plainly: a Decimal as `"12.50"`, a moment as ISO
8601, bytes in base64, NULL as null. Any other value that stands in a field describes
itself (see `cmcore.encodings`). A field class with conversions of its own is recorded
in the form that it stores, and read through its own `python_value`.
"""

import hashlib
import json
from binascii import a2b_base64
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import peewee

from cmcore.encodings import (
    MASK,
    Encoder,
    base64_text,
    decode_any,
    encode_any,
    float_text,
    is_safe,
    tagged_text,
    unencodable,
)
from cmcore.fields import EmailField, KeyField, Secret, SecretField, UTCDateTimeField

if TYPE_CHECKING:
    _Field = peewee.Field[Any]
else:
    _Field = peewee.Field

_LONGEST_KEY = 255


def encoder(field: _Field | None) -> Encoder | None:
    """Return the function that encodes values of a field; it never raises.

    None means that values go into `dumps` as they are. Keep the result: making it
    costs more than using it. Foreign keys are given as raw keys. None in the place of
    the field gives an encoder for values of any type.
    """
    return _kind(field).encode


def encode(field: _Field | None, value: Any) -> Any:
    """Return a value of a field as something that `dumps` takes; never raises.

    What cannot be encoded becomes `{"$unencodable": "<type> <repr>"}`, which `decode`
    leaves as it is; the value of a `SecretField` becomes `"***"`.
    """
    if isinstance(field, peewee.ForeignKeyField) and isinstance(value, peewee.Model):
        value = getattr(value, field.rel_field.name)
    write = encoder(field)
    return value if write is None else write(value)


def decode(field: _Field | None, encoded: Any) -> Any:
    """Return the value that was encoded: equal to it, and of the same type.

    Bytes of every kind come back as `bytes`, subclasses of plain types as the plain
    type, a time zone as its offset.
    """
    return None if encoded is None else _kind(field).decode(encoded)


def dumps(mapping: Mapping[str, Any]) -> str:
    """Return encoded values by name as compact strict JSON, valid for jsonb too."""
    try:
        return _compact(mapping)
    except (ValueError, RecursionError):
        return _compact({name: _last_resort(item) for name, item in mapping.items()})


def key_text(key: Any) -> str | None:
    """Return a primary key as the trail stores it: equal keys give equal text.

    A composite key is a JSON array; moments are in UTC. A text that is longer than 255
    characters, or that PostgreSQL cannot store, becomes `sha256:` and its digest.
    None, the key of a model without one, stays None.
    """
    if key is None:
        return None
    part = _key_part(key)
    text = part if isinstance(part, str) else _compact(part)
    if len(text) <= _LONGEST_KEY and is_safe(text):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def unwrapped(stored: Any) -> Any:
    """Take a value out of a driver's wrapper (`Binary`, `Json`, `Jsonb`)."""
    return getattr(stored, "adapted", getattr(stored, "obj", stored))


class _Kind(NamedTuple):
    """How the values of a field class are written and read."""

    encode: Encoder | None
    decode: Callable[[Any], Any]


def _plain_kind(
    natives: Collection[type],
    write: Encoder,
    read: Callable[[Any], Any],
    forms: Collection[type] = (str,),
) -> _Kind:
    """Return the kind of fields whose usual values have a plain form.

    Args:
        natives: The types of the usual values.
        write: Returns the plain form of one of them.
        read: Returns the value of a plain form.
        forms: The types of plain forms; another value of such a type is tagged.
    """

    def encode_plainly(value: Any) -> Any:
        if type(value) in natives:
            try:
                return write(value)
            except Exception:  # noqa: BLE001 - recording a value must not stop a write
                return unencodable(value)
        encoded = encode_any(value)
        if type(encoded) is str:
            return tagged_text(encoded)
        if type(encoded) is int and int in forms:
            return {"$int": encoded}
        return encoded

    def decode_plainly(encoded: Any) -> Any:
        return read(encoded) if type(encoded) in forms else decode_any(encoded)

    return _Kind(encode_plainly, decode_plainly)


def _encode_text(value: Any) -> Any:
    if type(value) is not str:
        return encode_any(value)
    if (value.isascii() and "\0" not in value) or is_safe(value):
        return value
    return tagged_text(value)


def _write_float(value: float) -> Any:
    if value and value - value == 0:  # neither zero nor infinite nor NaN
        return value
    text = float_text(value)
    return value if text == "0.0" else text


_AS_IT_IS = _Kind(None, decode_any)
_ANY = _Kind(encode_any, decode_any)
_TEXT = _Kind(_encode_text, decode_any)
_FLOAT = _plain_kind((float,), _write_float, float, forms=(int, float, str))
_DECIMAL = _plain_kind((Decimal,), str, Decimal)
_BYTES = _plain_kind((bytes, bytearray, memoryview), base64_text, a2b_base64)
_UUID = _plain_kind((UUID,), str, UUID)
_MOMENT = _plain_kind((datetime,), datetime.isoformat, datetime.fromisoformat)
_DATE = _plain_kind((date,), date.isoformat, date.fromisoformat)
_TIME = _plain_kind((time,), time.isoformat, time.fromisoformat)
_SECRET = _Kind(
    lambda value: None if value is None else MASK,
    lambda encoded: None if encoded is None else Secret(encoded),
)

_KINDS: dict[type, _Kind] = {
    peewee.Field: _ANY,
    peewee.JSONField: _ANY,
    peewee.IntegerField: _AS_IT_IS,
    peewee.BooleanField: _AS_IT_IS,
    peewee.IPField: _AS_IT_IS,
    peewee.CharField: _TEXT,
    peewee.FixedCharField: _TEXT,
    peewee.TextField: _TEXT,
    KeyField: _TEXT,
    EmailField: _TEXT,
    SecretField: _SECRET,
    peewee.FloatField: _FLOAT,
    peewee.DecimalField: _DECIMAL,
    peewee.BlobField: _BYTES,
    peewee.BigBitField: _BYTES,
    peewee.UUIDField: _UUID,
    peewee.BinaryUUIDField: _UUID,
    peewee.DateTimeField: _MOMENT,
    peewee.TimestampField: _MOMENT,
    UTCDateTimeField: _MOMENT,
    peewee.DateField: _DATE,
    peewee.TimeField: _TIME,
}

_CONVERSIONS = ("db_value", "python_value", "adapt")


def _kind(field: Any) -> _Kind:
    while isinstance(field, peewee.ForeignKeyField):
        field = field.rel_field
    if not isinstance(field, peewee.Field):  # none, or a foreign key without a model
        return _ANY
    own = type(field)
    known = next(base for base in own.__mro__ if base in _KINDS)
    kind = _KINDS[known]
    if kind is _SECRET or own is known:
        return kind
    if all(getattr(own, name) is getattr(known, name) for name in _CONVERSIONS):
        return kind
    return _stored_kind(field, kind)


def _stored_kind(field: Any, kind: _Kind) -> _Kind:
    """Return the kind of a field with conversions of its own, as it stores values."""
    write = kind.encode or encode_any

    def encode_stored(value: Any) -> Any:
        if value is None:
            return None
        try:
            stored = field.db_value(value)
        except Exception:  # noqa: BLE001 - a value that the field itself refuses
            return {"$value": encode_any(value)}
        if isinstance(stored, peewee.Node):
            return {"$value": encode_any(value)}
        return write(unwrapped(stored))

    def decode_stored(encoded: Any) -> Any:
        if type(encoded) is dict and len(encoded) == 1 and "$value" in encoded:
            return decode_any(encoded["$value"])
        return field.python_value(kind.decode(encoded))

    return _Kind(encode_stored, decode_stored)


_compact: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
    separators=(",", ":"),
    default=encode_any,
).encode


def _last_resort(encoded: Any) -> Any:
    for attempt in (encoded, encode_any(encoded)):
        try:
            _compact(attempt)
        except (ValueError, RecursionError):
            continue
        return attempt
    return unencodable(encoded)


def _key_part(key: Any) -> Any:
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, tuple | list):
        return [_key_part(part) for part in key]
    if isinstance(key, datetime) and key.tzinfo:
        return key.astimezone(UTC).isoformat()
    if isinstance(key, Decimal) and key.is_finite():
        return format(key.normalize(), "f")
    encoded = encode_any(key)
    if type(encoded) is dict and len(encoded) == 1:
        [encoded] = encoded.values()
    return encoded
