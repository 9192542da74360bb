"""The table of the trail from outside: its anatomy, its rows, and rows of any time."""

# ruff: noqa: S608 - constants of this test

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import peewee

from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run, run_many
from cmcore.engines.partitioning import pieces

_PARTS = {
    "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull,"
    " attstorage, attcompression, pg_get_expr(adbin, adrelid), attacl::text,"
    " col_description(attrelid, attnum) FROM pg_attribute LEFT JOIN pg_attrdef"
    " ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid = {table} AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    "constraints": "SELECT conname, pg_get_constraintdef(oid), convalidated, conislocal"
    " FROM pg_constraint WHERE conrelid = {table} ORDER BY 1",
    "indexes": "SELECT relname, pg_get_indexdef(indexrelid), indisvalid"
    " FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE indrelid = {table} ORDER BY 1",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid), tgenabled FROM pg_trigger"
    " WHERE tgrelid = {table} AND NOT tgisinternal ORDER BY 1",
    "table": "SELECT relkind::text, relowner::regrole::text,"
    " COALESCE(relacl, acldefault('r', relowner))::text,"
    " obj_description(oid, 'pg_class') FROM pg_class WHERE oid = {table}",
    "relations": "SELECT relname, relkind::text FROM pg_class WHERE relnamespace"
    " = quote_ident(current_schema())::regnamespace ORDER BY 1",
}


def anatomy(db: peewee.Database, table: str = "audit_logs") -> dict[str, Any]:
    """Return everything that a table consists of, on PostgreSQL."""
    return {
        name: rows(db, sql.replace("{table}", f"'{table}'::regclass"))
        for name, sql in _PARTS.items()
    }


def add(db: peewee.Database, moments: Iterable[datetime], prefix: str = "e") -> None:
    """Insert an entry for each moment, as other programs would."""
    sql = (
        "INSERT INTO audit_logs (id, action, resource_type, description, created_at,"
        " updated_at) VALUES (?, 'create', 'invoices', 'Made by a test.', ?, ?)"
    )
    texts = [moment.isoformat(" ", "microseconds") for moment in moments]
    run_many(db, sql, [(f"{prefix}{i:06}", text, text) for i, text in enumerate(texts)])


def run_out(db: peewee.Database) -> None:
    """Leave the default partition, and one that ends with this month; without rows."""
    for piece in pieces(db, "audit_logs"):
        if not piece.is_default:
            run(db, f"DROP TABLE {piece.name}")
    run(
        db,
        "CREATE TABLE audit_logs_so_far PARTITION OF audit_logs FOR VALUES FROM"
        " (MINVALUE) TO ((date_trunc('month', now() AT TIME ZONE 'UTC')"
        " + interval '1 month') AT TIME ZONE 'UTC')",
    )


def content(db: peewee.Database, table: str = "audit_logs") -> list[Any]:
    """Return all rows of a table, in order."""
    return rows(db, f"SELECT * FROM {table} ORDER BY created_at, id")


def places(db: peewee.Database) -> dict[str, int]:
    """Return how many entries lie in which partition."""
    found = rows(db, "SELECT tableoid::regclass::text FROM audit_logs")
    return dict(Counter(name for (name,) in found))


def day(year: int, month: int, day_of_month: int = 1, **time: int) -> datetime:
    """Return a moment in UTC."""
    return datetime(year, month, day_of_month, tzinfo=UTC, **time)
