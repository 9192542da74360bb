"""What an audited write and the common reads cost as the trail grows.

    python benchmarks/scale.py                           # 10 thousand to 2 million
    python benchmarks/scale.py --sizes 1000 100000       # smaller trails
    python benchmarks/scale.py --engine sqlite           # not on PostgreSQL
    python benchmarks/scale.py --server postgresql://user:pass@host/postgres

For each size a database is filled by SQL with a trail of 24 months, whose entries are
those of 100 users; each object has 20. Then the same is done in all of them in turn.
Printed is how long it takes in the smallest, and the medians, over the repeats, of the
ratios to it. A write ought to cost the same whatever is there, a read that an index
serves in proportion to the depth of the index, a count in proportion to what it counts;
where that does not hold it is said. Each write is a transaction of its own.

On PostgreSQL the trail is measured as it is, in partitions of its 24 months, both side
by side, and as it is after a conversion, which leaves what is there in one partition.
The 24 months are those to come, since `ensure` makes the partitions of these.

PostgreSQL runs on a server of its own, unless one is named. That must allow to create
databases; those named cmcore_benchmark_* on it are dropped.
"""

import argparse
import contextlib
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from comparison import timings
from rich.console import Console
from rich.table import Table
from servers import SETTLE, created, execute, server
from trails import FILL, MONTHS, Parcel, Trail, made

from cmcore import partitions
from cmcore.models import AuditLog

SIZES = [10_000, 100_000, 2_000_000]
PAGE = 50
SINGLES = 50
BULK = 1_000
SPARE = 1.5  # how far a ratio may be above the expected one: machines are not quiet

chosen = random.Random(7)  # noqa: S311 - the same rows in each run


def flat(smallest: int, rows: int) -> float:
    """Return by how much a write may cost more: not at all."""
    del smallest, rows
    return 1.0


def logarithmic(smallest: int, rows: int) -> float:
    """Return by how much an index is deeper."""
    return math.log(rows) / math.log(smallest)


def linear(smallest: int, rows: int) -> float:
    """Return by how much more there is to count."""
    return rows / smallest


class Task(NamedTuple):
    """Something to be measured, and how it may grow with the number of entries."""

    name: str
    growth: Callable[[int, int], float]
    prepare: Callable[[Trail], Any]
    work: Callable[[Any], Any]
    times: int = SINGLES


def values(count: int) -> list[dict[str, Any]]:
    """Return the values of new parcels."""
    return [{"title": f"Parcel {n}", "city": f"City {n % 100}"} for n in range(count)]


def some_numbers(below: int) -> list[int]:
    """Return numbers of entries or objects, the same ones in each run."""
    return [chosen.randrange(1, below) for _ in range(SINGLES)]


def create(rows: list[dict[str, Any]]) -> None:
    """Create parcels one by one."""
    for row in rows:
        Parcel.create(**row)


def save(parcels: list[Parcel]) -> None:
    """Change two fields of each parcel."""
    for parcel in parcels:
        parcel.weight += 1
        parcel.city = "Elsewhere"
        parcel.save()


def read(queries: list[Any]) -> None:
    """Read, and make sure that something is found."""
    for query in queries:
        if not list(query):
            message = f"nothing found by {query}"
            raise SystemExit(message)


def pages(query: Any) -> list[Any]:
    """Return the same page as often as single things are done."""
    return [query.limit(PAGE) for _ in range(SINGLES)]


