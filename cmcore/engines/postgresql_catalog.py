"""PostgreSQL's catalog, for the tables that unqualified names reach."""

import re
from collections.abc import Collection
from typing import Any

import peewee

from cmcore.engines.introspection import (
    Check,
    Column,
    ForeignKey,
    Index,
    normal,
    rows,
)

_CAST = re.compile(r"::[a-z ]+(\(\d+\))?$")
_ACTION = (
    "CASE {} WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT'"
    " WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END"
)
# The columns of a constraint in its own order, as an array of names.
_NAMES = (
    "(SELECT array_agg(a.attname::text ORDER BY k.place)"
    " FROM unnest({keys}) WITH ORDINALITY AS k(number, place)"
    " JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number)"
)
_FOREIGN_KEYS = f"""
    SELECT c.conname::text, t.relname::text, {_NAMES.format(keys="c.conkey", table="c.conrelid")},
        p.relname::text, {_NAMES.format(keys="c.confkey", table="c.confrelid")},
        {_ACTION.format("c.confdeltype")}, {_ACTION.format("c.confupdtype")},
        c.convalidated
    FROM pg_constraint c
    JOIN pg_class t ON t.oid = c.conrelid
    JOIN pg_class p ON p.oid = c.confrelid
    WHERE c.contype = 'f' AND c.conparentid = 0
"""  # noqa: E501
_TABLE = "to_regclass(quote_ident(?::text))"


def table_exists(db: peewee.Database, name: str) -> bool:
    """Tell whether there is a table or a view of that name."""
    return rows(db, f"SELECT {_TABLE} IS NOT NULL", (name,)) == [(True,)]


def taken_names(db: peewee.Database, names: tuple[str, ...]) -> list[str]:
    """Return those of the names that a table, view or index has already."""
    found = rows(
        db,
        "SELECT c.relname::text FROM pg_class c"
        " WHERE c.relnamespace = quote_ident(current_schema())::regnamespace",
    )
    taken = {name for (name,) in found}
    return [name for name in names if name in taken]


def comment(db: peewee.Database, table: str) -> str | None:
    """Return the table's comment."""
    text: str | None = rows(
        db, f"SELECT obj_description({_TABLE}, 'pg_class')", (table,)
    )[0][0]
    return text


def columns(db: peewee.Database, table: str) -> list[Column]:
    """Return the columns in their order."""
    found = rows(
        db,
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),"
        " NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> ''"
        " FROM pg_attribute a LEFT JOIN pg_attrdef d"
        " ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        f" WHERE a.attrelid = {_TABLE} AND a.attnum > 0 AND NOT a.attisdropped"
        " ORDER BY a.attnum",
        (table,),
    )
    return [
        Column(name, kind, null, default and _CAST.sub("", default), generated)
        for name, kind, null, default, generated in found
    ]


def primary_key(db: peewee.Database, table: str) -> tuple[str, ...]:
    """Return the columns of the primary key, none if there is no declared one."""
    names = _NAMES.format(keys="c.conkey", table="c.conrelid")
    found = rows(
        db,
        f"SELECT {names} FROM pg_constraint c"
        f" WHERE c.contype = 'p' AND c.conrelid = {_TABLE}",
        (table,),
    )
    return tuple(found[0][0]) if found else ()


def indexes(db: peewee.Database, table: str) -> list[Index]:
    """Return the indexes other than the primary key's."""
    found = rows(
        db,
        "SELECT c.relname::text, i.indisunique, pg_get_expr(i.indpred, i.indrelid),"
        " i.indisvalid, (SELECT array_agg(pg_get_indexdef(c.oid, k, true) ORDER BY k)"
        " FROM generate_series(1, i.indnkeyatts) AS k)"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" WHERE i.indrelid = {_TABLE} AND NOT i.indisprimary ORDER BY c.relname",
        (table,),
    )
    return [
        Index(name, tuple(parts), unique, normal(predicate), valid)
        for name, unique, predicate, valid, parts in found
    ]


