"""Drop a table, unless rows would be lost or something else would break."""

import peewee

from cmcore.engines.catalog import is_sqlite, references_to, rows
from cmcore.engines.ddl import literal, words
from cmcore.engines.introspection import run
from cmcore.errors import DataLossRefusedError, MigrationError
from cmcore.layout import quoted
from cmcore.schema.deleted_rows import count_parked, discard
from cmcore.schema.tables import ALLOW_DATA_LOSS, lock, may_lose_data


def drop_table(
    db: peewee.Database, table: str, *, spare: str | None, parked_in: str | None
) -> None:
    """Drop a table, unless it has rows, or something else depends on it.

    Args:
        db: The database.
        table: The table's name.
        spare: The id of a row that does not count.
        parked_in: The table where another script parked rows of this one. They count,
            and they go as well.
    """
    lock(db, table)
    _refuse_to_lose_rows(db, table, spare, parked_in)
    _refuse_to_break(db, table)
    views = _working_views(db)
    try:
        run(db, f"DROP TABLE {quoted(table)}")
    except peewee.DatabaseError as error:
        msg = f"{table} cannot be dropped: {str(error).strip()}"
        raise MigrationError(msg) from error
    broken = views - _working_views(db)
    if broken:
        msg = f"the view {', '.join(sorted(broken))} needs {table}. Drop it first."
        raise MigrationError(msg)


def _refuse_to_lose_rows(
    db: peewee.Database, table: str, spare: str | None, parked_in: str | None
) -> None:
    sql = f"SELECT count(*) FROM {quoted(table)}"
    condition = f" WHERE id <> {literal(spare)}" if spare else ""
    count: int = rows(db, sql + condition)[0][0]
    parked = count_parked(db, table, parked_in) if parked_in else 0
    if (count or parked) and not may_lose_data():
        also = f" and {parked} parked in {parked_in}" if parked else ""
        msg = (
            f"{table} has {count} row(s){also}, which would be lost. Save them, and "
            f"set {ALLOW_DATA_LOSS}=1 if they may go."
        )
        raise DataLossRefusedError(msg)
    if parked_in and parked:
        discard(db, table, parked_in)


def _refuse_to_break(db: peewee.Database, table: str) -> None:
    keys = [key for key in references_to(db, table) if key.table != table]
    if keys:
        shown = ", ".join(f"{key.table}.{key.columns[0]}" for key in keys)
        msg = f"foreign keys refer to {table}: {shown}. Drop them first."
        raise MigrationError(msg)
    triggers = _triggers_elsewhere(db, table) if is_sqlite(db) else []
    if triggers:
        msg = f"the trigger {', '.join(triggers)} mentions {table}. Drop it first."
        raise MigrationError(msg)


def _triggers_elsewhere(db: peewee.Database, table: str) -> list[str]:
    found = rows(
        db,
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        " AND lower(tbl_name) <> lower(?) ORDER BY name",
        (table,),
    )
    return [
        name
        for name, sql in found
        if any(piece.name.lower() == table.lower() for piece in words(sql))
    ]


def _working_views(db: peewee.Database) -> set[str]:
    """Return the views that can be read; PostgreSQL looks after its own."""
    if not is_sqlite(db):
        return set()
    views = rows(db, "SELECT name FROM sqlite_master WHERE type = 'view'")
    return {name for (name,) in views if _can_be_read(db, name)}


def _can_be_read(db: peewee.Database, view: str) -> bool:
    try:
        rows(db, f"SELECT 1 FROM {quoted(view)} LIMIT 0")
    except peewee.DatabaseError:
        return False
    return True
