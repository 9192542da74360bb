"""What the indexes bring, beside what is said of them.

    python benchmarks/reference_table.py               # SQLite, and a server of its own
    python benchmarks/reference_table.py --customers 2000 --users 100 --entries 10000
    python benchmarks/reference_table.py --server postgresql://user:pass@host/postgres
    python benchmarks/reference_table.py --chart figures.svg    # with the extra `bench`

200,000 customers, 10,000 users and a trail of a million entries over two years are
asked the same questions twice: in tables that have no index but that of the primary
key, and as cmcore makes them. Printed are the best of many timings in turn, their
ratio, the ratio that is claimed, and the way to the rows. A server that is named must
allow to create databases; those named cmcore_reference_* on it are dropped.
"""

import argparse
import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import peewee
from reference_cases import CLAIMS, SUBSTRINGS, UNIQUE_BEFORE, Case, cases, claimed
from reference_chart import draw
from reference_data import Business, Sizes
from reference_fill import fill_bare, opened, settle
from rich import box
from rich.console import Console
from rich.table import Table
from servers import created, execute, server

SIZES = Sizes(200_000, 10_000, 1_000_000)
WAYS = re.compile(
    r"(?:\w+ )*Scan (?:Backward )?(?:using|on) \w+|SCAN t1(?: USING.*)?|SEARCH t1.*"
)
FEWEST = 5
BEFORE = "cmcore_reference_before"
AFTER = "cmcore_reference_after"


class Side:
    """One of the two databases, asked past the models."""

    def __init__(self, database: peewee.Database) -> None:
        """Take it, connected."""
        self.database: Any = database
        self.is_server = isinstance(database, peewee.PostgresqlDatabase)
        self._connection: Any = database.connection()

    def seconds(self, query: Any) -> float:
        """Return how long a query and its rows take."""
        sql, parameters = query.sql()
        began = time.perf_counter()
        cursor = self._connection.cursor()
        cursor.execute(sql, parameters)
        cursor.fetchall()
        taken = time.perf_counter() - began
        self._connection.rollback()
        return taken

    def plan(self, query: Any) -> str:
        """Return the ways to the rows, without the rest of the plan."""
        sql, parameters = query.sql()
        explain = "EXPLAIN" if self.is_server else "EXPLAIN QUERY PLAN"
        found = self.database.execute_sql(f"{explain} {sql}", parameters).fetchall()
        ways = [way for row in found for way in WAYS.findall(row[-1])]
        return ", ".join(dict.fromkeys(ways))


class Pair(NamedTuple):
    """Two databases with the same rows, without indexes and with them."""

    before: Side
    after: Side

    @contextlib.contextmanager
    def with_help(self, needs: str | None) -> Iterator[None]:
        """Have for the length of a block what a case needs."""
        side = self.before if needs == UNIQUE_BEFORE else self.after
        for statement in HELP.get(needs, ()):
            side.database.execute_sql(statement)
        yield
        if needs:
            side.database.execute_sql("DROP INDEX reference_help")


HELP: dict[str | None, tuple[str, ...]] = {
    UNIQUE_BEFORE: ("CREATE UNIQUE INDEX reference_help ON users (email)",),
    SUBSTRINGS: (
        "CREATE EXTENSION IF NOT EXISTS pg_trgm",
        "CREATE INDEX reference_help ON customers USING gin"
        " (name gin_trgm_ops, email gin_trgm_ops, phone gin_trgm_ops)",
    ),
}


class Result(NamedTuple):
    """One question, how long it took, and the ways to the rows."""

    case: Case
    before: float
    after: float
    ways: tuple[str, str]

    @property
    def ratio(self) -> float:
        """How many times faster it has become."""
        return self.before / self.after

    @property
    def holds(self) -> bool:
        """Tell whether it has become as fast as is claimed, at least."""
        least: int = CLAIMS[self.case.claim][0]
        return self.ratio >= least


