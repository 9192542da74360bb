"""Partitions of single months on their way out: attached, detached, dropped."""

import functools

import peewee

from cmcore.engines.catalog import columns, primary_key
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import PARTED_BY, needed_by, pieces, tables_beside
from cmcore.layout import quoted
from cmcore.partitions.entries import entries_of
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL
from cmcore.schema.patience import BRIEFLY, attempt

_KEY = ("id", PARTED_BY)


def detached_months(db: peewee.Database) -> dict[Month, int]:
    """Return the months whose tables a killed run has detached, and their rows.

    Such a table has the name of a partition, its columns and its key, and no entry of
    another month.
    """
    found = {}
    for name in tables_beside(db, TRAIL):
        month = Month.named(name.removeprefix(f"{TRAIL}_"))
        if month and name == table_of(month) and _looks_like_a_piece(db, name):
            counts = entries_of(db, name).months()
            if {text for _, text, _ in counts} <= {str(month)}:
                found[month] = sum(count for _, _, count in counts)
    return found


def table_of(month: Month) -> str:
    """Return the name of the table that has the entries of one month alone."""
    return f"{TRAIL}_{month}"


def has_piece(db: peewee.Database, month: Month) -> bool:
    """Tell whether a month is a partition of its own, which a later run would know."""
    wanted = (table_of(month), month.start, month.end)
    found = any((p.name, p.start, p.end) == wanted for p in pieces(db, TRAIL))
    return found and _looks_like_a_piece(db, table_of(month))


def drop(db: peewee.Database, month: Month) -> None:
    """Drop the table of a month that was detached."""
    sql = f"DROP TABLE {quoted(table_of(month))}"
    attempt(db, BRIEFLY, lambda: run(db, sql))


def drop_empty(db: peewee.Database, cutoff: Month) -> list[str]:
    """Drop the partitions before a month that have no entry; return their names."""
    return [
        piece.name
        for piece in pieces(db, TRAIL)
        if piece.end is not None
        and piece.end <= cutoff.start
        and not needed_by(db, piece.name)
        and _is_empty(db, piece.name)
        and attempt(db, BRIEFLY, functools.partial(_drop_if_empty, db, piece.name))
    ]


def _drop_if_empty(db: peewee.Database, piece: str) -> bool:
    """Drop a partition unless somebody has written into it just now."""
    lock = f"LOCK TABLE ONLY {quoted(TRAIL)}, {quoted(piece)} IN ACCESS EXCLUSIVE MODE"
    run(db, lock)
    if not _is_empty(db, piece):
        return False
    # Detached first, a foreign key of others to the trail does not need it.
    run(db, f"ALTER TABLE {quoted(TRAIL)} DETACH PARTITION {quoted(piece)}")
    run(db, f"DROP TABLE {quoted(piece)}")
    return True


def _is_empty(db: peewee.Database, table: str) -> bool:
    return not rows(db, f"SELECT 1 FROM {quoted(table)} LIMIT 1")


def _looks_like_a_piece(db: peewee.Database, name: str) -> bool:
    own, trail = (
        {(column.name, column.type) for column in columns(db, table)}
        for table in (name, TRAIL)
    )
    return own == trail and primary_key(db, name) == _KEY
