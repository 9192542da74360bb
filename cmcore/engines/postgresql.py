"""PostgreSQL: how rows are captured, in the same round trip wherever it allows it.

RETURNING gives old and new values from version 18 on; see `older_postgresql.py` for
what is done before.
"""

import functools
from collections.abc import Sequence
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
from cmcore.engines.execution import Rows, connection_of, quiet, run
from cmcore.layout import Layout, quoted


class Postgresql(Savepoints):
    """The engine of every `peewee.PostgresqlDatabase`."""

    name = "postgresql"
    placeholder = "%s"
    needs_savepoint = False
    begin_args = ()

    def in_transaction(self, database: Any) -> bool:
        """Ask the connection itself: raw begin() is not on peewee's stack."""
        return bool(database._adapter.txn_status(connection_of(database)) != 0)

    def is_readable(self, database: Any) -> bool:
        """Tell whether the transaction was not aborted by an error."""
        return bool(database.is_connection_usable())

    def lock(self, database: Any, layout: Layout) -> None:
        """Do nothing: rows are locked one by one."""

    def poison(self, database: Any) -> None:
        """Abort the caller's transaction, so that nothing half-done can be kept."""
        try:
            quiet(database, "SELECT 1/0")
        except peewee.DatabaseError:
            return

    def capture(self, write: Write) -> Captured:
        """Execute a write and return what it did, row by row."""
        query = write.query
        if isinstance(query, peewee.Update):
            return self._update(write)
        if isinstance(query, peewee.Delete):
            return self._delete(write)
        if conflict_update(query):
            return self._upsert(write)
        return self._insert(write)

    # -- UPDATE and DELETE ------------------------------------------------------------

    def _update(self, write: Write) -> Captured:
        only = self.shown_to_hooks(write) if write.before else None
        old, new, prefix = _aliases(write)
        layout = write.layout
        n = len(layout.columns)
        extra = f"{layout.qualified_columns(old)}, {layout.qualified_columns(new)}"
        cursor, rows = self.run_returning(write, extra, 2 * n, prefix=prefix, only=only)
        return Captured(cursor, [(row[:n], row[n:]) for row in rows])

    def _delete(self, write: Write) -> Captured:
        only = self.shown_to_hooks(write) if write.before else None
        layout = write.layout
        extra = layout.qualified_columns(layout.qualifier)
        cursor, rows = self.run_returning(write, extra, len(layout.columns), only=only)
        return Captured(cursor, [(row, None) for row in rows])

    def shown_to_hooks(self, write: Write) -> list[Any]:
        """Lock the rows, show them to the hooks, and return where they stand.

        Rows that match only later are not touched: the hooks have not seen them. Where
        a hook itself has changed a row, that stands elsewhere.
        """
        rows = self._locked(write)
        if rows and write.before:
            write.before([(row, None) for row in rows.values()])
            if not self._still_stand(write, list(rows)):
                seen = {write.layout.key_values(row) for row in rows.values()}
                rows = {
                    place: row
                    for place, row in self._locked(write).items()
                    if write.layout.key_values(row) in seen
                }
        return list(rows)

    def _locked(self, write: Write) -> dict[Any, Row]:
        """Lock the rows that the statement will hit, and read them by their places."""
        layout, rendered = write.layout, write.rendered
        ctes, values = rendered.with_clause()
        sources, source_values = rendered.clause(rendered.sources, ", ")
        where, where_values = rendered.clause(rendered.where, " WHERE ")
        table = layout.qualifier
        sql = (
            f"{ctes}SELECT {place_of(table)}, {layout.qualified_columns(table)} "
            f"FROM {layout.table_sql}{sources}{where} FOR UPDATE OF {table}"
        )
        found = quiet(write.database, sql, values + source_values + where_values)
        return {row[:2]: row[2:] for row in found.fetchall()}

    def _still_stand(self, write: Write, places: list[Any]) -> bool:
        layout = write.layout
        condition, values = restriction(layout.qualifier, places)
        sql = f"SELECT count(*) FROM {layout.table_sql} WHERE {condition}"
        [[count]] = quiet(write.database, sql, values).fetchall()
        return bool(count == len(places))

    # -- INSERT and upsert ------------------------------------------------------------

    def _insert(self, write: Write) -> Captured:
        if write.before is not None:
            write.before([(None, row) for row in self.tried(write)])
        columns = write.layout.columns
        cursor, rows = self.run_returning(write, ", ".join(columns), len(columns))
        return Captured(cursor, [(None, row) for row in rows])

    def tried(self, write: Write) -> list[Row]:
        """Return the rows as an INSERT would leave them, without leaving them."""
        columns = write.layout.columns
        sql, _ = write.rendered.returning(", ".join(columns))
        rows = dry_run(write.database, sql, write.rendered.values)
        return [row[len(row) - len(columns) :] for row in rows]

    def _upsert(self, write: Write) -> Captured:
        predicted: list[Pair] = []
        if write.before is not None:
            predicted = self._classified(write, self.tried(write))
            write.before(predicted)
        captured = self.upsert_now(write)
        if write.before is not None:
            turned = turned_out_otherwise(
                predicted, captured.pairs, lambda row: self.identity(write, row)
            )
            if turned:
                write.before(turned)
        return captured

    def upsert_now(self, write: Write) -> Captured:
        """Run an upsert; OLD is empty for the rows that it inserted."""
        layout = write.layout
        old, new, prefix = _aliases(write)
        extra = (
            f"{layout.qualified_columns(old)}, {old}.ctid IS NULL, "
            f"{layout.qualified_columns(new)}"
        )
        n = len(layout.columns)
        cursor, rows = self.run_returning(write, extra, 2 * n + 1, prefix=prefix)
        return Captured(
            cursor, [(None if row[n] else row[:n], row[n + 1 :]) for row in rows]
        )

    def _classified(self, write: Write, tried: list[Row]) -> list[Pair]:
        held = self.held(write, tried)
        return [(held.get(self.identity(write, row)), row) for row in tried]

    def identity(self, write: Write, row: Row) -> tuple[Any, ...]:
        """Return what tells one row of an upsert from another."""
        target = identity_positions(write.query, write.layout)
        return tuple(row[i] for i in target)

    def held(self, write: Write, tried: list[Row]) -> dict[Any, Row]:
        """Lock and read the rows that stand where the tried ones will go."""
        layout = write.layout
        target = identity_positions(write.query, layout)
        wanted = [
            key for row in tried if None not in (key := self.identity(write, row))
        ]
        if not target or not wanted:
            return {}
        names = ", ".join(layout.columns[i] for i in target)
        marks = f"({', '.join(['%s'] * len(target))})"
        sql = (
            f"SELECT {', '.join(layout.columns)} FROM {layout.table_sql} "
            f"WHERE ({names}) IN ({', '.join([marks] * len(wanted))}) FOR UPDATE"
        )
        rows = quiet(write.database, sql, [v for key in wanted for v in key]).fetchall()
        return {
            self.identity(write, row): row
            for row in rows
            if not write.layout.is_marked(row)
        }

    # -- sending ----------------------------------------------------------------------

    def run_returning(
        self,
        write: Write,
        extra: str,
        width: int,
        *,
        prefix: str = "",
        only: list[Any] | None = None,
    ) -> tuple[Any, list[Row]]:
        """Send the statement with more columns; split what comes back."""
        rendered = write.rendered
        condition, added = restriction(write.layout.qualifier, only)
        sql, at = rendered.returning(extra, prefix, condition)
        values = rendered.values
        if added:
            values = [*values[:at], *added, *values[at:]]
        return self.send(write, sql, values, width)

    def send(
        self, write: Write, sql: str, values: Sequence[Any], width: int
    ) -> tuple[Any, list[Row]]:
        """Execute; return the caller's cursor and the last `width` columns."""
        cursor = run(write.database, sql, values, write.rendered)
        rows = cursor.fetchall()
        own = len(cursor.description) - width
        return Rows(cursor, rows, own), [row[own:] for row in rows]

    # -- rows of our own --------------------------------------------------------------

    def insert_columns(
        self,
        database: Any,
        table: str,
        shared: dict[str, Any],
        columns: dict[str, list[Any]],
    ) -> None:
        """Insert rows that share most columns, by one statement of constant text."""
        one, many = _insert_sql(table, tuple(columns), tuple(shared))
        varying = columns.values()
        if all(len(column) == 1 for column in varying):
            quiet(database, one, [*(c[0] for c in varying), *shared.values()])
        else:
            quiet(database, many, [*shared.values(), *map(_array, varying)])


