"""Whether entries find a partition of their month, now and soon."""

from datetime import UTC, datetime

import peewee

from cmcore.engines.health import Finding
from cmcore.engines.introspection import rows
from cmcore.engines.partitioning import Piece, pieces
from cmcore.layout import quoted
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL

_CHECK = "partitions"
_CURE = "Run `cmcore partition ensure`, and every day from cron."


def examine_partitions(db: peewee.Database) -> list[Finding]:
    """Look for months without a partition, and for entries that ended up in none.

    Changes nothing; there is no finding where the trail is not partitioned.
    """
    found = pieces(db, TRAIL)
    if not found:
        return []
    faults = [*_stranded(db, found), *_lacking(found)]
    if faults:
        return [Finding(_CHECK, False, f"{'; '.join(faults)}. {_CURE}")]
    ends = [Month.of(piece.end).shifted(-1) for piece in found if piece.end]
    until = f", the last month is {max(ends)}" if ends else ""
    return [Finding(_CHECK, True, f"{len(found)} partitions{until}")]


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
