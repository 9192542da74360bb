"""The varying columns of audit entries, made from raw rows.

What stands in the trail is what `values.encode` gives for the Python value. The usual
raw values of the usual fields take a short way to the same text.
"""

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

import peewee

from cmcore.changes import MASK, Action
from cmcore.engines.capture import Row
from cmcore.fields import EmailField, KeyField
from cmcore.hooks import dispatch
from cmcore.keys import new_key
from cmcore.layout import Layout
from cmcore.models.recorder import Changes
from cmcore.values import dumps, encoder, key_text

_LONGEST_KEY = 255
_PLAIN_TEXT = {peewee.CharField, peewee.TextField, KeyField, EmailField}
_PLAIN_NUMBER = {peewee.IntegerField, peewee.AutoField, peewee.BigIntegerField}
_FLOATS = {peewee.FloatField, peewee.DoubleField}
_BOOLEANS = {False: "false", True: "true"}
_WORDS = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "restore": "restored",
    "purge": "purged",
}

ToJson = Callable[[Any], str]


def audit_rows(changes: Changes, who: str) -> list[tuple[Any, ...]]:
    """Return id, action, resource_id, description, old and new values of each change.

    Args:
        changes: The changes of one statement.
        who: The acting user's e-mail or id, for the description.
    """
    layout = changes.layout
    writer = layout.cache.get("writer")
    if writer is None:
        writer = layout.cache["writer"] = RowWriter(layout)
    redacts = dispatch.has_redactors()
    return [
        writer.row(
            entry, who, dispatch.redactions(changes[i]) if redacts else frozenset()
        )
        for i, entry in enumerate(changes.entries)
    ]


class RowWriter:
    """Writes raw rows of one model as JSON objects by field name."""

    def __init__(self, layout: Layout) -> None:
        """Find the short way of each field once."""
        self._layout = layout
        self._table = layout.model._meta.table_name
        self._names = [encode_basestring(name) + ":" for name in layout.names]
        self._writers: list[ToJson] = [
            (lambda _: f'"{MASK}"') if i in layout.masked else _writer(layout, i)
            for i in range(len(layout.fields))
        ]
        self._whole = [(i, self._names[i], self._writers[i]) for i in layout.recorded]
        self._key: int | None = layout.keys[0] if len(layout.keys) == 1 else None

    def row(self, entry: Any, who: str, redacted: frozenset[str]) -> tuple[Any, ...]:
        """Return the varying columns of one entry."""
        action, old, new, positions = entry
        key = self.key_text(new if old is None else old)
        row = self._table if key is None else f"{self._table} {key}"
        told = ""
        if action is Action.UPDATE:
            stamps, names = self._layout.stamp_positions, self._layout.names
            told = ", ".join([names[i] for i in positions if i not in stamps])
            told = f" ({told})"
        word = _WORDS[action.value]
        return (
            new_key(),
            action.value,
            key,
            f"{who} {word} {row}{told}",
            old and self._json(old, positions, redacted),
            new and self._json(new, positions, redacted),
        )

    def key_text(self, row: Row) -> str | None:
        """Return the primary key of a raw row as `resource_id`."""
        if self._key is not None:
            raw = row[self._key]
            kind = type(raw)
            if kind is int and self._layout.converters[self._key] is not None:
                return str(raw)
        key = self._layout.key(row)
        return None if key is None else key_text(key)

    def _json(
        self, row: Row, positions: Sequence[int] | None, redacted: frozenset[str]
    ) -> str:
        wanted = self._whole
        if positions is not None:
            wanted = [(i, self._names[i], self._writers[i]) for i in positions]
        if redacted:
            names = self._layout.names
            mask = lambda _: f'"{MASK}"'  # noqa: E731 - one of the writers below
            wanted = [
                (i, name, mask if names[i] in redacted else write)
                for i, name, write in wanted
            ]
        pairs = [
            name + ("null" if (raw := row[i]) is None else write(raw))
            for i, name, write in wanted
        ]
        return "{" + ",".join(pairs) + "}"


def _writer(layout: Layout, position: int) -> ToJson:
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
    return _short_way(type(field), write) or write


def _short_way(kind: type, write: ToJson) -> ToJson | None:
    """Return the writer of a field class whose usual raw values are JSON already."""
    if kind in _PLAIN_TEXT:
        return lambda raw: (
            encode_basestring(raw)
            if type(raw) is str and raw.isascii() and "\0" not in raw
            else write(raw)
        )
    if kind in _PLAIN_NUMBER:
        return lambda raw: str(raw) if type(raw) is int else write(raw)
    if kind in _FLOATS:
        return lambda raw: (
            repr(raw) if type(raw) is float and raw and raw - raw == 0 else write(raw)
        )
    if kind is peewee.BooleanField:
        return lambda raw: _BOOLEANS[raw] if raw in _BOOLEANS else write(raw)
    return None
