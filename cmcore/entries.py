"""The varying columns of audit entries, made from raw rows.

What stands in the trail is what `values.encode` gives for the Python value. Entries
that change the same fields are made together, a column at a time.
"""

from collections.abc import Sequence
from itertools import groupby, repeat
from operator import itemgetter
from typing import Any

from cmcore.changes import Action
from cmcore.engines.capture import Row
from cmcore.hooks import dispatch
from cmcore.keys import new_key
from cmcore.layout import Layout
from cmcore.models.recorder import Changes
from cmcore.raw_json import Shape, Writer, masked, writer_of
from cmcore.values import key_text

_LONGEST_KEY = 255
_MOST_SHAPES = 500
_NOTHING: frozenset[str] = frozenset()
_SHARED = itemgetter(0, 3)  # of an entry: its action and positions
_WORDS = {
    Action.CREATE: ("create", "created"),
    Action.UPDATE: ("update", "updated"),
    Action.DELETE: ("delete", "deleted"),
    Action.RESTORE: ("restore", "restored"),
    Action.PURGE: ("purge", "purged"),
}


COLUMNS = ("id", "action", "resource_id", "description", "old_values", "new_values")
"""The columns that differ from entry to entry of one statement."""


def audit_columns(changes: Changes, who: str) -> dict[str, list[Any]]:
    """Return the columns of the entries of one statement's changes, by name.

    Args:
        changes: The changes of one statement.
        who: The acting user's e-mail or id, for the description.
    """
    layout = changes.layout
    writer = layout.cache.get("writer")
    if writer is None:
        writer = layout.cache["writer"] = EntryWriter(layout)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    if dispatch.has_redactors():
        for i, entry in enumerate(changes.entries):
            writer.add(columns, [entry], who, dispatch.redactions(changes[i]))
    else:
        for _, run in groupby(changes.entries, _SHARED):
            writer.add(columns, list(run), who)
    return columns


class EntryWriter:
    """Writes the raw rows of one model into columns of entries."""

    def __init__(self, layout: Layout) -> None:
        """Find the short way of each field once."""
        self._layout = layout
        self._table = layout.model._meta.table_name
        self._writers: list[Writer] = [
            masked() if i in layout.masked else writer_of(layout, i)
            for i in range(len(layout.fields))
        ]
        self._shapes: dict[Any, Shape] = {}
        self._key: int | None = layout.keys[0] if len(layout.keys) == 1 else None

    def add(
        self,
        columns: dict[str, list[Any]],
        entries: Sequence[Any],
        who: str,
        redacted: frozenset[str] = _NOTHING,
    ) -> None:
        """Add entries which have the same action and positions."""
        action, old, new, positions = entries[0]
        shape = self._shape(positions, redacted)
        before = [] if old is None else [entry[1] for entry in entries]
        after = [] if new is None else [entry[2] for entry in entries]
        count = len(entries)
        name, word = _WORDS[action]
        what = f"{who} {word} {self._table}"
        told = self._told(positions) if action is Action.UPDATE else ""
        keys = [self.key_text(row) for row in before or after]
        columns["id"] += [new_key() for _ in entries]
        columns["action"] += repeat(name, count)
        columns["resource_id"] += keys
        columns["description"] += [
            f"{what}{told}" if key is None else f"{what} {key}{told}" for key in keys
        ]
        columns["old_values"] += shape.texts(before) if before else repeat(None, count)
        columns["new_values"] += shape.texts(after) if after else repeat(None, count)

    def _told(self, positions: Sequence[int]) -> str:
        """Return the names of the fields that an update changed, in brackets."""
        stamps, names = self._layout.stamp_positions, self._layout.names
        return f" ({', '.join([names[i] for i in positions if i not in stamps])})"

    def key_text(self, row: Row) -> str | None:
        """Return the primary key of a raw row as `resource_id`."""
        if self._key is not None:
            raw = row[self._key]
            kind = type(raw)
            if kind is self._layout.exact[self._key] and (
                kind is int or _is_short_and_plain(raw)
            ):
                return str(raw)
        key = self._layout.key(row)
        return None if key is None else key_text(key)

    def _shape(
        self, positions: Sequence[int] | None, redacted: frozenset[str]
    ) -> Shape:
        """Return the JSON object of some fields, some of them masked by a plugin."""
        shape = self._shapes.get((positions, redacted))
        if shape is None:
            names = self._layout.names
            wanted = self._layout.recorded if positions is None else positions
            shape = Shape(
                [names[i] for i in wanted],
                [
                    (i, masked() if names[i] in redacted else self._writers[i])
                    for i in wanted
                ],
            )
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[positions, redacted] = shape
        return shape


def _is_short_and_plain(key: str) -> bool:
    return len(key) <= _LONGEST_KEY and key.isascii() and "\0" not in key
