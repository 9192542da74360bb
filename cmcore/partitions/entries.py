"""Entries as lines of JSON: their order, and whether two of them say the same."""

import functools
import json
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from typing import Any

import peewee

from cmcore.engines.exchange import lines_of
from cmcore.engines.lines import Lines, members_of
from cmcore.fields import JSONField, UTCDateTimeField
from cmcore.models.audit_log import AuditLog
from cmcore.moments import turned
from cmcore.partitions.pieces import TRAIL

Same = Callable[[str, str], bool]

BATCH = 1000
"""How many entries are in the memory at a time."""


def _kinds() -> Iterator[tuple[str, str]]:
    """Yield the columns of the trail that hold what SQLite's types do not tell."""
    meta: Any = AuditLog._meta
    for name, field in meta.columns.items():
        if isinstance(field, UTCDateTimeField):
            yield name, "moment"
        elif isinstance(field, JSONField):
            yield name, "json"
        elif isinstance(field, peewee.BooleanField):
            yield name, "flag"


_KINDS = dict(_kinds())


def entries_of(db: peewee.Database, table: str = TRAIL) -> Lines:
    """Return the entries in a table as lines."""
    return lines_of(db, table, _KINDS)


def read(line: str, number: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Return the values of a line by name; nested too deeply, they stay JSON."""
    loads = functools.partial(json.loads, parse_int=number, parse_float=number)
    try:
        values: dict[str, Any] = loads(line)
    except RecursionError:
        return {
            name: text if text[0] in "[{" else loads(text)
            for name, text in members_of(line).items()
        }
    return values


def key_of(line: str) -> tuple[str, str]:
    """Return what entries are sorted by: as SQLite sorts moments, then by id."""
    entry = read(line)
    return turned(entry["created_at"]), entry["id"]


class Held:
    """Entries in their order, such as an archive's, to be asked for in that order."""

    def __init__(self, lines: Iterator[str], is_same: Same | None = None) -> None:
        """Take the lines, and what tells whether two are the same entry's."""
        self._lines = lines
        self._is_same = is_same or says_the_same
        self._next = next(lines, None)
        self._key: tuple[str, str] | None = None  # of the next one, once it is needed

    def holds(self, line: str) -> bool:
        """Tell whether this entry is among them as it is.

        Entries that are asked for out of order may be missed, never found wrongly.
        """
        following = self._next
        if line == following:
            self._advance()
            return True
        if following is None:
            return False
        key = key_of(line)
        while following is not None:
            if self._key is None:
                self._key = key_of(following)
            if self._key > key:
                break
            is_same = self._key == key and self._is_same(following, line)
            following = self._advance()
            if is_same:
                return True
        return False

    def _advance(self) -> str | None:
        self._next, self._key = next(self._lines, None), None
        return self._next


def says_the_same(line: str, other: str) -> bool:
    """Compare entries from two engines, which order keys and write numbers freely."""
    return line == other or _exactly(line) == _exactly(other)


def has_come_back(entry: str, line: str, references: Collection[str]) -> bool:
    """Tell whether an entry of the trail is that of a line.

    It may have columns that the line lacks, and lack a reference to who is gone.
    """
    now = _exactly(entry)
    return all(
        now.get(name) == value or (name in references and now.get(name) is None)
        for name, value in _exactly(line).items()
    )


def _exactly(line: str) -> Any:
    """Return what a line says, with numbers that differ from true and false."""
    return read(line, _number)


def _number(text: str) -> tuple[Decimal]:
    return (Decimal(text),)