def month_of(trail: Trail) -> Any:
    """Return the entries of one month in the middle."""
    month = trail.since.shifted(MONTHS // 2)
    return AuditLog.between(month.start, month.end)


TASKS = (
    Task("create", flat, lambda _: values(SINGLES), create),
    Task(
        "save two fields",
        flat,
        lambda _: [Parcel.create(**row) for row in values(SINGLES)],
        save,
    ),
    Task(
        f"insert_many, {BULK:,} rows",
        flat,
        lambda _: values(BULK),
        lambda rows: Parcel.insert_many(rows).execute(),
        times=1,
    ),
    Task(
        "the newest page",
        logarithmic,
        lambda _: pages(AuditLog.trail()),
        read,
    ),
    Task(
        "history of one object",
        logarithmic,
        lambda trail: [
            AuditLog.for_instance(Parcel(id=f"{n:036}"))
            for n in some_numbers(trail.objects)
        ],
        read,
    ),
    Task(
        "newest page of a user",
        logarithmic,
        lambda _: pages(AuditLog.by_user(f"{7:036}")),
        read,
    ),
    Task(
        "newest page of a month",
        logarithmic,
        lambda trail: pages(month_of(trail)),
        read,
    ),
    Task(
        "entries of a month, counted",
        linear,
        month_of,
        lambda query: query.count(),
        times=1,
    ),
    Task(
        "one entry by id",
        logarithmic,
        lambda trail: [
            AuditLog.trail().where(AuditLog.id == f"{n:036}")
            for n in some_numbers(trail.rows)
        ],
        read,
    ),
)


class Result(NamedTuple):
    """How one task went: milliseconds in the smallest trail, ratios in the others."""

    task: Task
    milliseconds: float
    ratios: list[float]


def measure(trails: list[Trail], repeats: int) -> Iterator[Result]:
    """Do each task in all trails in turn; reads first, as long as nothing is new."""
    for task in sorted(TASKS, key=lambda task: task.growth is flat):

        def prepare(trail: Trail, task: Task = task) -> Any:
            trail.bind()
            return task.prepare(trail)

        def work(_: Trail, prepared: Any, task: Task = task) -> None:
            task.work(prepared)

        taken = list(timings(trails, prepare, work, repeats))
        first = statistics.median(seconds[0] for seconds in taken)
        ratios = [
            statistics.median(seconds[i] / seconds[0] for seconds in taken)
            for i in range(1, len(trails))
        ]
        yield Result(task, 1000 * first / task.times, ratios)


def show(setting: str, trails: list[Trail], results: list[Result]) -> None:
    """Print the figures of one setting, and what is not as it ought to be."""
    smallest, *others = (trail.rows for trail in trails)
    table = Table(title=f"{setting}: times in trails of so many entries")
    table.add_column("what")
    table.add_column(f"ms, {smallest:,}", justify="right")
    for rows in others:
        table.add_column(f"ratio, {rows:,}", justify="right")
    table.add_column("expected", justify="right")
    faults = []
    for task, milliseconds, ratios in results:
        expected = task.growth(smallest, trails[-1].rows)
        cells = (f"{ratio:.2f}" for ratio in ratios)
        table.add_row(task.name, f"{milliseconds:.2f}", *cells, f"{expected:.2f}")
        faults += [
            f"{task.name}: {ratio:.1f} times as long in {rows:,} entries"
            for rows, ratio in zip(others, ratios, strict=True)
            if ratio > SPARE * task.growth(smallest, rows)
        ]
    Console(width=100).print(table)
    for fault in faults or ["everything grows as expected, or less"]:
        print(f"{setting}: {fault}")
    print()


def on_sqlite(sizes: list[int], repeats: int) -> None:
    """Measure on files in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="cmcore-") as folder:
        urls = [f"sqlite:///{Path(folder) / f'{rows}.db'}" for rows in sizes]
        with made(urls, sizes) as trails:
            for trail in trails:
                trail.fill("sqlite")
            show("SQLite", trails, results_of(trails, repeats))


def on_postgresql(url: str, sizes: list[int], repeats: int) -> None:
    """Measure in databases on a server, without partitions and with them."""
    with (
        databases(url, "plain", sizes) as urls,
        made(urls, sizes) as plain,
        databases(url, "months", sizes) as more_urls,
        made(more_urls, sizes) as begun,
    ):
        for trail in plain:
            trail.fill("postgresql")
        settle(urls)
        show("PostgreSQL", plain, results_of(plain, repeats))
        months = [t._replace(since=t.since.shifted(MONTHS)) for t in begun]
        for trail in months:
            partitions.convert(trail.database)
            partitions.ensure(trail.database, MONTHS)
            trail.fill("postgresql")
        settle(more_urls)
        show("PostgreSQL, 24 months", months, results_of(months, repeats))
        compare(plain[-1], months[-1], repeats)
        for trail in plain:
            began = time.perf_counter()
            partitions.convert(trail.database)
            seconds = time.perf_counter() - began
            print(f"PostgreSQL: {trail.rows:,} entries converted in {seconds:.1f} s")
        settle(urls)
        show("PostgreSQL, converted", plain, results_of(plain, repeats))


def compare(plain: Trail, months: Trail, repeats: int) -> None:
    """Print what 24 partitions cost or save, side by side with a plain table."""
    table = Table(title=f"{plain.rows:,} entries in 24 partitions, to a plain table")
    for column in ("what", "ms, plain", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for task, milliseconds, (ratio,) in results_of([plain, months], repeats):
        table.add_row(task.name, f"{milliseconds:.2f}", f"{ratio:.2f}")
    Console(width=100).print(table)


@contextlib.contextmanager
def databases(url: str, kind: str, sizes: list[int]) -> Iterator[list[str]]:
    """Yield the URL of a database for each size, which is dropped afterwards."""
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(created(url, f"cmcore_benchmark_{kind}_{rows}"))
            for rows in sizes
        ]


def settle(urls: list[str]) -> None:
    """Let nothing be left to do of what was written."""
    for url in urls:
        execute(url, *SETTLE)


def results_of(trails: list[Trail], repeats: int) -> list[Result]:
    """Return the results in the order of the tasks."""
    return sorted(measure(trails, repeats), key=lambda result: TASKS.index(result.task))


def main() -> None:
    """Fill trails on each engine, and print how the times grow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="entries of the trails"
    )
    parser.add_argument("--engine", choices=FILL, help="default: both")
    parser.add_argument("--server", help="default: one in a temporary directory")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    if arguments.engine != "postgresql":
        on_sqlite(sizes, arguments.repeats)
    if arguments.engine != "sqlite":
        with server(arguments.server) as url:
            on_postgresql(url, sizes, arguments.repeats)


if __name__ == "__main__":
    main()
