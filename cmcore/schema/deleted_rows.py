"""Where soft-deleted rows stay while the columns that mark them are gone.

Rolling 005 back must not bring deleted rows back to life, so they move to a table of
their own, together with the references to them that become NULL. When 005 runs again
they return, and so do the references.
"""

import json
from collections.abc import Sequence
from typing import Any

import peewee

from cmcore.engines.catalog import (
    ForeignKey,
    columns,
    foreign_keys,
    is_sqlite,
    primary_key,
    references_to,
    rows,
    table_exists,
)
from cmcore.engines.introspection import run, run_many
from cmcore.errors import DataLossRefusedError, MigrationError, OrphanRowsError
from cmcore.layout import quoted
from cmcore.schema.columns import names
from cmcore.schema.tables import ALLOW_DATA_LOSS, lock, may_lose_data

_BATCH = 500
_DELETED = '"deleted_at" IS NOT NULL'
# A parked row of PostgreSQL without its JSON, of which Python would lose digits.
_FLAT = """
    (SELECT jsonb_object_agg(key, CASE WHEN jsonb_typeof(value) IN ('array', 'object')
    THEN 'null' ELSE value END)::text FROM jsonb_each(content::jsonb))
"""


def park(db: peewee.Database, tables: Sequence[str], store: str) -> None:
    """Move the soft-deleted rows of tables into `store`; no table where there are none.

    Args:
        db: The database.
        tables: The tables, referring ones before those that they refer to.
        store: The table to move them to; `<store>_links` keeps the references.

    Raises:
        DataLossRefusedError: There are such rows, and nobody agreed to lose sight of
            them.
        MigrationError: Live rows need them.
    """
    lock(db, *tables)
    counts = {
        table: rows(db, f"SELECT count(*) FROM {quoted(table)} WHERE {_DELETED}")[0][0]
        for table in tables
    }
    if not any(counts.values()):
        return
    if not may_lose_data():
        shown = ", ".join(f"{n} row(s) of {table}" for table, n in counts.items() if n)
        msg = (
            f"{shown} are soft-deleted, and without the columns that say so they would "
            f"come back to life. Restore or purge them, or set {ALLOW_DATA_LOSS}=1 to "
            f"move them to {store}, from where they return with the columns."
        )
        raise DataLossRefusedError(msg)
    _create_store(db, store)
    for table in tables:
        _keep_rows(db, table, store)
    for table in tables:
        for reference in references_to(db, table):
            _let_go(db, reference, tables, store)
    for table in tables:
        run(db, f"DELETE FROM {quoted(table)} WHERE {_DELETED}")


def count_parked(db: peewee.Database, table: str, store: str) -> int:
    """Return how many rows of a table are in the store."""
    if not table_exists(db, store):
        return 0
    sql = f"SELECT count(*) FROM {quoted(store)} WHERE table_name = ?"
    return int(rows(db, sql, (table,))[0][0])


def discard(db: peewee.Database, table: str, store: str) -> None:
    """Forget the parked rows of a table, and the store with the last of them."""
    run(db, f"DELETE FROM {quoted(store)} WHERE table_name = ?", (table,))
    run(
        db,
        f"DELETE FROM {quoted(_links(store))} WHERE table_name = ? OR parent = ?",
        (table, table),
    )
    if not rows(db, f"SELECT 1 FROM {quoted(store)} LIMIT 1"):
        _drop_store(db, store)


def _drop_store(db: peewee.Database, store: str) -> None:
    run(db, f"DROP TABLE {quoted(_links(store))}")
    run(db, f"DROP TABLE {quoted(store)}")


def _create_store(db: peewee.Database, store: str) -> None:
    run(
        db,
        f"CREATE TABLE {quoted(store)} (table_name VARCHAR(63) NOT NULL,"
        " row_id VARCHAR(36) NOT NULL, content TEXT NOT NULL,"
        " PRIMARY KEY (table_name, row_id))",
    )
    run(
        db,
        f"CREATE TABLE {quoted(_links(store))} (table_name VARCHAR(63) NOT NULL,"
        " row_key TEXT NOT NULL, column_name VARCHAR(63) NOT NULL,"
        " parent VARCHAR(63) NOT NULL, value TEXT NOT NULL)",
    )


