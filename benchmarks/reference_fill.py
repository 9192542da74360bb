"""Databases with a business in them, which have no indexes yet."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import peewee
from reference_data import Business, Rows

import cmcore
from cmcore.engines.catalog import indexes, is_sqlite
from cmcore.engines.partitioning import pieces
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL, add_month, detach

TABLES = ("users", "customers", "audit_logs")
DEFINITIONS = {
    True: "SELECT name, sql FROM sqlite_master WHERE type = 'index'",
    False: "SELECT indexname, indexdef FROM pg_indexes",
}


@contextlib.contextmanager
def opened(url: str) -> Iterator[peewee.Database]:
    """Open a database for the length of a block."""
    with contextlib.closing(cmcore.connect(url)) as database:
        yield database


def fill_bare(url: str, business: Business) -> list[str]:
    """Fill an empty database, and return how to make the indexes that it should have.

    It has no index but those of the primary keys.
    """
    with opened(url) as database:
        cmcore.migrate(database)
        names = [i.name for table in TABLES for i in indexes(database, table)]
        known = dict(database.execute_sql(DEFINITIONS[is_sqlite(database)]).fetchall())
        for name in names:
            database.execute_sql(f'DROP INDEX "{name}"')
        for rows in business.tables():
            insert(database, rows)
        return [known[name] for name in names]


def convert(url: str) -> None:
    """Partition the trail; all that is there is one partition."""
    with opened(url) as database:
        cmcore.partitions.convert(database)


def divide(url: str, business: Business) -> None:
    """Let each month be a partition of its own."""
    with opened(url) as database:
        (old,) = (p.name for p in pieces(database, TRAIL) if "before" in p.name)
        detach(database, old)
        month = Month.of(business.start)
        while month <= Month.of(business.end):
            add_month(database, month)
            month = month.shifted(1)
        database.execute_sql(f"INSERT INTO audit_logs SELECT * FROM {old}")  # noqa: S608
        database.execute_sql(f"DROP TABLE {old}")


def insert(database: peewee.Database, rows: Rows) -> None:
    """Insert rows in the fastest way that the engine has."""
    connection: Any = database.connection()
    columns = ", ".join(rows.columns)
    target = f"{rows.table} ({columns})"
    if is_sqlite(database):
        marks = ", ".join("?" * len(rows.columns))
        sql = f"INSERT INTO {target} VALUES ({marks})"  # noqa: S608
        with database.atomic():
            connection.executemany(sql, rows.values)
        return
    for chunk in peewee.chunked(rows.values, 20_000):
        text = "".join("\t".join(map(_copied, row)) + "\n" for row in chunk)
        connection.cursor().copy_expert(f"COPY {target} FROM STDIN", io.StringIO(text))
        connection.commit()


def _copied(value: Any) -> str:
    """Return a value as COPY reads it."""
    return r"\N" if value is None else str(value).replace("\\", r"\\")


def settle(database: peewee.Database) -> None:
    """Give the planner its statistics, and have nothing left to write."""
    if is_sqlite(database):
        database.execute_sql("ANALYZE")
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        execute(database, "VACUUM ANALYZE", "CHECKPOINT")


def execute(database: Any, *statements: str) -> None:
    """Execute statements outside any transaction."""
    for statement in statements:
        database.execute_sql(statement)
