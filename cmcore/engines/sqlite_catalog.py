"""SQLite's catalog: pragmas, and the text of sqlite_master where they are silent."""

from collections.abc import Iterator
from typing import Any

import peewee

from cmcore.engines.ddl import CreateTable, Item, Token, comment_of, words
from cmcore.engines.execution import quiet
from cmcore.engines.introspection import (
    Check,
    Column,
    ForeignKey,
    Index,
    normal,
    rows,
)
from cmcore.errors import MigrationError
from cmcore.layout import Layout, quoted

_NOT_GENERATED = 0


def table_exists(db: peewee.Database, name: str) -> bool:
    """Tell whether there is a table or a view of that name."""
    return bool(
        rows(
            db,
            "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND lower(name) = lower(?)",
            (name,),
        )
    )


def taken_names(db: peewee.Database, names: tuple[str, ...]) -> list[str]:
    """Return those of the names that a table, view or index has already."""
    found = rows(db, "SELECT lower(name) FROM sqlite_master")
    taken = {name for (name,) in found}
    return [name for name in names if name.lower() in taken]


def tables(db: peewee.Database) -> list[str]:
    """Return the names of all tables, in the order of the catalog."""
    found = rows(
        db,
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
    )
    return [name for (name,) in found]


def definition(db: peewee.Database, table: str) -> str:
    """Return the text of the CREATE TABLE.

    Raises:
        MigrationError: There is no such table.
    """
    found = rows(
        db,
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)",
        (table,),
    )
    if not found:
        msg = f"There is no table {table} in the database."
        raise MigrationError(msg)
    return str(found[0][0])


def comment(db: peewee.Database, table: str) -> str | None:
    """Return the comment that opens the table's definition."""
    return comment_of(definition(db, table)) if table in tables(db) else None


def columns(db: peewee.Database, table: str) -> list[Column]:
    """Return the columns in their order, hidden ones of virtual tables left out."""
    found = rows(
        db,
        'SELECT name, type, "notnull", dflt_value, hidden FROM pragma_table_xinfo(?)'
        " WHERE hidden <> 1 ORDER BY cid",
        (table,),
    )
    return [
        Column(name, kind.upper(), not not_null, default, hidden != _NOT_GENERATED)
        for name, kind, not_null, default, hidden in found
    ]


def primary_key(db: peewee.Database, table: str) -> tuple[str, ...]:
    """Return the columns of the primary key, none if there is no declared one."""
    found = rows(
        db, "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)
    )
    return tuple(name for (name,) in found)


def indexes(db: peewee.Database, table: str) -> list[Index]:
    """Return the indexes that somebody created, and those of UNIQUE columns."""
    found = rows(
        db,
        'SELECT i.name, i."unique", m.sql FROM pragma_index_list(?) i'
        " LEFT JOIN sqlite_master m ON m.type = 'index' AND m.name = i.name"
        " WHERE i.origin <> 'pk'",
        (table,),
    )
    return [
        Index(name, _index_columns(db, name), bool(unique), _predicate(sql))
        for name, unique, sql in found
    ]


def _index_columns(db: peewee.Database, index: str) -> tuple[str, ...]:
    found = rows(
        db,
        "SELECT coalesce(name, 'expression') FROM pragma_index_xinfo(?)"
        " WHERE key = 1 ORDER BY seqno",
        (index,),
    )
    return tuple(name for (name,) in found)


def _predicate(sql: str | None) -> str | None:
    pieces = words(sql or "")
    where = [i for i, token in enumerate(pieces) if token.is_word("WHERE")]
    if not where:
        return None
    return normal(" ".join(token.text for token in pieces[where[0] + 1 :]))


def foreign_keys(db: peewee.Database, table: str) -> list[ForeignKey]:
    """Return the table's foreign keys, with the names that its text gives them."""
    found = rows(
        db,
        'SELECT id, "table", "from", "to", on_delete, on_update'
        " FROM pragma_foreign_key_list(?) ORDER BY id, seq",
        (table,),
    )
    names = _foreign_key_names(CreateTable.read(definition(db, table)).items)
    keys: list[ForeignKey] = []
    for number in dict.fromkeys(row[0] for row in found):
        parts = [row[1:] for row in found if row[0] == number]
        own = tuple(part[1] for part in parts)
        parent, _, _, on_delete, on_update = parts[0]
        aims = tuple(part[2] for part in parts if part[2] is not None)
        keys.append(
            ForeignKey(
                names.get(tuple(name.lower() for name in own)),
                table,
                own,
                parent,
                aims or primary_key(db, parent),
                on_delete,
                on_update,
            )
        )
    return keys


def _foreign_key_names(items: tuple[Item, ...]) -> dict[tuple[str, ...], str]:
    names: dict[tuple[str, ...], str] = {}
    for item in items:
        pieces = words(item.text)
        for at, token in enumerate(pieces):
            if not token.is_word("REFERENCES"):
                continue
            before = pieces[:at]
            labels = [
                before[i + 1].name
                for i, word in enumerate(before[:-1])
                if word.is_word("CONSTRAINT")
            ]
            if labels:
                names[_referring_columns(before)] = labels[-1]
    return names


def _referring_columns(before: list[Token]) -> tuple[str, ...]:
    """Read the columns in front of REFERENCES: FOREIGN KEY (a, b), or the column."""
    if not before[-1].is_word(")") or not any(t.is_word("FOREIGN") for t in before):
        return (before[0].name.lower(),)
    opened = max(i for i, token in enumerate(before) if token.text == "(")
    inside = before[opened + 1 : -1]
    return tuple(token.name.lower() for token in inside if token.text != ",")


def checks(db: peewee.Database, table: str) -> list[Check]:
    """Return the CHECK constraints in the order of the text."""
    items = CreateTable.read(definition(db, table)).items
    return [check for item in items for check in _checks_in(words(item.text))]


def _checks_in(pieces: list[Token]) -> Iterator[Check]:
    for at, token in enumerate(pieces):
        if not token.is_word("CHECK") or pieces[at + 1].text != "(":
            continue
        named = at > 1 and pieces[at - 2].is_word("CONSTRAINT")
        name = pieces[at - 1].name if named else None
        depth, end = 1, at + 1
        while depth:
            end += 1
            depth += {"(": 1, ")": -1}.get(pieces[end].text, 0)
        inside = pieces[at + 2 : end]
        yield Check(name, " ".join(piece.text for piece in inside))


def unique_sets(database: peewee.Database, layout: Layout) -> list[tuple[int, ...]]:
    """Return the positions of each set of columns that must be unique."""
    meta: Any = layout.model._meta
    position = {f.column_name: i for i, f in enumerate(layout.fields)}
    schema = f"{quoted(meta.schema)}." if meta.schema else ""
    sets = [layout.keys] if layout.keys else []
    listed = quiet(
        database, f"PRAGMA {schema}index_list({quoted(meta.table_name)})"
    ).fetchall()
    for _, index, unique, *_ in listed:
        if unique:
            columns = quiet(
                database, f"PRAGMA {schema}index_info({quoted(index)})"
            ).fetchall()
            names = [name for _, _, name in columns]
            if all(name in position for name in names):
                sets.append(tuple(position[name] for name in names))
    return list(dict.fromkeys(sets))
