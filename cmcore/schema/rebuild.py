"""Change the constraints of a SQLite table, which ALTER TABLE cannot.

The new table is made from the old one's own text, cut and joined but never written
anew, so that whatever an application added to it comes through: comments, generated
columns, AUTOINCREMENT, STRICT, WITHOUT ROWID, its indexes and triggers, and the rowids.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from cmcore.engines.catalog import columns, primary_key, rows, table_exists
from cmcore.engines.ddl import CreateTable
from cmcore.engines.introspection import run, run_many
from cmcore.engines.sqlite_catalog import definition
from cmcore.errors import MigrationError
from cmcore.layout import quoted

SUFFIX = "__cm_rebuild"
_STATISTICS = ("sqlite_stat1", "sqlite_stat4")


def rebuild(
    db: peewee.Database,
    table: str,
    *,
    add: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
) -> None:
    """Add and drop named constraints of a table.

    Needs a transaction that foreign keys were switched off before. Takes as much disk
    again as the table while it runs. Dropping what was added gives back the same text.

    Args:
        db: The database, on SQLite.
        table: The table's name.
        add: Names and definitions, like `CHECK (n > 0)`.
        drop: Names.

    Raises:
        MigrationError: Foreign keys are on, a name is there already or missing, the
            temporary name is taken, or rows would break a foreign key afterwards.
    """
    temporary = table + SUFFIX
    _refuse_unless_safe(db, table, temporary)
    broken_before = _broken_references(db)
    old = CreateTable.read(definition(db, table))
    new = old
    for name in drop:
        new = new.dropping(name)
    for name, text in (add or {}).items():
        new = new.adding(name, text)
    kept = _Kept(db, table)
    run(db, str(new.renamed(temporary)))
    _copy(db, table, temporary, has_rowid=old.has_rowid)
    _exchange(db, table, temporary, kept.statements)
    kept.restore()
    broken = _broken_references(db) - broken_before
    if broken:
        msg = f"Rows would break foreign keys of {table}: {sorted(broken)[:20]}"
        raise MigrationError(msg)


def _refuse_unless_safe(db: Any, table: str, temporary: str) -> None:
    if db.pragma("foreign_keys"):
        msg = (
            f"{table} cannot be rebuilt while foreign keys are on: dropping the old "
            "table would delete rows that refer to it. Nothing was changed."
        )
        raise MigrationError(msg)
    if table_exists(db, temporary):
        msg = (
            f"The table {temporary} is in the way; nothing was changed. Look at what "
            "is in it, rename or drop it, and run again."
        )
        raise MigrationError(msg)


def _broken_references(db: peewee.Database) -> Counter[tuple[str, str, str]]:
    found = rows(db, "PRAGMA foreign_key_check")
    return Counter((table, str(rowid), parent) for table, rowid, parent, _ in found)


class _Kept:
    """What SQLite drops with a table and does not bring back."""

    def __init__(self, db: peewee.Database, table: str) -> None:
        self._db = db
        self._table = table
        # Indexes and triggers in the order in which they were made.
        self.statements: list[str] = [
            sql
            for (sql,) in rows(
                db,
                "SELECT sql FROM sqlite_master WHERE lower(tbl_name) = lower(?)"
                " AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
                (table,),
            )
        ]
        self._sequence = self._rows_of("sqlite_sequence", "name")
        self._statistics = {
            name: self._rows_of(name, "tbl")
            for name in _STATISTICS
            if table_exists(db, name)
        }

    def _rows_of(self, system_table: str, column: str) -> list[Any]:
        if not table_exists(self._db, system_table):
            return []
        return rows(
            self._db,
            f"SELECT * FROM {system_table} WHERE {column} = ?",
            (self._table,),
        )

    def restore(self) -> None:
        """Put the next automatic key and the planner's statistics back."""
        if self._sequence:
            run(self._db, "DELETE FROM sqlite_sequence WHERE name = ?", [self._table])
            run_many(
                self._db, "INSERT INTO sqlite_sequence VALUES (?, ?)", self._sequence
            )
        for name, saved in self._statistics.items():
            if saved:
                marks = ", ".join("?" for _ in saved[0])
                run_many(self._db, f"INSERT INTO {name} VALUES ({marks})", saved)


def _copy(db: peewee.Database, old: str, new: str, *, has_rowid: bool) -> None:
    names = [quoted(c.name) for c in columns(db, old) if not c.is_generated]
    if has_rowid and not _has_integer_key(db, old):
        names.insert(0, _rowid_name(names))
    listed = ", ".join(names)
    cursor = run(
        db,
        f"INSERT INTO {quoted(new)} ({listed}) SELECT {listed} FROM {quoted(old)}",
    )
    count = rows(db, f"SELECT count(*) FROM {quoted(old)}")[0][0]
    if cursor.rowcount != count:
        msg = f"Copied {cursor.rowcount} of {count} rows of {old}; nothing was changed."
        raise MigrationError(msg)


def _has_integer_key(db: peewee.Database, table: str) -> bool:
    """Tell whether the primary key is the rowid: then it has no index of its own."""
    indexed = rows(
        db, "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)
    )
    return bool(primary_key(db, table)) and not indexed


def _rowid_name(names: list[str]) -> str:
    """Return a name of the rowid that no column has taken."""
    taken = {name.strip('"').lower() for name in names}
    return next(n for n in ("rowid", "_rowid_", "oid", "rowid") if n not in taken)


def _exchange(db: Any, old: str, new: str, statements: list[str]) -> None:
    # Without the legacy mode the renaming fails when a view or a trigger elsewhere
    # mentions the table, which does not exist for a moment.
    legacy = db.pragma("legacy_alter_table")
    db.pragma("legacy_alter_table", 1)
    try:
        run(db, f"DROP TABLE {quoted(old)}")
        run(db, f"ALTER TABLE {quoted(new)} RENAME TO {quoted(old)}")
        for statement in statements:
            run(db, statement)
    finally:
        db.pragma("legacy_alter_table", legacy)
