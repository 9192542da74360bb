"""PostgreSQL: rows as lines of JSON."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cached_property

from cmcore.engines.introspection import Column, rows, run
from cmcore.engines.lines import Line, Lines, names_of, referred
from cmcore.layout import quoted

_MOMENT = "timestamp with time zone"
_ISO = """'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'"""


class PostgresqlLines(Lines):
    """A table of PostgreSQL as lines; its types tell what they hold."""

    byte_order = ' COLLATE "C"'
    for_update = " FOR UPDATE OF r"

    def bound(self, moment: datetime) -> datetime:
        """Return the moment, which the driver knows."""
        return moment

    def is_json(self, column: Column) -> bool:
        """Tell whether a column holds JSON."""
        return column.type in {"json", "jsonb"}

    @cached_property
    def source(self) -> str:
        """The SQL of the columns of a `Line`, and where they are from."""
        parts = []
        for column in self.ordered:
            name = quoted(column.name)
            if column.type == _MOMENT:
                parts.append(f"to_char(r.{name} AT TIME ZONE 'UTC', {_ISO}) AS {name}")
            else:
                parts.append(f"r.{name}")
        return (
            "r.created_at, r.id, row_to_json(e)::text"
            f" FROM {quoted(self.table)} r"
            f" CROSS JOIN LATERAL (SELECT {', '.join(parts)}) e"
        )

    def batch(
        self,
        start: datetime,
        end: datetime,
        after: Line | None,
        size: int,
        *,
        is_locked: bool = False,
    ) -> list[Line]:
        """Return the next rows, by the index whatever the planner knows of the month.

        Where it believes that there are few, as after a restore, it would sort all that
        is left for each batch.
        """
        with self.db.atomic():
            rows(self.db, "SELECT set_config('enable_sort', 'off', true)")
            return super().batch(start, end, after, size, is_locked=is_locked)

    def months(self, before: datetime | None = None) -> list[tuple[str, str, int]]:
        """Return how many rows each month has in each partition."""
        condition, values = self.earlier(before)
        return rows(
            self.db,
            "SELECT c.relname::text, to_char(m.month, 'YYYY_MM'), m.count FROM"
            " (SELECT r.tableoid, date_trunc('month', r.created_at AT TIME ZONE 'UTC')"
            f" AS month, count(*) FROM {quoted(self.table)} r{condition} GROUP BY 1, 2)"
            " AS m JOIN pg_class c ON c.oid = m.tableoid ORDER BY m.month, c.relname",
            values,
        )

    def size(self, name: str) -> int:
        """Return the bytes of a table with its indexes and its long values."""
        sql = "SELECT pg_total_relation_size(to_regclass(quote_ident(?)))"
        return int(rows(self.db, sql, (name,))[0][0])

    def remove(self, lines: Sequence[Line]) -> int:
        """Remove rows by their keys, looking at this stretch of time alone."""
        moments = [line.created_at for line in lines]
        cursor = run(
            self.db,
            f"DELETE FROM {quoted(self.table)} r"
            " USING unnest(?::timestamptz[], ?::text[]) AS k(created_at, id)"
            " WHERE r.created_at BETWEEN ? AND ?"
            " AND r.created_at = k.created_at AND r.id = k.id",
            [moments, [line.id for line in lines], moments[0], moments[-1]],
        )
        return int(cursor.rowcount)

    def insert(self, texts: Sequence[str], names: Collection[str]) -> int:
        """Insert rows that are not there yet."""
        table = quoted(self.table)
        own = self.insertable(names)
        values = [
            referred(f"r.{quoted(name)}", self.references.get(name)) for name in own
        ]
        cursor = run(
            self.db,
            f"INSERT INTO {table} ({names_of(own)}) SELECT {', '.join(values)}"
            f" FROM json_populate_recordset(NULL::{table}, ?::json) r"
            f"{self.unless_there}",
            [f"[{','.join(texts)}]"],
        )
        return int(cursor.rowcount)
