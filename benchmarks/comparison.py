"""Two ways of doing the same, timed side by side on one database."""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

import cmcore


@contextmanager
def migrated_database(url: str | None) -> Iterator[peewee.Database]:
    """Connect to a database that is empty, or to a temporary SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        database = cmcore.connect(url or f"sqlite:///{Path(folder) / 'benchmark.db'}")
        cmcore.migrate(database)
        yield database
        database.close()


def median_ratio(
    pair: Sequence[Any],
    prepare: Callable[[Any], Any],
    work: Callable[[Any, Any], Any],
    repeats: int,
) -> float:
    """Return the median, over the repeats, of the second one's time to the first's.

    Args:
        pair: What is compared; each repeat times both, in alternating order.
        prepare: Is given one of the pair, before the clock starts.
        work: Is given one of the pair, and what was prepared for it.
        repeats: How many, after one that warms up.
    """
    ratios = []
    for repeat in range(repeats + 1):
        taken = {}
        for one in (pair, pair[::-1])[repeat % 2]:
            prepared = prepare(one)
            gc.collect()
            start = time.perf_counter()
            work(one, prepared)
            taken[one] = time.perf_counter() - start
        if repeat:
            first, second = (taken[one] for one in pair)
            ratios.append(second / first)
    return statistics.median(ratios)
