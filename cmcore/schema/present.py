"""What a script is to make and finds made already, in exactly that form.

On PostgreSQL an operator may have things made ahead of a script. Something of the same
name in another form is refused. On SQLite nothing is made ahead, so that nothing is
looked for: there a name that is taken is an error of its own.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import peewee

from cmcore.engines import postgresql_catalog as catalog
from cmcore.engines.introspection import is_sqlite, normal, run
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.schema.columns import Column, NewIndex

_PROBE = "cmcore_probe"
_NOT_VALID = " NOT VALID"


def has_index(db: peewee.Database, index: NewIndex, *, is_valid: bool = True) -> bool:
    """Tell whether there is such an index, or one left by a build that failed."""
    if is_sqlite(db):
        return False
    found = catalog.index_definition(db, index.name, index.table)
    wanted = (index.is_unique, is_valid, normal(f"{index.method} {index.definition}"))
    return found == wanted


def missing_columns(
    db: peewee.Database, table: str, columns: Sequence[Column]
) -> list[Column]:
    """Return the columns that are not there.

    Raises:
        MigrationError: One is there in another form.
    """
    there = {column.name: column for column in catalog.columns(db, table)}
    shared = [column for column in columns if column.name in there]
    if shared:
        lines = ", ".join(column.sql(sqlite=False) for column in shared)
        with _probe(db, lines):
            wanted = {column.name: column for column in catalog.columns(db, _PROBE)}
        _refuse(table, [name for name in wanted if wanted[name] != there[name]])
    return [column for column in columns if column.name not in there]


def missing_constraints(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return the constraints that are not there, and those that hold for new rows only.

    Raises:
        MigrationError: One is there in another form.
    """
    there = {
        name: text
        for name, text in catalog.constraint_definitions(db, table)
        if name in constraints
    }
    wanted = _as_stored(db, table, {name: constraints[name] for name in there})
    bare = {name: text.removesuffix(_NOT_VALID) for name, text in there.items()}
    _refuse(table, [name for name in bare if bare[name] != wanted[name]])
    missing = {n: text for n, text in constraints.items() if n not in there}
    return missing, [n for n, text in there.items() if text.endswith(_NOT_VALID)]


def _as_stored(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the texts that the catalog would have for constraints of a table."""
    keys = {n: text for n, text in constraints.items() if text.startswith("FOREIGN")}
    checks = {n: text for n, text in constraints.items() if n not in keys}
    stored: dict[str, str | None] = {}
    if checks:
        with _probe(db, f"LIKE {quoted(table)}"):
            added = [f"ADD CONSTRAINT {quoted(n)} {t}" for n, t in checks.items()]
            run(db, f"ALTER TABLE {_PROBE} {', '.join(added)}")
            stored.update(catalog.constraint_definitions(db, _PROBE))
    # A table that is gone soon cannot refer to one that stays.
    there = dict(catalog.constraint_definitions(db, table))
    for name, text in keys.items():
        found = there[name].removesuffix(_NOT_VALID)
        stored[name] = found if normal(found) == normal(text) else None
    return stored


@contextlib.contextmanager
def _probe(db: Any, columns: str) -> Iterator[None]:
    """Make a table that is gone at the end of the block."""
    with db.atomic() as transaction:
        run(db, f"CREATE TEMPORARY TABLE {_PROBE} ({columns})")
        yield
        transaction.rollback()


def _refuse(table: str, names: Sequence[str]) -> None:
    if names:
        msg = (
            f"{table} has {', '.join(names)} already, and not in the form that is "
            "wanted. Rename or drop it."
        )
        raise MigrationError(msg)
