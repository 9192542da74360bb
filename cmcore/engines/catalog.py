"""What a database says about itself, in the same words on both engines.

Everything is read through a raw cursor, so that nothing shows in the `peewee` logger,
and nothing here can abort a transaction of PostgreSQL.
"""

from typing import cast

import peewee

from cmcore.engines import postgresql_catalog as postgresql
from cmcore.engines import sqlite_catalog as sqlite
from cmcore.engines.introspection import (
    Check,
    Column,
    ForeignKey,
    Index,
    Table,
    is_sqlite,
    rows,
)

__all__ = [
    "Check",
    "Column",
    "ForeignKey",
    "Index",
    "Table",
    "check_constraints",
    "columns",
    "describe",
    "foreign_keys",
    "indexes",
    "is_sqlite",
    "primary_key",
    "references_to",
    "rows",
    "table_comment",
    "table_exists",
    "taken_names",
]


def table_exists(db: peewee.Database, name: str) -> bool:
    """Tell whether there is a table or a view of that name."""
    read = sqlite.table_exists if is_sqlite(db) else postgresql.table_exists
    return read(db, name)


def taken_names(db: peewee.Database, *names: str) -> list[str]:
    """Return those of the names that a table, view or index has already."""
    read = sqlite.taken_names if is_sqlite(db) else postgresql.taken_names
    return read(db, names)


def columns(db: peewee.Database, table: str) -> list[Column]:
    """Return the table's columns in their order."""
    read = sqlite.columns if is_sqlite(db) else postgresql.columns
    return read(db, table)


def primary_key(db: peewee.Database, table: str) -> tuple[str, ...]:
    """Return the columns of the primary key, none if there is no declared one."""
    read = sqlite.primary_key if is_sqlite(db) else postgresql.primary_key
    return read(db, table)


def indexes(db: peewee.Database, table: str) -> list[Index]:
    """Return the indexes other than the primary key's, predicates included."""
    read = sqlite.indexes if is_sqlite(db) else postgresql.indexes
    return read(db, table)


def foreign_keys(db: peewee.Database, table: str) -> list[ForeignKey]:
    """Return the foreign keys of the table, with names on both engines."""
    read = sqlite.foreign_keys if is_sqlite(db) else postgresql.foreign_keys
    return read(db, table)


def check_constraints(db: peewee.Database, table: str) -> list[Check]:
    """Return the CHECK constraints of the table."""
    read = sqlite.checks if is_sqlite(db) else postgresql.checks
    return read(db, table)


def references_to(db: peewee.Database, table: str) -> list[ForeignKey]:
    """Return the foreign keys of all tables, its own included, that aim at this one."""
    if not is_sqlite(db):
        return postgresql.references_to(db, table)
    found = rows(
        db,
        "SELECT DISTINCT m.name FROM sqlite_master m, pragma_foreign_key_list(m.name) f"
        " WHERE m.type = 'table' AND lower(f.\"table\") = lower(?) ORDER BY m.name",
        (table,),
    )
    return [
        key
        for (name,) in found
        for key in sqlite.foreign_keys(db, name)
        if key.parent.lower() == table.lower()
    ]


def table_comment(db: peewee.Database | peewee.Proxy, table: str) -> str | None:
    """Return the comment of a table, None if it has none or does not exist.

    PostgreSQL keeps it as such; on SQLite, which has no comments, it is the one that
    opens the list of columns in the table's definition.
    """
    if isinstance(db, peewee.Proxy):
        db = cast("peewee.Database", db.obj)
    if not table_exists(db, table):
        return None
    read = sqlite.comment if is_sqlite(db) else postgresql.comment
    return read(db, table)


def describe(db: peewee.Database, table: str) -> Table:
    """Return all of a table that two databases have to agree about."""
    return Table(
        table,
        tuple(sorted(columns(db, table))),
        primary_key(db, table),
        tuple(sorted(foreign_keys(db, table), key=lambda key: key.columns)),
        tuple(sorted(check_constraints(db, table), key=lambda check: check.expression)),
        tuple(sorted(indexes(db, table))),
    )
