r"""Values of any type as strict JSON that describes itself, and back.

What JSON, or PostgreSQL's jsonb, cannot hold as it is becomes an object with one key,
which begins with `$` and names the type: `{"$text": "a\\u0000b"}`,
`{"$decimal": "1.5"}`. A dict that looks like such an object itself, or whose keys are
not ordinary text, is written as `{"$object": [[key, value], ...]}`, so that nothing is
ambiguous. Ordinary values and texts are left as they are.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import copysign
from typing import Any
from uuid import UUID

import peewee

from cmcore.fields import Secret

Encoder = Callable[[Any], Any]

#: What stands in the place of a secret.
MASK = "***"

_LONGEST_PLACEHOLDER = 200
_LARGEST_FLOAT_WITH_POINT = 1e16  # jsonb writes larger ones as if they were integers
_MICROSECOND = timedelta(microseconds=1)
_ESCAPE = re.compile("[\\\\\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


def encode_any(value: Any) -> Any:
    """Return a value of any type as something JSON can hold; never raises.

    A value of an unknown type becomes `{"$unencodable": "<type> <repr>"}`, and only
    that value: the rest of a list or dict around it is kept.
    """
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001 - recording a value must not stop a write
        return unencodable(value)


def decode_any(encoded: Any) -> Any:
    """Return the value that `encode_any` was given; a placeholder stays as it is."""
    if type(encoded) is list:
        return [decode_any(item) for item in encoded]
    if type(encoded) is not dict:
        return encoded
    if len(encoded) == 1:
        [(tag, payload)] = encoded.items()
        if tag in _DECODERS:
            return _DECODERS[tag](payload)
    return {key: decode_any(item) for key, item in encoded.items()}


def unencodable(value: Any) -> dict[str, str]:
    """Return the placeholder for a value that cannot be encoded."""
    try:
        shown = ascii(value)
    except Exception:  # noqa: BLE001 - the value's own repr may raise anything
        shown = "that cannot be shown"
    if len(shown) > _LONGEST_PLACEHOLDER:
        shown = shown[:_LONGEST_PLACEHOLDER] + "..."
    return {"$unencodable": f"{type(value).__qualname__} {shown}"}


def is_safe(text: str) -> bool:
    """Tell whether a text has neither U+0000 nor a lone surrogate in it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def tagged_text(text: str) -> dict[str, str]:
    """Return any text as an object, with what jsonb refuses escaped."""
    return {"$text": _ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)}


def base64_text(value: Any) -> str:
    """Return bytes of any kind in base64."""
    return b2a_base64(bytes(value), newline=False).decode("ascii")


def float_text(value: float) -> str:
    """Return a float as text: `NaN`, `-Infinity`, `-0.0`, `1e+300`."""
    return "NaN" if value != value else repr(value).replace("inf", "Infinity")  # noqa: PLR0124


def _encode(value: Any) -> Any:
    write = _ENCODERS.get(type(value))
    if write is None:
        known = (base for base in type(value).__mro__ if base in _ENCODERS)
        write = _ENCODERS.get(next(known, object), unencodable)
    return write(value)


def _encode_text(value: str) -> Any:
    text = str.__str__(value)  # of a subclass, the text itself
    return text if is_safe(text) else tagged_text(text)


def _encode_float(value: float) -> Any:
    value = float(value)
    if value and -_LARGEST_FLOAT_WITH_POINT < value < _LARGEST_FLOAT_WITH_POINT:
        return value
    if value == 0 and copysign(1, value) > 0:
        return value
    return {"$float": float_text(value)}


def _encode_mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    plain = all(type(key) is str and is_safe(key) for key in value)
    if plain and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {key: _encode(item) for key, item in value.items()}
    return {"$object": [[_encode(key), _encode(item)] for key, item in value.items()]}


def _encode_items(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [_encode(item) for item in value]


def _tagged(tag: str, write: Callable[[Any], Any]) -> Encoder:
    key = f"${tag}"
    return lambda value: {key: write(value)}


_ENCODERS: dict[type, Encoder] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    int: int,
    float: _encode_float,
    str: _encode_text,
    dict: _encode_mapping,
    list: _encode_items,
    tuple: _tagged("tuple", _encode_items),
    Decimal: _tagged("decimal", str),
    UUID: _tagged("uuid", str),
    bytes: _tagged("bytes", base64_text),
    bytearray: _tagged("bytes", base64_text),
    memoryview: _tagged("bytes", base64_text),
    peewee.BigBitFieldData: _tagged("bytes", base64_text),
    datetime: _tagged("datetime", datetime.isoformat),
    date: _tagged("date", date.isoformat),
    time: _tagged("time", time.isoformat),
    timedelta: _tagged("microseconds", lambda value: value // _MICROSECOND),
    Secret: lambda _: MASK,
    peewee.Model: lambda value: _encode(value.get_id()),
}

_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$text": lambda text: _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text),
    "$int": int,
    "$float": float,
    "$decimal": Decimal,
    "$uuid": UUID,
    "$bytes": a2b_base64,
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$microseconds": lambda count: count * _MICROSECOND,
    "$tuple": lambda items: tuple(decode_any(item) for item in items),
    "$object": lambda pairs: {decode_any(key): decode_any(item) for key, item in pairs},
}
