"""Whether entries find a partition of their month, now and soon."""

from datetime import UTC, datetime

import peewee

from cmcore.engines.health import Finding
from cmcore.engines.introspection import rows
from cmcore.engines.partitioning import Piece, pieces
from cmcore.layout import quoted
from cmcore.partitions.detached import detached_months, table_of
from cmcore.partitions.leftovers import (
    has_leftover_check,
    leftover_copy,
    leftovers,
)
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL

_CHECK = "partitions"
_CURE = "Run `cmcore partition ensure`, and every day from cron."


def examine_partitions(db: peewee.Database) -> list[Finding]:
    """Look for months without a partition, and for what was not finished.

    Changes nothing; there is no finding where nobody ever began with partitions.
    """
    found = pieces(db, TRAIL)
    texts = [*_unfinished(db, found), *_detached(db)]
    faults = [*_stranded(db, found), *_lacking(found)] if found else []
    if faults:
        texts.append(f"{'; '.join(faults)}. {_CURE}")
    if texts:
        return [Finding(_CHECK, False, " ".join(texts))]
    if not found:
        return []
    ends = [Month.of(piece.end).shifted(-1) for piece in found if piece.end]
    until = f", the last month is {max(ends)}" if ends else ""
    return [Finding(_CHECK, True, f"{len(found)} partitions{until}")]


def _unfinished(db: peewee.Database, found: list[Piece]) -> list[str]:
    """Say what a conversion or a reversion left that was interrupted."""
    left = ", ".join(leftovers(db))
    if not left:
        return []
    again = f"{left} is left of a revert. Run `cmcore partition revert` again"
    if found:
        return [f"{again}, or `cmcore partition convert`, which drops it."]
    if leftover_copy(db):
        return [f"{again}."]
    danger = " which refuses entries of later months" * has_leftover_check(db)
    return [
        f"{left} is left of a conversion,{danger or ' which was interrupted'}. Run "
        "`cmcore partition convert` again, or `cmcore partition revert`."
    ]


def _detached(db: peewee.Database) -> list[str]:
    """Name the months that a retention has begun to take out."""
    names = ", ".join(map(table_of, sorted(detached_months(db))))
    cure = "Run `cmcore partition retain` again, which finishes it."
    return [f"{names} is outside the trail. {cure}"] if names else []


def _stranded(db: peewee.Database, found: list[Piece]) -> list[str]:
    """Say how many rows are in the default partition, if there are any."""
    counts = {
        piece.name: rows(db, f"SELECT count(*) FROM {quoted(piece.name)}")[0][0]
        for piece in found
        if piece.is_default
    }
    return [
        f"{name} has {'1 row' if count == 1 else f'{count} rows'}"
        for name, count in counts.items()
        if count
    ]


def _lacking(found: list[Piece]) -> list[str]:
    """Say for which months there is no partition, the current and the next one."""
    this = Month.of(datetime.now(UTC))
    lacking = [
        str(month)
        for month in (this, this.shifted(1))
        if not any(_takes(piece, month) for piece in found)
    ]
    return [f"there is no partition for {' and '.join(lacking)}"] if lacking else []


def _takes(piece: Piece, month: Month) -> bool:
    if piece.is_default:
        return False
    begins = piece.start is None or piece.start <= month.start
    return begins and (piece.end is None or month.end <= piece.end)
