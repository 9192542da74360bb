"""Another table takes the name of the partitioned trail, and all that hangs on it."""

from collections.abc import Mapping

import peewee

from cmcore.engines.introspection import run
from cmcore.layout import quoted
from cmcore.partitions.belongings import Belongings
from cmcore.partitions.conversion import key_name_of
from cmcore.partitions.pieces import TRAIL

_GONE = "audit_logs_partitioned"


def succeed(
    db: peewee.Database, heir: str, key: str, indexes: Mapping[str, str]
) -> None:
    """Let a table with all entries take the place of the trail, which is dropped.

    Args:
        db: The database, in a transaction that has locked the trail.
        heir: The table that is the trail then.
        key: Its primary key, which gets the name of that of the trail.
        indexes: Its other indexes, each with its name then.
    """
    table, gone = quoted(TRAIL), quoted(_GONE)
    belongings = Belongings.read(db)
    renamed = {key: key_name_of(db, TRAIL), **indexes}
    belongings.leave(db)
    run(db, f"ALTER TABLE {table} RENAME TO {gone}")
    run(db, f"ALTER TABLE {quoted(heir)} RENAME TO {table}")
    belongings.arrive(db)
    run(db, f"DROP TABLE {gone}")
    for here, there in renamed.items():
        run(db, f"ALTER INDEX {quoted(here)} RENAME TO {quoted(there)}")
