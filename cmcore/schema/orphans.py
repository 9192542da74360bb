"""Rows that name a user who does not exist: refused, or given to one who does."""

import os
from collections.abc import Sequence

import peewee

from cmcore.engines.catalog import columns, is_sqlite, rows, table_exists
from cmcore.engines.introspection import run
from cmcore.errors import OrphanRowsError
from cmcore.layout import quoted
from cmcore.schema.columns import Column
from cmcore.schema.prechecks import is_orphaned, orphans
from cmcore.schema.present import missing_constraints
from cmcore.schema.tables import foreign_keys, lock

ORPHAN_USER = "CMCORE_ORPHAN_USER"


def settle(
    db: peewee.Database, table: str, references: Sequence[Column], keep_in: str
) -> None:
    """Make every reference to a user a good one, or refuse.

    Where CMCORE_ORPHAN_USER names a user, orphans are given to that user in columns
    that need one, and become NULL in the others. `keep_in` is then a table with what
    they were.

    Raises:
        OrphanRowsError: There are orphans, and nobody or nobody real to give them to.
    """
    keys = foreign_keys(table, references)
    if not is_sqlite(db) and missing_constraints(db, table, keys) == ({}, []):
        return
    lock(db, "users", table, mode="SHARE ROW EXCLUSIVE")
    if heir := heir_of_orphans(db, table, references):
        give_away(db, table, references, keep_in, heir)


def heir_of_orphans(
    db: peewee.Database, table: str, references: Sequence[Column]
) -> str | None:
    """Return who is to take the orphans over; None if there are none.

    Raises:
        OrphanRowsError: There are orphans, and nobody or nobody real to give them to.
    """
    found = [orphans(db, table, column.name) for column in references]
    offences = [offence for offence in found if offence is not None]
    if not offences:
        return None
    heir = os.environ.get(ORPHAN_USER)
    if not heir:
        msg = (
            f"{'; '.join(map(str, offences))}. Create those users, or set "
            f"{ORPHAN_USER} to the id of a user who takes them over ('system' will "
            "do), and run again."
        )
        raise OrphanRowsError(msg)
    if not rows(db, 'SELECT 1 FROM "users" WHERE "id" = ?', (heir,)):
        msg = (
            f"{ORPHAN_USER} is {heir!r}, and no user has that id. Set it to the id of "
            "an existing user, and run again."
        )
        raise OrphanRowsError(msg)
    return heir


def give_away(
    db: peewee.Database,
    table: str,
    references: Sequence[Column],
    keep_in: str,
    heir: str,
) -> None:
    """Give orphans to a user, or to nobody where that will do; keep what they were."""
    run(
        db,
        f"CREATE TABLE {quoted(keep_in)} (row_id VARCHAR(36) NOT NULL,"
        " column_name VARCHAR(63) NOT NULL, old_value VARCHAR(36) NOT NULL,"
        " new_value VARCHAR(36), PRIMARY KEY (row_id, column_name))",
    )
    for column in references:
        _give(db, table, column.name, None if column.null else heir, keep_in)


def _give(
    db: peewee.Database, table: str, column: str, heir: str | None, keep_in: str
) -> None:
    name = quoted(column)
    orphaned = is_orphaned(table, column)
    given = "CAST(? AS VARCHAR(36))"
    run(
        db,
        f"INSERT INTO {quoted(keep_in)} (row_id, column_name, old_value, new_value)"
        f' SELECT "id", CAST(? AS VARCHAR(63)), {name}, {given} FROM {quoted(table)}'
        f" WHERE {orphaned}",
        (column, heir),
    )
    run(db, f"UPDATE {quoted(table)} SET {name} = {given} WHERE {orphaned}", (heir,))


def restore(db: peewee.Database, table: str, kept_in: str) -> None:
    """Give the rows their users of before back, where nobody changed them since."""
    if not table_exists(db, kept_in):
        return
    known = {column.name for column in columns(db, table)}
    found = rows(db, f"SELECT DISTINCT column_name FROM {quoted(kept_in)}")
    for column in sorted(name for (name,) in found if name in known):
        name = quoted(column)
        kept = (
            f'FROM {quoted(kept_in)} k WHERE k.row_id = {quoted(table)}."id"'
            " AND k.column_name = ? AND"
            f" coalesce(k.new_value, '') = coalesce({quoted(table)}.{name}, '')"
        )
        run(
            db,
            f"UPDATE {quoted(table)} SET {name} = (SELECT k.old_value {kept})"
            f" WHERE EXISTS (SELECT 1 {kept})",
            (column, column),
        )
    run(db, f"DROP TABLE {quoted(kept_in)}")
