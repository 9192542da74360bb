"""Rows of a table as lines of JSON, one object a row, the same from both engines.

The engines write the lines themselves, which is several times faster than Python is.
Values keep all that they have: JSON columns are nested as they stand, and moments are
in UTC with microseconds.
"""

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import peewee

from cmcore.engines.catalog import Column, columns, foreign_keys, primary_key
from cmcore.engines.introspection import rows
from cmcore.layout import quoted

Kinds = Mapping[str, str]
"""What a column holds where its type does not tell: `moment`, `json` or `flag`."""


_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:]')


class Line(NamedTuple):
    """A row and its line.

    Attributes:
        created_at: As the driver gives it, which is how it is sent back.
        id: The row's key.
        text: The line, without its end; None if the row cannot be told as JSON.
    """

    created_at: Any
    id: str
    text: str | None


class Lines(ABC):
    """A table with the columns `id` and `created_at`, read and written as lines."""

    byte_order = ""  # by which ids are compared
    for_update = ""
    begin: tuple[str, ...] = ()  # what a transaction that writes begins with

    def __init__(self, db: peewee.Database, table: str, kinds: Kinds) -> None:
        """Read the table's columns."""
        self.db = db
        self.table = table
        self.kinds = kinds
        self.columns = columns(db, table)

    @abstractmethod
    def bound(self, moment: datetime) -> Any:
        """Return a moment as it is compared with `created_at`."""

    @property
    @abstractmethod
    def source(self) -> str:
        """The SQL of `created_at`, `id` and the line, and where they are from."""

    @abstractmethod
    def remove(self, lines: Sequence[Line]) -> int:
        """Remove rows; return how many went.

        By plain SQL: the models refuse to remove entries of the trail, whoever asks.
        """

    @abstractmethod
    def insert(self, texts: Sequence[str], names: Collection[str]) -> int:
        """Insert rows whose keys are not there yet; return how many.

        A reference that would have become NULL when its row went is NULL if there is
        no such row.

        Args:
            texts: The lines.
            names: The columns that the lines tell.
        """

    @abstractmethod
    def months(self, before: datetime | None = None) -> list[tuple[str, str, int]]:
        """Return how many rows each month has: partition, month (2026_03), rows."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the bytes that a table takes, with its indexes."""

    def earlier(self, before: datetime | None) -> tuple[str, list[Any]]:
        """Return a condition for the rows before a moment, and its values."""
        if before is None:
            return "", []
        return " WHERE r.created_at < ?", [self.bound(before)]

    def batch(
        self,
        start: datetime,
        end: datetime,
        after: Line | None,
        size: int,
        *,
        is_locked: bool = False,
    ) -> list[Line]:
        """Return the next rows in the order of `created_at` and `id`.

        Args:
            start: The first moment that counts.
            end: The first moment that does not any more.
            after: The last row that is known; None for the first batch.
            size: How many rows at most.
            is_locked: Whether nobody may change them until the transaction ends.
        """
        key = f"r.created_at, r.id{self.byte_order}"
        if after is None:
            condition, first = "r.created_at >= ?", [self.bound(start)]
        else:
            condition, first = f"({key}) > (?, ?)", [after.created_at, after.id]
        found = rows(
            self.db,
            f"SELECT {self.source} WHERE {condition} AND r.created_at < ?"
            f" ORDER BY {key} LIMIT {size}{self.for_update if is_locked else ''}",
            [*first, self.bound(end)],
        )
        return [Line._make(row) for row in found]

    @abstractmethod
    def is_json(self, column: Column) -> bool:
        """Tell whether a column holds JSON, which stands at the end of a line."""

    @cached_property
    def ordered(self) -> list[Column]:
        """The columns in the order in which a line has them."""
        return sorted(self.columns, key=self.is_json)

    def insertable(self, names: Collection[str]) -> list[str]:
        """Return those of the columns that an INSERT may name, in the table's order."""
        return [c.name for c in self.columns if c.name in names and not c.is_generated]

    @cached_property
    def unless_there(self) -> str:
        """The end of an INSERT that leaves rows alone whose keys are there."""
        key = names_of(primary_key(self.db, self.table))
        return f" ON CONFLICT ({key}) DO NOTHING"

    @cached_property
    def references(self) -> dict[str, tuple[str, str]]:
        """The table and column that a column refers to until that row goes."""
        return {
            key.columns[0]: (key.parent, key.parent_columns[0])
            for key in foreign_keys(self.db, self.table)
            if key.on_delete == "SET NULL" and len(key.columns) == 1
        }


def members_of(line: str) -> dict[str, str]:
    """Return the values of a JSON object as texts by name, however deep they are.

    Raises:
        ValueError: It is no JSON object.
    """
    bounds, depth = [], 0
    for token in _TOKEN.finditer(line):
        depth += token[0] in "[{"
        if depth == 1 and token[0] in "{,:}":
            bounds.append(token.start())
        depth -= token[0] in "]}"
    if depth or not bounds:
        msg = "a line is not one JSON object"
        raise ValueError(msg)
    texts = [line[i + 1 : j].strip() for i, j in itertools.pairwise(bounds)]
    return dict(zip(map(json.loads, texts[::2]), texts[1::2], strict=True))


def referred(value: str, reference: tuple[str, str] | None) -> str:
    """Return SQL for a value that is NULL if the row it refers to does not exist."""
    if reference is None:
        return value
    table, column = map(quoted, reference)
    return f"(SELECT u.{column} FROM {table} u WHERE u.{column} = {value})"


def names_of(columns: Iterable[str]) -> str:
    """Return quoted identifiers, comma-separated."""
    return ", ".join(map(quoted, columns))
