"""SQLite: how it locks, and how rows are captured before and after a write.

An UPDATE is sent as the caller wrote it; the old rows are read first, under the write
lock, and the new ones afterwards by key, so that triggers may change them. Where LIMIT
or random() choose, it is sent for the rows that were read. Rows that appear or
disappear come back by RETURNING.
"""

import functools
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import peewee

from cmcore.engines.capture import (
    Captured,
    Pair,
    Row,
    Savepoints,
    Write,
    conflict_update,
    dry_run,
    identity_positions,
    turned_out_otherwise,
)
from cmcore.engines.execution import Rows, connection_of, quiet, quiet_many, run
from cmcore.engines.sqlite_catalog import unique_sets
from cmcore.engines.sqlite_keys import among, key_names
from cmcore.engines.statement import Rendered
from cmcore.layout import Layout, quoted


class Sqlite(Savepoints):
    """The engine of every `peewee.SqliteDatabase`."""

    name = "sqlite"
    placeholder = "?"
    needs_savepoint = True
    begin_args = ("IMMEDIATE",)

    def in_transaction(self, database: Any) -> bool:
        """Ask the connection itself: raw begin() is not on peewee's stack."""
        return bool(connection_of(database).in_transaction)

    def is_readable(self, database: Any) -> bool:
        """Tell whether a statement may be sent after an error."""
        return True

    def lock(self, database: Any, layout: Layout) -> None:
        """Take the write lock inside the caller's transaction, waiting for it."""
        quiet(database, f"DELETE FROM {layout.table_sql} WHERE 0")

    def poison(self, database: Any) -> None:
        """Do nothing: a savepoint undoes what the caller must not keep."""

    def capture(self, write: Write) -> Captured:
        """Execute a write and return what it did, row by row."""
        query = write.query
        if isinstance(query, peewee.Update):
            return self._update(write)
        if isinstance(query, peewee.Delete):
            return self._delete(write)
        conflict = query._on_conflict
        if conflict is not None and (conflict._action or "").upper() == "REPLACE":
            return self._replace(write)
        if conflict_update(query):
            return self._upsert(write)
        return self._insert(write)

    # -- UPDATE and DELETE: read, run as it is, read -------------------------------

    def _update(self, write: Write) -> Captured:
        layout = write.layout
        old, moved = self._shown(write)
        cursor = self._run(write, old)
        keys = [moved[key] for key in old] if moved else list(old)
        new = self._by_keys(write.database, layout, keys) if old else {}
        pairs: list[Pair] = list(zip(old.values(), map(new.get, keys), strict=True))
        return Captured(cursor, pairs)

    def _delete(self, write: Write) -> Captured:
        has_tail = write.rendered.tail != write.rendered.end
        if write.before is None and not has_tail:
            cursor, rows = self._run_returning(write)
            return Captured(cursor, [(row, None) for row in rows])
        old, _ = self._shown(write)  # RETURNING may not stand behind LIMIT
        cursor = self._run(write, old)
        return Captured(cursor, [(row, None) for row in old.values()])

    def _shown(self, write: Write) -> tuple[dict[Any, Row], dict[Any, tuple[Any, ...]]]:
        """Show the rows to the hooks; read them again if a hook wrote meanwhile."""
        matching = self._matching(write)
        pairs: list[Pair] = [(row, None) for row in matching[0].values()]
        return self._matching(write) if self._told(write, pairs) else matching

    def _told(self, write: Write, pairs: list[Pair]) -> bool:
        """Tell the hooks, if any; return whether one of them has written meanwhile."""
        if write.before is None or not pairs:
            return False
        connection = connection_of(write.database)
        count = connection.total_changes
        write.before(pairs)
        return bool(connection.total_changes != count)

    def _matching(
        self, write: Write
    ) -> tuple[dict[Any, Row], dict[Any, tuple[Any, ...]]]:
        """Read the rows that the statement will hit, by key; and keys that it moves."""
        write.before_reading()
        layout, rendered = write.layout, write.rendered
        parts, params = [layout.qualified_columns(layout.qualifier)], []
        if not layout.keys:
            parts.append(f"{layout.qualifier}.rowid")
        for mark in rendered.assigned.values():
            text, values = rendered.clause(mark)
            parts.append(f"({text})")
            params += values
        ctes, cte_values = rendered.with_clause()
        sources, source_values = rendered.clause(rendered.sources, ", ")
        where, where_values = rendered.clause(rendered.where, " WHERE ")
        tail = rendered.text(rendered.tail, rendered.end)
        sql = (
            f"{ctes}SELECT {', '.join(parts)} FROM {layout.table_sql}"
            f"{sources}{where}{tail}"
        )
        values = cte_values + params + source_values + where_values
        values += rendered.params(rendered.tail, rendered.end)
        rows = quiet(write.database, sql, values).fetchall()
        width = len(layout.columns)
        if not layout.keys:
            return {(row[width],): row[:width] for row in rows}, {}
        if not rendered.assigned:
            return {layout.key_values(row): row for row in rows}, {}
        old: dict[Any, Row] = {}
        moved: dict[Any, tuple[Any, ...]] = {}
        assigned = [layout.positions[field] for field in rendered.assigned]
        for row in rows:
            key = layout.key_values(row)
            given = dict(zip(assigned, row[width:], strict=True))
            old[key] = row[:width]
            moved[key] = tuple(given.get(i, row[i]) for i in layout.keys)
        return old, moved

    def _run(self, write: Write, hit: Iterable[tuple[Any, ...]]) -> Any:
        """Send the caller's statement as it is; read it to the end.

        Where it might choose others than were read it is sent for the keys of those.
        """
        rendered = write.rendered
        sql, values = rendered.shown, rendered.values
        if _may_choose_others(rendered):
            keys = list(hit)
            found = list(among(key_names(write.layout), keys)) or [("0", ())]
            is_whole = len(found) == 1 and not any(None in key for key in keys)
            if is_whole:
                sql, values = rendered.where_instead(*found[0])
        cursor = run(write.database, sql, values, rendered)
        if cursor.description is None:
            return cursor
        return Rows(cursor, cursor.fetchall(), len(cursor.description))

    def _by_keys(
        self, database: Any, layout: Layout, keys: Iterable[tuple[Any, ...]]
    ) -> dict[Any, Row]:
        """Read rows by primary key, or by rowid where the model has none."""
        names = key_names(layout)
        if layout.keys:
            rows = self._lookup(database, layout, names, keys)
            return {layout.key_values(row): row for row in rows}
        rows = self._lookup(database, layout, names, keys, extra=", rowid")
        return {(row[-1],): row[:-1] for row in rows}

    def _lookup(
        self,
        database: Any,
        layout: Layout,
        names: Sequence[str],
        keys: Iterable[tuple[Any, ...]],
        *,
        extra: str = "",
    ) -> list[Row]:
        """Read the rows whose named columns have the given values."""
        select = f"SELECT {', '.join(layout.columns)}{extra} FROM {layout.table_sql}"
        rows: list[Row] = []
        for condition, values in among(names, keys):
            rows += quiet(database, f"{select} WHERE {condition}", values).fetchall()
        return rows

    # -- INSERT, upsert, REPLACE: RETURNING, and a dry run where rows may go ---------

    def _insert(self, write: Write) -> Captured:
        if write.before is not None:
            write.before([(None, row) for row in self._tried(write)])
        cursor, rows = self._run_returning(write)
        return Captured(cursor, [(None, row) for row in rows])

    def _upsert(self, write: Write) -> Captured:
        """Try the statement once and undo it, to learn which rows it will hit."""
        write.before_reading()
        layout, database = write.layout, write.database
        target = identity_positions(write.query, layout)
        names = [layout.columns[i] for i in target] or ["rowid"]
        extra = "" if target else ", rowid"
        width = len(layout.columns)
        held: dict[Any, Row] = {}

        def identity(row: Row) -> tuple[Any, ...]:
            return tuple(row[i] for i in target) if target else (row[width],)

        def paired(found: Sequence[Row]) -> list[Pair]:
            last = {identity(row): row[:width] for row in found}
            return [(held.get(key), row) for key, row in last.items()]

        def predicted() -> list[Pair]:
            tried = self._tried(write, extra)
            keys = [identity(row) for row in tried]
            there = self._lookup(database, layout, names, keys, extra=extra)
            held.clear()
            live = (row for row in there if not layout.is_marked(row))
            held.update((identity(row), row[:width]) for row in live)
            return paired(tried)

        told = predicted()
        if self._told(write, told):
            turned = turned_out_otherwise(told, predicted(), identity)
            if self._told(write, turned):
                predicted()
        cursor, kept = self._run_returning(write, extra)
        return Captured(cursor, paired(kept))

    def _replace(self, write: Write) -> Captured:
        write.before_reading()
        layout, database = write.layout, write.database
        candidates, tried = self._pushed(write)
        pushed: list[Pair] = [(row, None) for row in candidates.values()]
        if self._told(write, pushed + [(None, row) for row in tried]):
            candidates, _ = self._pushed(write)
        cursor, kept = self._run_returning(write)
        there = self._by_keys(database, layout, candidates) if layout.keys else {}
        new_keys = {layout.key_values(row) for row in kept}
        gone = [
            row
            for key, row in candidates.items()
            if key in new_keys or key not in there
        ]
        last: dict[Any, Row] = {
            layout.key_values(row) or i: row for i, row in enumerate(kept)
        }
        if layout.keys and len(last) > 1:  # one may have pushed out another
            still = self._by_keys(database, layout, last)
            last = {key: row for key, row in last.items() if key in still}
        pairs: list[Pair] = [(row, None) for row in gone]
        return Captured(cursor, pairs + [(None, row) for row in last.values()])

    def _pushed(self, write: Write) -> tuple[dict[Any, Row], list[Row]]:
        """Return the rows that a REPLACE may push out, by key, and those it inserts."""
        layout, database = write.layout, write.database
        tried = self._tried(write)
        candidates: dict[Any, Row] = {}
        for unique in unique_sets(database, layout):
            names = [layout.columns[i] for i in unique]
            values = [tuple(row[i] for i in unique) for row in tried]
            for row in self._lookup(database, layout, names, values):
                if unique != layout.keys and layout.is_marked(row):
                    continue  # other values belong to live rows
                candidates[layout.key_values(row) or tuple(row)] = row
        return candidates, tried

    def _tried(self, write: Write, extra: str = "") -> list[Row]:
        """Return the rows as an INSERT would leave them, without leaving them."""
        sql, width = self._returning(write, extra)
        rows = dry_run(write.database, sql, write.rendered.values)
        return [row[len(row) - width :] for row in rows]

    def _run_returning(self, write: Write, extra: str = "") -> tuple[Any, list[Row]]:
        """Send an INSERT or DELETE; return the caller's cursor, and the rows."""
        sql, width = self._returning(write, extra)
        cursor = run(write.database, sql, write.rendered.values, write.rendered)
        rows = cursor.fetchall()
        own = len(cursor.description) - width
        return Rows(cursor, rows, own), [row[own:] for row in rows]

    def _returning(self, write: Write, extra: str) -> tuple[str, int]:
        columns = write.layout.columns
        sql, _ = write.rendered.returning(", ".join(columns) + extra)
        return sql, len(columns) + bool(extra)

    # -- rows of our own ------------------------------------------------------------

    def insert_columns(
        self,
        database: Any,
        table: str,
        shared: dict[str, Any],
        columns: dict[str, list[Any]],
    ) -> None:
        """Insert rows that share most columns, with one prepared statement."""
        sql = _insert_sql(table, tuple(columns), tuple(shared))
        varying = columns.values()
        if all(len(column) == 1 for column in varying):
            quiet(database, sql, [*(c[0] for c in varying), *shared.values()])
        else:
            constants = [repeat(_adapted(value)) for value in shared.values()]
            quiet_many(database, sql, zip(*varying, *constants, strict=False))


def _may_choose_others(rendered: Rendered) -> bool:
    """Tell whether a statement may hit other rows than a SELECT with its clauses.

    A LIMIT cuts rows that sort alike as the plan has them; chance is never the same.
    """
    has_limit = rendered.tail != rendered.end
    return rendered.sources is None and (
        has_limit or "random" in rendered.shown.lower()
    )


def _adapted(value: Any) -> Any:
    """Return what sqlite3 would bind, so that it need not ask for every row."""
    conform = getattr(value, "__conform__", None)
    return value if conform is None else conform(sqlite3.PrepareProtocol)


@functools.cache
def _insert_sql(table: str, varying: tuple[str, ...], shared: tuple[str, ...]) -> str:
    names = ", ".join(quoted(name) for name in (*varying, *shared))
    marks = ", ".join("?" * (len(varying) + len(shared)))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})"
