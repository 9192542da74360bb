"""Entries as lines of JSON: their order, and whether two of them say the same."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import peewee

from cmcore.engines.exchange import lines_of
from cmcore.engines.lines import Lines
from cmcore.fields import JSONField, UTCDateTimeField
from cmcore.models.audit_log import AuditLog
from cmcore.moments import turned
from cmcore.partitions.pieces import TRAIL

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


def key_of(line: str) -> tuple[str, str]:
    """Return what entries are sorted by: as SQLite sorts moments, then by id."""
    entry = json.loads(line)
    return turned(entry["created_at"]), entry["id"]


class Held:
    """The entries of an archive in their order, to be asked for in the same order."""

    def __init__(self, lines: Iterator[str]) -> None:
        """Take the lines of the archive."""
        self._lines = lines
        self._next = next(lines, None)
        self._key: tuple[str, str] | None = None  # of the next one, once it is needed

    def holds(self, line: str) -> bool:
        """Tell whether the archive has this entry as it is now.

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
            is_same = self._key == key and says_the_same(following, line)
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


def _exactly(line: str) -> Any:
    """Return what a line says, with numbers that differ from true and false."""
    return json.loads(line, parse_int=_number, parse_float=_number)


def _number(text: str) -> tuple[Decimal]:
    return (Decimal(text),)
