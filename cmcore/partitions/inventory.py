"""What the trail holds: its partitions, their sizes, and how it grows."""

from collections import Counter
from datetime import datetime
from typing import NamedTuple

import peewee

from cmcore.engines.partitioning import Piece, pieces
from cmcore.engines.session import connected
from cmcore.models.schema_state import require_schema
from cmcore.partitions.entries import entries_of
from cmcore.partitions.pieces import TRAIL


class Partition(NamedTuple):
    """One partition, or the whole table where there is none.

    Attributes:
        name: Its name as a table.
        rows: How many entries it has, counted.
        bytes: What it takes on the disk, with its indexes.
        start: The first moment that belongs to it, None if there is no first one.
        end: The first moment that does not any more, None if there is none.
    """

    name: str
    rows: int
    bytes: int
    start: datetime | None
    end: datetime | None


class PartitionReport(NamedTuple):
    """What the trail holds.

    Attributes:
        partitions: The oldest first, the default one last.
        default_rows: Entries that belong to no month's partition; `ensure` moves them
            to their months.
        growth: How many entries there are of each month, as 2026_03, the oldest first.
    """

    partitions: list[Partition]
    default_rows: int
    growth: list[tuple[str, int]]

    @property
    def total_bytes(self) -> int:
        """What all partitions take on the disk."""
        return sum(partition.bytes for partition in self.partitions)


def report(db: peewee.Database | peewee.Proxy) -> PartitionReport:
    """Count the entries by partition and by month; nothing is changed.

    Args:
        db: The database; connected for the length of the call if it is not.

    Raises:
        PendingMigrationsError: The database has no trail, or an older one.
    """
    with connected(db, "Archives", in_transaction=True) as database:
        require_schema(database, TRAIL)
        lines = entries_of(database)
        by_piece: Counter[str] = Counter()
        by_month: Counter[str] = Counter()
        for name, month, rows in lines.months():
            by_piece[name] += rows
            by_month[month] += rows
        found = pieces(database, TRAIL) or [Piece(TRAIL, None, None)]
        partitions = [
            Partition(p.name, by_piece[p.name], lines.size(p.name), p.start, p.end)
            for p in found
        ]
        default = sum(by_piece[p.name] for p in found if p.is_default)
        return PartitionReport(partitions, default, sorted(by_month.items()))