def measured(pair: Pair, case: Case, patience: float) -> Result:
    """Ask both in turn, at least five times and for so many seconds.

    The best time of each counts, which other work of the machine disturbs the least.
    """
    with pair.with_help(case.needs):
        times: dict[Side, list[float]] = {pair.before: [], pair.after: []}
        enough = time.perf_counter() + patience
        while len(times[pair.after]) < FEWEST or time.perf_counter() < enough:
            for side, taken in times.items():
                taken.append(side.seconds(case.query))
        before, after = map(min, times.values())
        ways = pair.before.plan(case.query), pair.after.plan(case.query)
    return Result(case, before, after, ways)


@contextlib.contextmanager
def sqlite_files(business: Business) -> Iterator[Pair]:
    """Fill two files."""
    with tempfile.TemporaryDirectory(prefix="cmcore-") as folder:
        before, after = (Path(folder) / f"{word}.db" for word in ("before", "after"))
        made = fill_bare(f"sqlite:///{before}", business)
        shutil.copy(before, after)
        with (
            opened(f"sqlite:///{before}") as first,
            opened(f"sqlite:///{after}") as second,
        ):
            for statement in made:
                second.execute_sql(statement)
            settle(first)
            settle(second)
            yield Pair(Side(first), Side(second))


@contextlib.contextmanager
def postgresql_databases(given: str | None, business: Business) -> Iterator[Pair]:
    """Fill two databases on a server."""
    with server(given) as url, created(url, BEFORE) as before:
        made = fill_bare(before, business)
        with created(url, AFTER, BEFORE) as after:
            execute(after, *made)
            with opened(before) as first, opened(after) as second:
                settle(first)
                settle(second)
                yield Pair(Side(first), Side(second))


def show(engine: str, results: list[Result]) -> None:
    """Print the figures of one engine, then the ways."""
    console = Console(width=150)
    table = Table(title=engine, box=box.MARKDOWN)
    for heading in ("claim", "question"):
        table.add_column(heading)
    for heading in ("before, ms", "after, ms", "ratio", "claimed", "holds"):
        table.add_column(heading, justify="right")
    for result in results:
        claim, text = result.case.claim, result.case.text
        times = [f"{1000 * t:.2f}" for t in (result.before, result.after)]
        holds = "yes" if result.holds else "no"
        table.add_row(claim, text, *times, shown(result.ratio), claimed(claim), holds)
    console.print(table)
    for result in results:
        print(f"{result.case.text}:\n  {result.ways[0]}\n  {result.ways[1]}")
    print()


def shown(ratio: float) -> str:
    """Return a ratio in as many digits as it is worth."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"  # noqa: PLR2004


def answers(
    engine: str, opened_pair: Any, asked: Iterable[Case], patience: float
) -> list[Result]:
    """Ask one engine, and print its figures."""
    with opened_pair as pair:
        fitting = [c for c in asked if c.needs != SUBSTRINGS or pair.before.is_server]
        results = [measured(pair, case, patience) for case in fitting]
    show(engine, results)
    return results


def main() -> None:
    """Ask both engines, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in SIZES._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each question")
    parser.add_argument("--server", help="default: one in a temporary directory")
    parser.add_argument("--chart", metavar="FILE", help="an SVG or PNG to draw")
    given = parser.parse_args()
    sizes = Sizes(given.customers, given.users, given.entries)
    business = Business(sizes, datetime.now(UTC))
    pairs = {
        "PostgreSQL": postgresql_databases(given.server, business),
        "SQLite": sqlite_files(business),
    }
    results = {
        engine: answers(engine, pair, cases(business), given.seconds)
        for engine, pair in pairs.items()
    }
    if given.chart:
        counts = ", ".join(f"{n:,} {name}" for name, n in sizes._asdict().items())
        draw(f"What the indexes bring: {counts}", results, given.chart)


if __name__ == "__main__":
    main()
