"""What scripts 004 and 006 would refuse, found without changing anything."""

from typing import NamedTuple

import peewee

from cmcore.engines.catalog import columns, rows
from cmcore.layout import quoted
from cmcore.schema.checks import RULES, Rule
from cmcore.schema.history import inspect

SHOWN = 20


class Offence(NamedTuple):
    """Rows of a table that a constraint would refuse.

    Attributes:
        table: The table.
        constraint: The constraint that is to come.
        rows: How many rows break it.
        ids: The first of their primary keys.
        rule: What the constraint asks for, for people.
    """

    table: str
    constraint: str
    rows: int
    ids: tuple[str, ...]
    rule: str

    def __str__(self) -> str:
        """Say how many rows of what break which constraint, and name the first."""
        return (
            f"{self.rows} row(s) of {self.table} break {self.constraint} "
            f"({self.rule}): {self.first_ids}"
        )

    @property
    def first_ids(self) -> str:
        """Name the first rows, for people."""
        more = ", ..." if self.rows > len(self.ids) else ""
        return f"{', '.join(map(repr, self.ids))}{more}"


def is_orphaned(table: str, column: str) -> str:
    """Return the condition under which a row names a user who does not exist."""
    return (
        f"{quoted(column)} IS NOT NULL AND NOT EXISTS"
        f' (SELECT 1 FROM "users" u WHERE u."id" = {quoted(table)}.{quoted(column)})'
    )


def orphans(db: peewee.Database, table: str, column: str) -> Offence | None:
    """Find rows whose user does not exist."""
    return _find(
        db,
        table,
        f"fk_{table}_{column}",
        is_orphaned(table, column),
        f"{column} must be the id of a user",
    )


def rule_breakers(db: peewee.Database, rule: Rule) -> Offence | None:
    """Find rows that break a rule; none where its column does not exist yet."""
    if all(column.name != rule.column for column in columns(db, rule.table)):
        return None
    return _find(
        db,
        rule.table,
        rule.name,
        f"NOT ({rule.sql_for(db)})",
        f"{rule.column} must be {rule.sentence}",
    )


def precheck(db: peewee.Database) -> list[Offence]:
    """Return everything that 004 and 006 would refuse in a database as it stands."""
    kind = inspect(db).kind
    tables = {"full": None, "trail": ("audit_logs",), "none": ()}[kind]
    rules = [r for r in RULES.values() if tables is None or r.table in tables]
    found = [rule_breakers(db, rule) for rule in rules]
    if kind == "full" and columns(db, "users"):
        found += [orphans(db, "customers", c) for c in ("created_by", "updated_by")]
    return [offence for offence in found if offence is not None]


def _find(
    db: peewee.Database, table: str, constraint: str, condition: str, rule: str
) -> Offence | None:
    source = f"FROM {quoted(table)} WHERE {condition}"
    count: int = rows(db, f"SELECT count(*) {source}")[0][0]
    if not count:
        return None
    first = rows(db, f'SELECT "id" {source} ORDER BY "id" LIMIT {SHOWN}')
    return Offence(table, constraint, count, tuple(str(key) for (key,) in first), rule)
