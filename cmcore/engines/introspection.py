"""The words in which both engines' catalogs are told, and how they are read.

Everything is read through a raw cursor: no line in the `peewee` logger, no query hook.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import peewee

from cmcore.engines.ddl import words

_translated: Any = vars(peewee)["__exception_wrapper__"]


class Column(NamedTuple):
    """A column; `default` is SQL text, without the casts that PostgreSQL adds."""

    name: str
    type: str
    null: bool
    default: str | None
    is_generated: bool = False


class ForeignKey(NamedTuple):
    """A foreign key from `columns` of `table` to `parent_columns` of `parent`."""

    name: str | None
    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str
    on_update: str
    is_valid: bool = True


class Check(NamedTuple):
    """A CHECK constraint; SQLite's limits of length have no name."""

    name: str | None
    expression: str
    is_valid: bool = True


class Index(NamedTuple):
    """An index other than the primary key's; an expression stands for a column."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool
    predicate: str | None
    is_valid: bool = True


class Table(NamedTuple):
    """All of a table that two databases have to agree about, sorted by name.

    Two of them compare equal if the tables are the same, whatever the order in which
    their columns and constraints were made.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    checks: tuple[Check, ...]
    indexes: tuple[Index, ...]


def is_sqlite(db: peewee.Database) -> bool:
    """Tell SQLite from PostgreSQL, which is the only other engine there is."""
    return isinstance(db, peewee.SqliteDatabase)


def is_in_memory(db: Any) -> bool:
    """Tell whether the data goes when the connection is closed."""
    name = str(db.database)
    return is_sqlite(db) and (not name or ":memory:" in name or "mode=memory" in name)


def rows(db: peewee.Database, sql: str, params: Sequence[Any] = ()) -> list[Any]:
    """Read through a raw cursor; a parameter is a question mark on both engines."""
    with _translated:
        cursor: Any = db.cursor()
        cursor.execute(*_for_driver(db, sql, params))
        return list(cursor.fetchall())


def run(db: peewee.Database, sql: str, params: Sequence[Any] = ()) -> Any:
    """Execute a statement in view of peewee, in the dialect of `rows`."""
    return db.execute_sql(*_for_driver(db, sql, params, doubled=True))


def run_many(db: peewee.Database, sql: str, batch: Sequence[Sequence[Any]]) -> int:
    """Execute one statement for each row of parameters; return how many it wrote."""
    with _translated:
        cursor: Any = db.cursor()
        cursor.executemany(_for_driver(db, sql, (None,))[0], batch)
    return int(cursor.rowcount)


def _for_driver(
    db: peewee.Database, sql: str, params: Sequence[Any], *, doubled: bool = False
) -> tuple[Any, ...]:
    """Return what a driver takes.

    PostgreSQL's drivers look for percent signs once they get parameters, be it none,
    which peewee always passes on: then those in the text are `doubled`. A question mark
    is a parameter only where there are parameters, else it may be part of a pattern.
    """
    if not is_sqlite(db) and (params or doubled):
        sql = sql.replace("%", "%%")
        sql = sql.replace("?", "%s") if params else sql
    return (sql, params) if params else (sql,)


def normal(sql: str | None) -> str | None:
    """Return an expression without quotes, parentheses, and spaces that vary."""
    if sql is None:
        return None
    return " ".join(token.name for token in words(sql) if token.text not in {"(", ")"})
