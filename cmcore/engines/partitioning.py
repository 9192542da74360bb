"""The partitions of a table, as the engine that has partitions tells them."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

import peewee

from cmcore.engines.introspection import is_sqlite, rows
from cmcore.engines.postgresql_catalog import is_partitioned_table

# The column of time by whose ranges a table is partitioned, which is part of its key.
PARTED_BY = "created_at"
# A CHECK that holds while a conversion is under way; its name is what whoever writes an
# entry after the month would read, should it be killed and nobody finish it.
UNFINISHED = "ck_rerun_cmcore_partition_convert"
_BOUND = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")


class Piece(NamedTuple):
    """One partition of a table that is partitioned by ranges of time.

    Attributes:
        name: Its name as a table.
        start: The first moment that belongs to it, None if there is no first one.
        end: The first moment that does not any more, None if there is none.
        is_default: Whether it holds what belongs to no other one.
    """

    name: str
    start: datetime | None
    end: datetime | None
    is_default: bool = False


def can_partition(db: peewee.Database) -> bool:
    """Tell whether the engine has partitions at all."""
    return not is_sqlite(db)


def is_partitioned(db: peewee.Database, table: str) -> bool:
    """Tell whether a table is partitioned."""
    return can_partition(db) and is_partitioned_table(db, table)


def pieces(db: peewee.Database, table: str) -> list[Piece]:
    """Return the partitions of a table, the oldest first, the default one last."""
    if not can_partition(db):
        return []
    found = rows(
        db,
        "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid)"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass(quote_ident(?))",
        (table,),
    )
    return sorted((_piece(name, bound) for name, bound in found), key=_place)


def _piece(name: str, bound: str) -> Piece:
    match = _BOUND.fullmatch(bound)
    if match is None:
        return Piece(name, None, None, is_default=True)
    start, end = map(_moment, match.groups())
    return Piece(name, start, end)


def _moment(text: str) -> datetime | None:
    """Return an end of a range, which is without one at MINVALUE and MAXVALUE."""
    if not text.startswith("'"):
        return None
    return datetime.fromisoformat(text.strip("'")).astimezone(UTC)


def _place(piece: Piece) -> tuple[bool, float]:
    start = piece.start.timestamp() if piece.start else float("-inf")
    return piece.is_default, start


def tables_beside(db: peewee.Database, table: str) -> list[str]:
    """Return the ordinary tables in a table's schema that are no partitions."""
    if not can_partition(db):
        return []
    found = rows(
        db,
        "SELECT c.relname::text FROM pg_class c"
        " JOIN pg_class t ON t.relnamespace = c.relnamespace"
        " WHERE t.oid = to_regclass(quote_ident(?)) AND c.oid <> t.oid"
        " AND c.relkind = 'r' AND NOT c.relispartition ORDER BY c.relname",
        (table,),
    )
    return [name for (name,) in found]


def taken_beside(db: peewee.Database, table: str, names: Collection[str]) -> list[str]:
    """Return what has one of the names in a table's schema, as `index mine`."""
    found = rows(
        db,
        "SELECT pg_describe_object(k.kind, k.oid, 0) FROM ("
        " SELECT 'pg_class'::regclass AS kind, oid, relname AS name,"
        " relnamespace AS place FROM pg_class UNION ALL"
        " SELECT 'pg_type'::regclass, oid, typname, typnamespace FROM pg_type"
        " WHERE typrelid = 0) k JOIN pg_class t ON t.relnamespace = k.place"
        " WHERE t.oid = to_regclass(quote_ident(?)) AND k.name = ANY(?::text[])"
        " ORDER BY 1",
        (table, list(names)),
    )
    return [text for (text,) in found]


def needed_by(db: peewee.Database, table: str) -> list[str]:
    """Return what others made on a table or partition and would stop its removal.

    Those are views, functions and foreign keys; not what belongs to the table itself,
    nor the foreign keys to the table that it is a part of.
    """
    if not can_partition(db):
        return []
    found = rows(
        db,
        "SELECT DISTINCT replace(pg_describe_object(d.classid, d.objid, d.objsubid),"
        " 'rule _RETURN on ', '') FROM pg_depend d LEFT JOIN pg_constraint c"
        " ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid"
        " WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'"
        " AND d.refobjid = to_regclass(quote_ident(?))"
        " AND d.classid <> 'pg_attrdef'::regclass"
        " AND (c.oid IS NULL OR (c.conrelid <> d.refobjid AND c.conparentid = 0))"
        " ORDER BY 1",
        (table,),
    )
    return [name for (name,) in found]
