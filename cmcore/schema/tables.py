"""Make and change tables, each in the way of its engine.

Every function runs inside the transaction of a script that `guard` has prepared. One
that refuses raises `MigrationError`, and the runner's transaction undoes the rest.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import peewee

from cmcore.engines.catalog import (
    indexes,
    is_sqlite,
    references_to,
    rows,
    table_exists,
    taken_names,
)
from cmcore.engines.ddl import literal
from cmcore.engines.introspection import run
from cmcore.engines.postgresql_catalog import parts_on_columns
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.schema import present
from cmcore.schema.columns import Column, NewIndex, names
from cmcore.schema.guard import LOCK_TIMEOUT, is_lock_conflict
from cmcore.schema.rebuild import rebuild

ALLOW_DATA_LOSS = "CMCORE_ALLOW_DATA_LOSS"

# Shorter than the second after which PostgreSQL ends a deadlock by an error.
LOCK_WAIT = "500ms"
LOCK_ATTEMPTS = 10
_TABLES = ("users", "customers", "audit_logs")


def may_lose_data() -> bool:
    """Tell whether whoever runs the script agreed to lose rows."""
    return os.environ.get(ALLOW_DATA_LOSS) == "1"


class NewTable(NamedTuple):
    """A table to be created; without rowids where `has_rowid` is false.

    Writing a table without rowids leaves SQLite's last_insert_rowid alone.
    """

    name: str
    columns: Sequence[Column]
    comment: str
    has_rowid: bool


def create_table(
    db: peewee.Database, table: NewTable, constraints: Mapping[str, str]
) -> None:
    """Create a table, unless there is something of its name.

    SQLite keeps the comment in the text of the definition.
    """
    refuse_taken(db, table.name, f"{table.name}_pkey")
    if not is_sqlite(db) and _encoding(db) == "SQL_ASCII":
        msg = (
            "This PostgreSQL database has the encoding SQL_ASCII, in which lengths "
            "count bytes instead of characters. Use a database with UTF8."
        )
        raise MigrationError(msg)
    all_constraints = {**foreign_keys(table.name, table.columns), **constraints}
    lines = [column.sql(sqlite=is_sqlite(db)) for column in table.columns]
    lines += [
        f"CONSTRAINT {quoted(name)} {definition}"
        for name, definition in all_constraints.items()
    ]
    head, body = f"CREATE TABLE {quoted(table.name)} (", ",\n  ".join(lines)
    if is_sqlite(db):
        tail = "" if table.has_rowid else " WITHOUT ROWID"
        run(db, f"{head}\n  /* {table.comment} */\n  {body}){tail}")
        return
    run(db, f"{head}\n  {body})")
    run(db, f"COMMENT ON TABLE {quoted(table.name)} IS {literal(table.comment)}")


def _encoding(db: peewee.Database) -> str:
    return str(rows(db, "SHOW server_encoding")[0][0])


def refuse_taken(db: peewee.Database, *wanted: str) -> None:
    """Refuse if a table, view or index has one of the names."""
    taken = taken_names(db, *wanted)
    if taken:
        raise MigrationError(taken_text(taken))


def taken_text(taken: Sequence[str]) -> str:
    """Say what is in the way, and what can be done about it."""
    it = "it" if len(taken) == 1 else "them"
    cure = f"Rename {it}"
    if not any("audit" in name for name in taken):
        cure += (
            ", or keep the trail alone in this database: `cmcore migrate --trail-only`,"
            " or cmcore.migrate(db, trail_only=True)"
        )
    names = ", ".join(taken)
    return f"the database has {names} already, and cmcore did not make {it}. {cure}."


def foreign_keys(table: str, columns: Iterable[Column]) -> dict[str, str]:
    """Return names and definitions of the foreign keys that the columns have."""
    return {
        column.constraint_name(table): column.foreign_key
        for column in columns
        if column.on_delete
    }


def create_index(db: peewee.Database, index: NewIndex) -> None:
    """Create an index, unless there is something of its name that is another one."""
    if present.has_index(db, index):
        return
    if present.has_index(db, index, is_valid=False):
        run(db, f"DROP INDEX {quoted(index.name)}")
    refuse_taken(db, index.name)
    run(db, index.sql())


def replace_index(db: peewee.Database, index: NewIndex) -> None:
    """Put an index in the place of the one of its name."""
    if present.has_index(db, index):
        return
    drop_index(db, index.name, index.table)
    if present.has_index(db, index.beside):
        run(db, index_renaming(index))
        return
    if present.has_index(db, index.beside, is_valid=False):
        run(db, f"DROP INDEX {quoted(index.beside.name)}")
    create_index(db, index)


def index_renaming(index: NewIndex) -> str:
    """Return the statement after which a finished index has its own name."""
    return f"ALTER INDEX {quoted(index.beside.name)} RENAME TO {quoted(index.name)}"


def drop_index(db: peewee.Database, name: str, table: str) -> None:
    """Drop an index, unless foreign keys need it to be unique."""
    lock_all(db)
    refuse_to_drop_index(db, name, table)
    run(db, f"DROP INDEX {quoted(name)}")


def refuse_to_drop_index(db: peewee.Database, name: str, table: str) -> None:
    """Refuse if foreign keys need an index to be unique."""
    columns = {i.name: set(i.columns) for i in indexes(db, table)}.get(name)
    needing = [
        f"{key.table}.{key.columns[0]}"
        for key in references_to(db, table)
        if set(key.parent_columns) == columns
    ]
    if needing:
        msg = f"foreign keys need {name}: {', '.join(needing)}. Drop them first."
        raise MigrationError(msg)


def add_columns(db: peewee.Database, table: str, columns: Sequence[Column]) -> None:
    """Add columns, with the foreign keys that they have."""
    head = f"ALTER TABLE {quoted(table)} "
    if is_sqlite(db):
        # At the column, so that the column can be dropped again with its constraint.
        for column in columns:
            constraint = (
                f" CONSTRAINT {quoted(column.constraint_name(table))}"
                f" {column.references}"
                if column.on_delete
                else ""
            )
            run(db, f"{head}ADD COLUMN {column.sql(sqlite=True)}{constraint}")
        return
    new = present.missing_columns(db, table, columns)
    parts = [f"ADD COLUMN {column.sql(sqlite=False)}" for column in new]
    parts += _constraint_parts(db, table, foreign_keys(table, columns))
    if parts:
        lock_all(db)
        run(db, head + ", ".join(parts))


def drop_columns(db: peewee.Database, table: str, columns: Sequence[str]) -> None:
    """Drop columns, the last one first; their indexes must be gone.

    What an application made on them is no less in the way, though PostgreSQL would drop
    it as well.
    """
    ours = {f"fk_{table}_{column}" for column in columns}
    theirs = [] if is_sqlite(db) else parts_on_columns(db, table, columns, ours)
    if theirs:
        msg = f"{', '.join(theirs)} would go with columns of {table}. Drop it first."
        raise MigrationError(msg)
    lock_all(db)
    for column in reversed(columns):
        run(db, f"ALTER TABLE {quoted(table)} DROP COLUMN {quoted(column)}")


def add_constraints(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> None:
    """Add named constraints: on PostgreSQL in one statement, on SQLite by a rebuild."""
    if is_sqlite(db):
        rebuild(db, table, add=constraints)
        return
    parts = _constraint_parts(db, table, constraints)
    if parts:
        if any(text.startswith("CHECK") for text in constraints.values()):
            lock_all(db)
        run(db, f"ALTER TABLE {quoted(table)} {', '.join(parts)}")


def _constraint_parts(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> list[str]:
    missing, unchecked = present.missing_constraints(db, table, constraints)
    added = [f"ADD CONSTRAINT {quoted(n)} {text}" for n, text in missing.items()]
    return added + [f"VALIDATE CONSTRAINT {quoted(name)}" for name in unchecked]


def drop_constraints(
    db: peewee.Database, table: str, constraints: Sequence[str]
) -> None:
    """Drop named constraints."""
    if is_sqlite(db):
        rebuild(db, table, drop=constraints)
        return
    lock_all(db)
    parts = [f"DROP CONSTRAINT {quoted(name)}" for name in constraints]
    run(db, f"ALTER TABLE {quoted(table)} {', '.join(parts)}")


def lock_all(db: peewee.Database) -> None:
    """Keep everybody else away from all tables of cmcore until the script ends.

    Who writes to one of them writes to the trail next, and refers to users. A script
    that took one table after the other would end in a deadlock with them.
    """
    lock(db, *(table for table in _TABLES if table_exists(db, table)))


def lock(db: Any, *tables: str, mode: str = "ACCESS EXCLUSIVE") -> None:
    """Keep others away from tables until the script ends: from all, or from none yet.

    While one of them is not to be had, those that are go back, so that whoever holds
    it can come to an end. SQLite's write lock is held already.
    """
    for attempt in range(0 if is_sqlite(db) else LOCK_ATTEMPTS):
        try:
            with db.atomic():
                run(db, f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
                run(db, f"LOCK TABLE {names(tables)} IN {mode} MODE")
        except peewee.OperationalError as error:
            if not is_lock_conflict(error) or attempt + 1 == LOCK_ATTEMPTS:
                raise
        else:
            run(db, f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            return
