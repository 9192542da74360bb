"""Years of entries: monthly partitions, archives, and what is kept online."""

from cmcore.partitions.conversion import convert
from cmcore.partitions.pieces import ensure
from cmcore.partitions.reversion import revert

__all__ = [
    "convert",
    "ensure",
    "revert",
]
