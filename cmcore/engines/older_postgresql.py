"""PostgreSQL before 18, whose RETURNING does not give old values.

An UPDATE joins its own old rows, locked by a common table expression: still one
statement. An upsert is tried once and undone, to learn which rows stand in its way.
"""

from typing import Any

from cmcore.engines.capture import Captured, Pair, Write
from cmcore.engines.execution import quiet
from cmcore.engines.postgresql import Postgresql, restriction

_ATTEMPTS = 5


class OlderPostgresql(Postgresql):
    """The engine of PostgreSQL servers before version 18."""

    def _update(self, write: Write) -> Captured:
        only = self.shown_to_hooks(write) if write.before else None
        layout, rendered = write.layout, write.rendered
        table, n = layout.qualifier, len(layout.columns)
        keys = [layout.columns[i] for i in layout.keys] or ["tableoid", "ctid"]
        old_rows, old_values = _old_rows(write, keys, only)
        ctes, cte_values = rendered.with_clause()
        begin = rendered.ctes.stop if rendered.ctes else (0, 0)
        verb = (begin[0] + 1, begin[1]) if rendered.ctes else begin
        joined = " AND ".join(
            f'{table}.{key} = "cm_old".cmk{i}' for i, key in enumerate(keys)
        )
        body_end = rendered.tail
        if rendered.where is not None:
            body_end = (rendered.where.start[0] - 1, rendered.where.start[1])
            own, _ = rendered.clause(rendered.where)
            joined = f"({own}) AND {joined}"
        returned = ", ".join(f'"cm_old".cm{i}' for i in range(n))
        returned += f", {layout.qualified_columns(table)}"
        own_returning = "".join(rendered.pieces[rendered.end[0] + 1 :])
        sql = (
            f"{ctes.rstrip() + ', ' if ctes else 'WITH '}{old_rows} "
            f"{rendered.text(verb, body_end)}"
            f'{", " if rendered.sources else " FROM "}"cm_old" WHERE {joined} '
            f"RETURNING {own_returning}{', ' if own_returning else ''}{returned}"
        )
        values = [*cte_values, *old_values, *rendered.values[verb[1] :]]
        cursor, rows = self.send(write, sql, values, 2 * n)
        return Captured(cursor, [(row[:n], row[n:]) for row in rows])

    def upsert_now(self, write: Write) -> Captured:
        """Run an upsert; the old values are those that were locked just before it.

        A row that appears in between would be updated without its old values: then
        all is undone and tried again.
        """
        database, columns = write.database, write.layout.columns
        extra = f"(xmax = 0), {', '.join(columns)}"
        for attempt in range(_ATTEMPTS):
            held = self.held(write, self.tried(write))
            quiet(database, "SAVEPOINT cm_upsert")
            cursor, rows = self.run_returning(write, extra, len(columns) + 1)
            pairs: list[Pair] = []
            lost = False
            for row in rows:
                new = row[1:]
                old = None if row[0] else held.get(self.identity(write, new))
                lost = lost or (old is None and not row[0])
                pairs.append((old, new))
            if lost and attempt < _ATTEMPTS - 1:
                quiet(database, "ROLLBACK TO SAVEPOINT cm_upsert")
            quiet(database, "RELEASE SAVEPOINT cm_upsert")
            if not lost:
                break
        return Captured(cursor, pairs)


def _old_rows(
    write: Write, keys: list[str], only: list[Any] | None
) -> tuple[str, list[Any]]:
    """Return the expression that locks and reads the rows to be updated."""
    layout, rendered = write.layout, write.rendered
    table = layout.qualifier
    picked = [f"{table}.{c} AS cm{i}" for i, c in enumerate(layout.columns)]
    picked += [f"{table}.{key} AS cmk{i}" for i, key in enumerate(keys)]
    sources, source_values = rendered.clause(rendered.sources, ", ")
    where, where_values = rendered.clause(rendered.where)
    condition, only_values = restriction(table, only)
    conditions = [f"({text})" for text in (where, condition) if text]
    filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = (
        f'"cm_old" AS (SELECT {", ".join(picked)} FROM {layout.table_sql}{sources}'
        f"{filtered} FOR UPDATE OF {table})"
    )
    return sql, [*source_values, *where_values, *only_values]
