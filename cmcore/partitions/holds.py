"""What has to stay in the trail, however old it is.

Retention asks here before it takes a month out. A part of cmcore that still needs
entries adds its function to `HOLDS` below, in this file: one that registered itself
when it is imported would be forgotten by a process that does not import it.
"""

from collections.abc import Callable

import peewee

from cmcore.engines.partitioning import needed_by
from cmcore.partitions.detached import table_of
from cmcore.partitions.months import Month

Hold = Callable[[peewee.Database, Month], str | None]
"""Returns why a month has to stay, in words for people; None if it may go."""


def _needed_by_others(db: peewee.Database, month: Month) -> str | None:
    """Name what others made on the table of a month, which could not be dropped."""
    table = table_of(month)
    found = ", ".join(needed_by(db, table))
    return f"{found} needs {table}. Drop it first." if found else None


HOLDS: tuple[Hold, ...] = (_needed_by_others,)


def reason_to_keep(db: peewee.Database, month: Month) -> str | None:
    """Return why a month has to stay in the trail, or None if nothing needs it."""
    reasons = (hold(db, month) for hold in HOLDS)
    return next((reason for reason in reasons if reason is not None), None)
