"""Years of entries: monthly partitions, archives, and what is kept online."""

from cmcore.partitions.conversion import convert
from cmcore.partitions.inventory import Partition, PartitionReport, report
from cmcore.partitions.pieces import ensure
from cmcore.partitions.restoration import restore
from cmcore.partitions.retention import (
    ArchivedMonth,
    HeldMonth,
    RetentionReport,
    retain,
)
from cmcore.partitions.reversion import revert

__all__ = [
    "ArchivedMonth",
    "HeldMonth",
    "Partition",
    "PartitionReport",
    "RetentionReport",
    "convert",
    "ensure",
    "report",
    "restore",
    "retain",
    "revert",
]
