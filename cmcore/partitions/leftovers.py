"""What a conversion or a reversion that was interrupted leaves on the trail."""

import peewee

from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import UNFINISHED, can_partition
from cmcore.layout import quoted
from cmcore.partitions.pieces import TRAIL
from cmcore.schema.online import drop_index
from cmcore.schema.patience import BRIEFLY, attempt

KEY_ENDING = "_pkey"
PLAIN_KEY_ENDING = "_plain_pkey"

# Keys that were built ahead and have not become the key of their table.
_INDEXES = f"""
    SELECT c.relname::text FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_inherits h ON h.inhrelid = t.oid
    WHERE NOT i.indisprimary AND to_regclass('{TRAIL}') IN (t.oid, h.inhparent)
    AND (c.relname ~ '^{TRAIL}_before_[0-9]+_[0-9]+{KEY_ENDING}$' AND t.relkind = 'r'
        OR c.relname ~ '^{TRAIL}_.*{PLAIN_KEY_ENDING}$')
    ORDER BY 1
"""


def leftover_indexes(db: peewee.Database) -> list[str]:
    """Return the names of keys that were built ahead of a swap that did not come."""
    if not can_partition(db):
        return []
    return [name for (name,) in rows(db, _INDEXES)]


def has_leftover_check(db: peewee.Database) -> bool:
    """Tell whether the trail still refuses entries of later months."""
    if not can_partition(db):
        return False
    sql = "SELECT 1 FROM pg_constraint WHERE conname = ? AND conrelid = to_regclass(?)"
    return bool(rows(db, sql, (UNFINISHED, TRAIL)))


def leftovers(db: peewee.Database) -> list[str]:
    """Name everything that was left."""
    check = [UNFINISHED] if has_leftover_check(db) else []
    return check + leftover_indexes(db)


def drop_check(db: peewee.Database) -> None:
    """Let entries of all months in again."""
    name = quoted(UNFINISHED)
    sql = f"ALTER TABLE {quoted(TRAIL)} DROP CONSTRAINT IF EXISTS {name}"
    attempt(db, BRIEFLY, lambda: run(db, sql))


def drop_indexes(db: peewee.Database, *, but: str | None = None) -> None:
    """Drop the keys that were left, one aside."""
    for name in leftover_indexes(db):
        if name != but:
            drop_index(db, name)