@functools.cache
def _insert_sql(
    table: str, varying: tuple[str, ...], shared: tuple[str, ...]
) -> tuple[str, str]:
    """Return the statements for one row, and for any number of rows."""
    names = ", ".join(quoted(name) for name in (*varying, *shared))
    marks = ", ".join(["%s"] * len(varying))
    constants = ", ".join(["%s"] * len(shared))
    arrays = ", ".join(["%s::text[]"] * len(varying))
    picked = ", ".join(
        f"v.{name}::jsonb" if name.endswith("_values") else f"v.{name}"
        for name in varying
    )
    return (
        f"INSERT INTO {table} ({names}) VALUES ({marks}, {constants})",
        f"INSERT INTO {table} ({names}) SELECT {picked}, {constants} "
        f"FROM unnest({arrays}) AS v({', '.join(varying)})",
    )


def _array(texts: Sequence[str | None]) -> str | None:
    """Return an array of texts as one literal, which is read faster than a list is.

    None stands for NULLs alone: `unnest` fills up what is shorter than the longest.
    """
    if set(texts) == {None}:
        return None
    return "{" + ",".join([_item(text) for text in texts]) + "}"


def _item(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _aliases(write: Write) -> tuple[str, str, str]:
    """Return the names for OLD and NEW: ours, unless the caller used the default ones.

    A source that is itself called "old" would otherwise be taken for the old row.
    """
    own = "".join(write.rendered.pieces[write.rendered.end[0] + 1 :]).lower()
    if "old." in own or "new." in own:
        return "old", "new", ""
    return '"cm_old"', '"cm_new"', 'WITH (OLD AS "cm_old", NEW AS "cm_new") '


def place_of(table: str) -> str:
    """Return the columns that say where a row is: which partition, and where in it."""
    return f"{table}.tableoid::bigint, {table}.ctid"


def restriction(
    table: str, only: list[tuple[int, Any]] | None
) -> tuple[str, list[Any]]:
    """Return a condition that leaves only the rows at these places, and its values."""
    if only is None:
        return "", []
    tables = [table for table, _ in only]
    rows = [str(row) for _, row in only]
    condition = (
        f"{table}.ctid = ANY(%s::tid[]) AND ({place_of(table)}) IN"
        " (SELECT * FROM unnest(%s::bigint[], %s::tid[]))"
    )
    return condition, [rows, tables, rows]
