"""Whether the tables are those that the scripts promise.

The scripts themselves say what they promise: they are run where nobody sees them, on
SQLite in a database in memory, on PostgreSQL in the session's temporary tables and in a
transaction that is undone. So both descriptions come from the same engine in the same
version, and none has to be kept.
"""

from collections.abc import Sequence
from typing import Any

import peewee

from cmcore.engines.catalog import Table, describe, is_sqlite, table_exists
from cmcore.engines.health import Finding
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import PARTED_BY, is_partitioned
from cmcore.schema import history, search_index
from cmcore.schema.state import Substitute, Verb

_TABLES = ("users", "customers", "audit_logs", "recovery_codes")
_LONGEST = 60
# By a command of ours, not by others.
_SEARCH = f"{search_index.TABLE}: index {search_index.NAME}"


class _Rehearsal(Substitute):
    """Does what a script says at once."""

    def take(self, script: str, verb: Verb) -> None:
        """Do it."""
        verb.action(self.__database__)


def examine_schema(db: peewee.Database) -> list[Finding]:
    """Compare the tables with what the applied scripts make; changes nothing.

    What an application added to the tables is named, and no fault.
    """
    kind, pending = history.inspect(db)
    trail_only = kind == "trail"
    done = [n for n in history.scripts(trail_only=trail_only) if n not in pending]
    if kind == "none" or not done:
        return []
    try:
        promised = _promised(db, done, trail_only=trail_only)
    except peewee.DatabaseError as error:
        text = f"not compared with the scripts: {str(error).strip()}"
        return [Finding("schema", True, text)]
    faults, extras = [], []
    for table in promised:
        found = _described(db, table.name)
        faults += _faults(table, found)
        extras += _extras(table, found)
    also = f"; added by others: {', '.join(extras)}" if extras else ""
    if not faults:
        return [Finding("schema", True, f"as the scripts make it{also}")]
    cure = "Restore what the scripts make, by hand or from a backup."
    return [Finding("schema", False, f"{'; '.join(faults)}. {cure}")]


def _promised(
    db: peewee.Database, scripts: Sequence[str], *, trail_only: bool
) -> list[Table]:
    if not is_sqlite(db):
        return _rehearsed_on_postgresql(db, scripts, trail_only=trail_only)
    scratch = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 0})
    with scratch.connection_context():
        return _rehearsed(scratch, scripts, trail_only=trail_only)


def _rehearsed_on_postgresql(
    db: Any, scripts: Sequence[str], *, trail_only: bool
) -> list[Table]:
    with db.atomic() as transaction:
        run(db, "SET LOCAL search_path = pg_temp")
        try:
            return _rehearsed(db, scripts, trail_only=trail_only)
        finally:
            transaction.rollback()


def _rehearsed(
    db: peewee.Database, scripts: Sequence[str], *, trail_only: bool
) -> list[Table]:
    for name in scripts:
        script = history.load(name, trail_only=trail_only)
        script(_Rehearsal(db), db, fake=True)
    return [describe(db, table) for table in _TABLES if table_exists(db, table)]


def _described(db: peewee.Database, name: str) -> Table | None:
    """Return a table as it is, or None; the key of a partitioned one has more to it."""
    if not table_exists(db, name):
        return None
    table = describe(db, name)
    if is_partitioned(db, name):
        key = tuple(column for column in table.primary_key if column != PARTED_BY)
        table = table._replace(primary_key=key)
    return table


def _faults(promised: Table, found: Table | None) -> list[str]:
    if found is None:
        return [f"{promised.name} is missing"]
    there = _parts(found)
    return [
        f"{promised.name}: {label} {_difference(part, there.get(label))}"
        for label, part in _parts(promised).items()
        if there.get(label) != part
    ]


def _extras(promised: Table, found: Table | None) -> list[str]:
    known = _parts(promised)
    there = _parts(found) if found else {}
    named = [f"{promised.name}: {label}" for label in there if label not in known]
    return [name for name in named if name != _SEARCH]


def _parts(table: Table) -> dict[str, Any]:
    """Return everything in a table under a name; whether it is valid is left out."""
    return {
        "primary key": table.primary_key,
        **{f"column {c.name}": c for c in table.columns},
        **{
            f"foreign key {k.name or ', '.join(k.columns)}": k._replace(is_valid=True)
            for k in table.foreign_keys
        },
        **{
            f"check {c.name or c.expression}": c._replace(is_valid=True)
            for c in table.checks
        },
        **{f"index {i.name}": i._replace(is_valid=True) for i in table.indexes},
    }


def _difference(promised: Any, found: Any) -> str:
    if not found:
        return "is missing"
    if not hasattr(promised, "_asdict"):
        return f"is {', '.join(found)} instead of {', '.join(promised)}"
    old, new = promised._asdict(), found._asdict()
    differing = [name for name in old if old[name] != new[name]]
    return "differs: " + ", ".join(
        f"{name} is {_shown(new[name])} instead of {_shown(old[name])}"
        for name in differing
    )


def _shown(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