def index_definition(
    db: peewee.Database, name: str, table: str
) -> tuple[bool, bool, str | None] | None:
    """Return whether an index is unique, whether it is valid, and what it covers.

    What it covers begins with the method, like `btree`, and is in normal form.
    """
    found = rows(
        db,
        "SELECT i.indisunique, i.indisvalid, pg_get_indexdef(i.indexrelid)"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        f" WHERE i.indrelid = {_TABLE} AND c.relname = ?",
        (table, name),
    )
    return next(((u, v, normal(t.split(" USING ", 1)[1])) for u, v, t in found), None)


def parts_on_columns(
    db: peewee.Database, table: str, names: Collection[str], without: Collection[str]
) -> list[str]:
    """Return what goes with columns when they are dropped, as `index mine`.

    Their own defaults and NOT NULL are parts of them, and not told.

    Args:
        db: The database.
        table: The table of the columns.
        names: The columns.
        without: Constraints that do not count.
    """
    found = rows(
        db,
        "SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d"
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " LEFT JOIN pg_constraint c"
        " ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid"
        " WHERE d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'"
        f" AND d.refobjid = {_TABLE} AND a.attname = ANY(?::text[])"
        " AND d.classid <> 'pg_attrdef'::regclass AND (c.oid IS NULL"
        " OR (c.contype <> 'n' AND c.conname <> ALL(?::text[]))) ORDER BY 1",
        (table, list(names), list(without)),
    )
    return [text for (text,) in found]


def is_ordinary_table(db: peewee.Database, name: str) -> bool:
    """Tell whether there is a table of that name that has no partitions."""
    return _kind(db, name) == "r"


def is_partitioned_table(db: peewee.Database, name: str) -> bool:
    """Tell whether there is a table of that name that consists of partitions."""
    return _kind(db, name) == "p"


def _kind(db: peewee.Database, name: str) -> str | None:
    sql = f"SELECT relkind::text FROM pg_class WHERE oid = {_TABLE}"
    return next((kind for (kind,) in rows(db, sql, (name,))), None)


def constraint_definitions(db: peewee.Database, table: str) -> list[tuple[str, str]]:
    """Return names and texts of the CHECKs and foreign keys."""
    return [
        (name, text)
        for name, text in rows(
            db,
            "SELECT c.conname::text, pg_get_constraintdef(c.oid) FROM pg_constraint c"
            f" WHERE c.contype IN ('c', 'f') AND c.conrelid = {_TABLE} ORDER BY 1",
            (table,),
        )
    ]


def foreign_keys(db: peewee.Database, table: str) -> list[ForeignKey]:
    """Return the table's foreign keys."""
    sql = f"{_FOREIGN_KEYS} AND c.conrelid = {_TABLE} ORDER BY c.conname"
    return [_foreign_key(row) for row in rows(db, sql, (table,))]


def references_to(db: peewee.Database, table: str) -> list[ForeignKey]:
    """Return the foreign keys of all tables that aim at this one."""
    sql = f"{_FOREIGN_KEYS} AND c.confrelid = {_TABLE} ORDER BY t.relname, c.conname"
    return [_foreign_key(row) for row in rows(db, sql, (table,))]


def _foreign_key(row: Any) -> ForeignKey:
    name, table, own, parent, aims, on_delete, on_update, valid = row
    return ForeignKey(
        name, table, tuple(own), parent, tuple(aims), on_delete, on_update, valid
    )


def checks(db: peewee.Database, table: str) -> list[Check]:
    """Return the CHECK constraints."""
    found = rows(
        db,
        "SELECT c.conname::text, pg_get_constraintdef(c.oid), c.convalidated"
        " FROM pg_constraint c"
        f" WHERE c.contype = 'c' AND c.conrelid = {_TABLE} ORDER BY c.conname",
        (table,),
    )
    return [Check(name, text, valid) for name, text, valid in found]
