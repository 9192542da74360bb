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


def timings(
    several: Sequence[Any],
    prepare: Callable[[Any], Any],
    work: Callable[[Any, Any], Any],
    repeats: int,
) -> Iterator[list[float]]:
    """Yield how many seconds each one takes, right after each other, once a repeat.

    Args:
        several: What is compared, in alternating order.
        prepare: Is given one of them, before the clock starts.
        work: Is given one of them, and what was prepared for it.
        repeats: How many, after one that warms up.
    """
    for repeat in range(repeats + 1):
        taken = {}
        for one in (several, several[::-1])[repeat % 2]:
            prepared = prepare(one)
            gc.collect()
            start = time.perf_counter()
            work(one, prepared)
            taken[one] = time.perf_counter() - start
        if repeat:
            yield [taken[one] for one in several]


def median_ratio(
    pair: Sequence[Any],
    prepare: Callable[[Any], Any],
    work: Callable[[Any, Any], Any],
    repeats: int,
) -> float:
    """Return the median, over the repeats, of the second one's time to the first's."""
    return statistics.median(
        second / first for first, second in timings(pair, prepare, work, repeats)
    )
