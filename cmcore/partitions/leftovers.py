"""What a conversion or a reversion that was interrupted leaves on the trail."""

import peewee

from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import UNFINISHED, can_partition
from cmcore.layout import quoted
from cmcore.partitions.pieces import TRAIL, refusing
from cmcore.schema.online import drop_index
from cmcore.schema.patience import BRIEFLY, attempt

KEY_ENDING = "_pkey"
PLAIN_KEY_ENDING = "_plain_pkey"
# A copy of the trail, the ids that it has to fetch again, and the trigger, with its
# function, that notes them. There is no copy any more, and no trigger, once it has
# become the trail; then the table of the ids says that foreign keys are not checked.
COPY = "cmcore_revert_copy"
CHANGES = "cmcore_revert_changes"
NOTE = "cmcore_revert_note"

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

_COPY = f"""
    SELECT c.relname::text FROM pg_class c JOIN pg_class t USING (relnamespace)
    WHERE c.relname IN ('{COPY}', '{CHANGES}') AND t.oid = to_regclass('{TRAIL}')
    UNION ALL SELECT 'the trigger {NOTE}' FROM pg_trigger
    WHERE tgname = '{NOTE}' AND tgrelid = to_regclass('{TRAIL}')
    ORDER BY 1
"""


def leftover_copy(db: peewee.Database) -> list[str]:
    """Name what is left of a copy that follows the trail, or has become it."""
    if not can_partition(db):
        return []
    return [name for (name,) in rows(db, _COPY)]


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
    return check + leftover_copy(db) + leftover_indexes(db)


def tidied(db: peewee.Database, *, dry_run: bool) -> list[str]:
    """Drop everything that was left, and tell what."""
    left = leftovers(db)
    if left and not dry_run:
        with refusing("What was left stays"):
            drop_check(db)
            drop_copy(db)
            drop_indexes(db)
    return [f"Drop {name}, which was left by an interrupted run." for name in left]


def drop_copy(db: peewee.Database) -> None:
    """Let a copy not follow the trail any more, and drop it."""
    if not leftover_copy(db):
        return
    statements = (
        f"DROP TRIGGER IF EXISTS {NOTE} ON {quoted(TRAIL)}",
        f"DROP FUNCTION IF EXISTS {NOTE}()",
        f"DROP TABLE IF EXISTS {CHANGES}, {COPY}",
    )
    attempt(db, BRIEFLY, lambda: [run(db, sql) for sql in statements])


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
