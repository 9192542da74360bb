"""SQLite: rows as lines of JSON."""

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import peewee

from cmcore.engines.ddl import literal
from cmcore.engines.introspection import Column, rows, run, run_many
from cmcore.engines.lines import Line, Lines, names_of, referred
from cmcore.layout import quoted
from cmcore.moments import turned

_BLOB = "\\x"  # begins what is a text of hexadecimal digits in JSON


class SqliteLines(Lines):
    """A table of SQLite as lines."""

    begin = ("IMMEDIATE",)

    def bound(self, moment: datetime) -> str:
        """Return the day, before which no text of it sorts, in whatever form."""
        return moment.date().isoformat()

    @cached_property
    def source(self) -> str:
        """The SQL of the columns of a `Line`, and where they are from."""
        parts = [
            f"{literal(f'{json.dumps(column.name, ensure_ascii=False)}:')} || {self._sql(column)}"
            for column in self.columns
        ]
        text = " || ',' || ".join(parts)
        return f"r.created_at, r.id, '{{' || {text} || '}}' FROM {quoted(self.table)} r"

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
            found = rows(
                self.db,
                "SELECT sum(pgsize) FROM dbstat WHERE name IN"
                " (SELECT name FROM sqlite_master WHERE tbl_name = ?)",
                (name,),
            )
        except peewee.OperationalError:
            found = rows(
                self.db,
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
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
        own = [c for c in self.columns if c.name in self.insertable(names)]
        references = self.references()
        marks = [
            referred("?", references[column.name]) if column.name in references else "?"
            for column in own
        ]
        readers = [(c.name, _READERS.get(self._kind(c), _plain)) for c in own]
        batch = [
            [read(*told.get(name, (None, "null"))) for name, read in readers]
            for told in map(parts_of, texts)
        ]
        return run_many(
            self.db,
            f"INSERT INTO {quoted(self.table)} ({names_of(c.name for c in own)})"
            f" VALUES ({', '.join(marks)}) ON CONFLICT (id) DO NOTHING",
            batch,
        )


_DECLARED = {"JSON": "json", "BOOL": "flag", "BLOB": "blob"}

_SQL = {
    "moment": (
        "json_quote(CASE substr({0}, 11, 1)"
        " WHEN ' ' THEN substr({0}, 1, 10) || 'T' || substr({0}, 12)"
        " WHEN 'T' THEN substr({0}, 1, 10) || ' ' || substr({0}, 12) ELSE {0} END)"
    ),
    # As it stands, but on one line; NULL, which makes the whole line NULL, if it is
    # no JSON.
    "json": (
        "CASE WHEN {0} IS NULL THEN 'null' WHEN json_valid({0})"
        " THEN replace(replace({0}, char(10), ' '), char(13), ' ') END"
    ),
    "flag": "CASE {0} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE json_quote({0}) END",
    "blob": (
        "json_quote(CASE typeof({0}) WHEN 'blob' THEN '\\x' || lower(hex({0}))"
        " ELSE {0} END)"
    ),
    # json_quote() alone rounds numbers to 15 digits.
    "any": (
        "CASE typeof({0}) WHEN 'real' THEN printf('%!.17g', {0})"
        " ELSE json_quote({0}) END"
    ),
}


def _plain(value: Any, text: str) -> Any:
    """Return a value that SQLite holds, which are texts for lists and objects."""
    return text if isinstance(value, list | dict) else value


def _json(value: Any, text: str) -> str | None:
    return None if value is None else text


def _moment(value: Any, text: str) -> Any:
    return turned(value) if isinstance(value, str) else value


def _blob(value: Any, text: str) -> Any:
    if isinstance(value, str) and value.startswith(_BLOB):
        return bytes.fromhex(value.removeprefix(_BLOB))
    return value


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "moment": _moment,
    "json": _json,
    "blob": _blob,
}

_scan = json.JSONDecoder().scan_once


def parts_of(line: str) -> dict[str, tuple[Any, str]]:
    """Return the values of a compact JSON object by name, each with its own text.

    Raises:
        ValueError: It is no JSON object, or not compact.
    """
    found: dict[str, tuple[Any, str]] = {}
    end = 0
    try:
        while line[end] != "}":
            name, start = _scan(line, end + 1)
            value, end = _scan(line, start + 1)
            found[name] = value, line[start + 1 : end]
    except (StopIteration, IndexError) as error:
        msg = "It is not one compact JSON object a line."
        raise ValueError(msg) from error
    return found
