"""SQLite: rows as lines of JSON."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import peewee

from cmcore.engines.ddl import literal
from cmcore.engines.introspection import Column, rows, run, run_many
from cmcore.engines.lines import Line, Lines, members_of, names_of, referred
from cmcore.layout import quoted
from cmcore.moments import turned

_SIZES = (
    "SELECT sum(pgsize) FROM dbstat WHERE name IN"
    " (SELECT name FROM sqlite_master WHERE tbl_name = ?)"
)
_BLOB = re.compile(r"\\x((?:[0-9a-f]{2})*)")


class SqliteLines(Lines):
    """A table of SQLite as lines."""

    begin = ("IMMEDIATE",)

    def bound(self, moment: datetime) -> str:
        """Return the day, before which no text of it sorts, in whatever form."""
        return moment.date().isoformat()

    def is_json(self, column: Column) -> bool:
        """Tell whether a column holds JSON."""
        return self._kind(column) == "json"

    @cached_property
    def source(self) -> str:
        """The SQL of the columns of a `Line`, and where they are from.

        What is text goes through one call of json_object(), which is fast; the rest is
        put behind it.
        """
        texts = [c for c in self.ordered if self._kind(c) in _TEXTS]
        pairs = ", ".join(f"{literal(c.name)}, {self._sql(c)}" for c in texts)
        rest = " || ".join(
            f"{literal(f',{json.dumps(c.name)}:')} || {self._sql(c)}"
            for c in self.ordered
            if c not in texts
        )
        text = f"rtrim(json_object({pairs}), '}}') || {rest} || '}}'"
        return f"r.created_at, r.id, {text} FROM {quoted(self.table)} r"

    def months(self, before: datetime | None = None) -> list[tuple[str, str, int]]:
        """Return how many rows each month has; there is one table for all."""
        condition, values = self.earlier(before)
        return rows(
            self.db,
            f"SELECT ?, replace(substr(created_at, 1, 7), '-', '_') AS month, count(*)"
            f" FROM {quoted(self.table)} r{condition} GROUP BY month ORDER BY month",
            [self.table, *values],
        )

    def size(self, name: str) -> int:
        """Return the bytes of the table and its indexes.

        The whole file's, where SQLite was built without the table that tells them.
        """
        try:
            found = rows(self.db, _SIZES, (name,))
        except peewee.OperationalError:
            found = rows(
                self.db,
                "SELECT page_count * page_size"
                " FROM pragma_page_count, pragma_page_size",
            )
        return int(found[0][0] or 0)

    def _kind(self, column: Column) -> str:
        kind = self.kinds.get(column.name)
        if kind is not None:
            return kind
        declared = column.type.upper()
        return next((k for t, k in _DECLARED.items() if t in declared), "any")

    def _sql(self, column: Column) -> str:
        return _SQL[self._kind(column)].format(f"r.{quoted(column.name)}")

    def remove(self, lines: Sequence[Line]) -> int:
        """Remove rows by their keys."""
        cursor = run(
            self.db,
            f"DELETE FROM {quoted(self.table)}"
            " WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps([line.id for line in lines])],
        )
        return int(cursor.rowcount)

    def insert(self, texts: Sequence[str], names: Collection[str]) -> int:
        """Insert rows that are not there yet."""
        own = self.insertable(names)
        marks = ", ".join(referred("?", self.references.get(name)) for name in own)
        return run_many(
            self.db,
            f"INSERT INTO {quoted(self.table)} ({names_of(own)}) VALUES ({marks})"
            f"{self.unless_there}",
            [list(map(self._told(text).get, own)) for text in texts],
        )

    @cached_property
    def _by_kind(self) -> dict[str, list[str]]:
        """The names of the columns of each kind."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            found.setdefault(self._kind(column), []).append(column.name)
        return found

    def _told(self, text: str) -> dict[str, Any]:
        """Return the values of a line as SQLite holds them."""
        nested = self._by_kind.get("json", [])
        values = values_of(text, nested)
        for name in self._by_kind["moment"]:
            value = values.get(name)
            if value is not None:
                values[name] = turned(value)
        for name in self._by_kind.get("blob", []):
            value = values.get(name)
            if isinstance(value, str) and (match := _BLOB.fullmatch(value)):
                values[name] = bytes.fromhex(match[1])
        return values


_DECLARED = {
    "JSON": "json",
    "BOOL": "flag",
    "BLOB": "blob",
    "CHAR": "text",
    "TEXT": "text",
    "CLOB": "text",
}
_TEXTS = {"text", "moment", "blob"}

_SQL = {
    "text": "{0}",
    "moment": (
        "CASE substr({0}, 11, 1)"
        " WHEN ' ' THEN substr({0}, 1, 10) || 'T' || substr({0}, 12)"
        " WHEN 'T' THEN substr({0}, 1, 10) || ' ' || substr({0}, 12) ELSE {0} END"
    ),
    "blob": "CASE typeof({0}) WHEN 'blob' THEN '\\x' || lower(hex({0})) ELSE {0} END",
    "flag": "CASE {0} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE json_quote({0}) END",
    # json_quote() alone rounds numbers to 15 digits.
    "any": (
        "CASE typeof({0}) WHEN 'real' THEN printf('%!.17g', {0})"
        " ELSE json_quote({0}) END"
    ),
    # As it stands, but on one line; NULL, which makes the whole line NULL, if it is
    # no JSON.
    "json": (
        "CASE WHEN {0} IS NULL THEN 'null' WHEN json_valid({0})"
        " THEN replace(replace({0}, char(10), ' '), char(13), ' ') END"
    ),
}

_decoder: Any = json.JSONDecoder()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once
_spaces: Any = re.compile(r"[ \t]*").match


def values_of(line: str, nested: Sequence[str]) -> dict[str, Any]:
    """Return the values of a JSON object by name; spaces are around values only.

    What is nested comes back as the text that it is in the line.

    Args:
        line: The object.
        nested: The names of columns whose values are texts of JSON, whatever they are;
            the first of them begins the last part of a usual line.

    Raises:
        ValueError: It is no JSON object, or has spaces around a name.
    """
    try:
        return _values(line, nested)
    except RecursionError:
        return {
            name: None
            if text == "null"
            else text
            if name in nested or text[0] in "[{"
            else json.loads(text)
            for name, text in members_of(line).items()
        }


def _values(line: str, nested: Sequence[str]) -> dict[str, Any]:
    at = line.find(f',"{nested[0]}":') if nested else -1
    head = line[1:at]
    if at < 0 or "{" in head or "[" in head:
        return _scanned(line, 0, nested)
    values: dict[str, Any] = json.loads(f"{{{head}}}")
    return values | _scanned(line, at, nested)


def _scanned(line: str, end: int, nested: Sequence[str]) -> dict[str, Any]:
    """Read an object step by step; `end` is where the first name's comma would be."""
    found: dict[str, Any] = {}
    try:
        while line[end] != "}":
            name, at = _scan(line, end + 1)
            start = _spaces(line, at + 1).end()
            value, at = _scan(line, start)
            if value is not None and (name in nested or type(value) in _NESTED):
                value = line[start:at]
            found[name] = value
            end = _spaces(line, at).end()
    except (StopIteration, IndexError) as error:
        msg = "a line is not one JSON object without spaces around names"
        raise ValueError(msg) from error
    return found


_NESTED = {list, dict}