def _links(store: str) -> str:
    return f"{store}_links"


def _keep_rows(db: peewee.Database, table: str, store: str) -> None:
    marks = "(?, ?, ?)"
    sql = f"INSERT INTO {quoted(store)} (table_name, row_id, content) VALUES {marks}"
    if not is_sqlite(db):
        content = (
            f"SELECT id, to_jsonb(t)::text FROM {quoted(table)} t WHERE {_DELETED}"
        )
        run_many(db, sql, [(table, key, row) for key, row in rows(db, content)])
        return
    own = [column.name for column in columns(db, table) if not column.is_generated]
    found = rows(db, f"SELECT {names(own)} FROM {quoted(table)} WHERE {_DELETED}")
    content_of = [dict(zip(own, row, strict=True)) for row in found]
    run_many(
        db,
        sql,
        [(table, row["id"], json.dumps(row, default=_blob)) for row in content_of],
    )


def _blob(value: Any) -> dict[str, str]:
    return {"hex": bytes(value).hex()}


def _unblob(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def _let_go(
    db: peewee.Database, reference: ForeignKey, tables: Sequence[str], store: str
) -> None:
    """Set references of live rows to deleted ones to NULL and note them, or refuse."""
    child, parent = quoted(reference.table), quoted(reference.parent)
    live = f" AND c.{_DELETED.replace('NOT ', '')}" if reference.table in tables else ""
    join = " AND ".join(
        f"p.{quoted(aim)} = c.{quoted(own)}"
        for own, aim in zip(reference.columns, reference.parent_columns, strict=True)
    )
    refers = f"EXISTS (SELECT 1 FROM {parent} p WHERE {join} AND p.{_DELETED}){live}"
    if not rows(db, f"SELECT 1 FROM {child} c WHERE {refers} LIMIT 1"):
        return
    key = primary_key(db, reference.table)
    if reference.on_delete != "SET NULL" or len(key) != 1 or len(reference.columns) > 1:
        _refuse_reference(db, reference, refers)
    column, place = quoted(reference.columns[0]), f"CAST({quoted(key[0])} AS TEXT)"
    run(
        db,
        f"INSERT INTO {quoted(_links(store))}"
        " (table_name, row_key, column_name, parent, value)"
        f" SELECT CAST(? AS VARCHAR(63)), {place}, CAST(? AS VARCHAR(63)),"
        f" CAST(? AS VARCHAR(63)), {column} FROM {child} c WHERE {refers}",
        (reference.table, reference.columns[0], reference.parent),
    )
    run(db, f"UPDATE {child} AS c SET {column} = NULL WHERE {refers}")


def _refuse_reference(db: peewee.Database, reference: ForeignKey, refers: str) -> None:
    own = names(reference.columns)
    sql = f"SELECT DISTINCT {own} FROM {quoted(reference.table)} c WHERE {refers}"
    found = rows(db, f"{sql} ORDER BY {own} LIMIT 20")
    shown = ", ".join(repr(str(value[0])) for value in found)
    msg = (
        f"live rows of {reference.table} refer by {', '.join(reference.columns)} to "
        f"soft-deleted rows of {reference.parent}: {shown}. Restore those, or change "
        "or delete the rows that refer to them, and try again."
    )
    raise MigrationError(msg)


def put_back(db: peewee.Database, tables: Sequence[str], store: str) -> None:
    """Return parked rows to their tables, and drop the store.

    Args:
        db: The database.
        tables: The tables, referred ones before those that refer to them.
        store: Where the rows are; nothing happens where there is no such table.

    Raises:
        OrphanRowsError: A row needs another one which is no longer there.
    """
    if not table_exists(db, store):
        return
    for table in tables:
        _return_rows(db, table, store)
    link = f"FROM {quoted(_links(store))}"
    for table, column, parent in rows(
        db, f"SELECT DISTINCT table_name, column_name, parent {link} ORDER BY 1, 2"
    ):
        _return_links(db, table, column, parent, store)
    _drop_store(db, store)


def _return_rows(db: peewee.Database, table: str, store: str) -> None:
    content = "content" if is_sqlite(db) else _FLAT
    sql = f"SELECT {content} FROM {quoted(store)} WHERE table_name = ? ORDER BY row_id"
    parked = [json.loads(content) for (content,) in rows(db, sql, (table,))]
    if not parked:
        return
    references = foreign_keys(db, table)
    for reference in references:
        _cut_dangling(db, reference, parked)
    known = [c.name for c in columns(db, table) if not c.is_generated]
    own = [name for name in known if name in parked[0]]
    target = f"INSERT INTO {quoted(table)} ({names(own)})"
    if is_sqlite(db):
        marks = ", ".join("?" for _ in own)
        values = [[_unblob(row[name]) for name in own] for row in parked]
        run_many(db, f"{target} VALUES ({marks})", values)
        return
    referring = {reference.columns[0] for reference in references}
    links = {row["id"]: {name: row.get(name) for name in referring} for row in parked}
    run(
        db,
        f"{target} SELECT {names(own)} FROM {quoted(store)} s, jsonb_populate_record("
        f"NULL::{quoted(table)}, s.content::jsonb || (?::jsonb -> s.row_id)) r"
        " WHERE s.table_name = ?",
        (json.dumps(links), table),
    )


def _cut_dangling(
    db: peewee.Database, reference: ForeignKey, parked: list[dict[str, Any]]
) -> None:
    """Set references to rows that went away meanwhile to NULL, or refuse."""
    column, aim = reference.columns[0], reference.parent_columns[0]
    wanted = {row[column] for row in parked if row.get(column) is not None}
    there = _existing(db, reference.parent, aim, sorted(wanted))
    if reference.parent == reference.table:
        there |= {row[aim] for row in parked}
    dangling = [row for row in parked if row.get(column) in wanted - there]
    if dangling and reference.on_delete != "SET NULL":
        shown = ", ".join(repr(row["id"]) for row in dangling[:20])
        msg = (
            f"{len(dangling)} parked row(s) of {reference.table} refer by {column} to "
            f"rows of {reference.parent} that are gone: {shown}. Create those rows, "
            "and run again."
        )
        raise OrphanRowsError(msg)
    for row in dangling:
        row[column] = None


def _existing(
    db: peewee.Database, table: str, column: str, values: Sequence[Any]
) -> set[Any]:
    found: set[Any] = set()
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        marks = ", ".join("?" for _ in batch)
        sql = f"SELECT {quoted(column)} FROM {quoted(table)}"
        condition = f" WHERE {quoted(column)} IN ({marks})"
        found |= {value for (value,) in rows(db, sql + condition, batch)}
    return found


def _return_links(
    db: peewee.Database, table: str, column: str, parent: str, store: str
) -> None:
    """Let rows refer again to what returned, unless they refer elsewhere by now."""
    key = primary_key(db, table)
    if len(key) != 1 or all(known.name != column for known in columns(db, table)):
        return
    own, place = quoted(column), f"CAST({quoted(key[0])} AS TEXT)"
    link = (
        f"FROM {quoted(_links(store))} l WHERE l.table_name = ? AND l.column_name = ?"
        f" AND l.row_key = {place} AND EXISTS"
        f' (SELECT 1 FROM {quoted(parent)} p WHERE p."id" = l.value)'
    )
    run(
        db,
        f"UPDATE {quoted(table)} SET {own} = (SELECT l.value {link})"
        f" WHERE {own} IS NULL AND EXISTS (SELECT 1 {link})",
        (table, column) * 2,
    )
