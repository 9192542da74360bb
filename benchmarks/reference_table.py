"""What indexes and partitions bring, beside what is said of them.

    python benchmarks/reference_table.py               # SQLite, and a server of its own
    python benchmarks/reference_table.py --customers 2000 --users 100 --entries 10000
    python benchmarks/reference_table.py --server postgresql://user:pass@host/postgres
    python benchmarks/reference_table.py --chart figures.svg    # with the extra `bench`

200,000 customers, 10,000 users and a trail of a million entries over two years are
asked the same questions twice: in tables that have no index but that of the primary
key, and as cmcore makes them. On PostgreSQL the trail is also asked as
`cmcore.partitions.convert` leaves it, all in one partition, and with a partition for
each month, as it is some years later; and old months are removed. Printed are the best
of many timings in turn, their ratio, the ratio that is claimed, and the way to the
rows. A server that is named must allow to create databases; those named
cmcore_reference_* on it are dropped.
"""

import argparse
import contextlib
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import peewee
from reference_cases import CLAIMS, SUBSTRINGS, UNIQUE_BEFORE, Case, cases, claimed
from reference_chart import draw
from reference_data import Business, Sizes
from reference_fill import convert, divide, fill_bare, opened, settle
from reference_removal import removals
from rich import box
from rich.console import Console
from rich.table import Table
from servers import created, execute, server

from cmcore.schema import search_index

SIZES = Sizes(200_000, 10_000, 1_000_000)
WAYS = re.compile(
    r"(?:\w+ )*Scan (?:Backward )?(?:using|on) \w+|SCAN t1(?: USING.*)?|SEARCH t1.*"
)
PARTITION = re.compile(r"audit_logs_((before_)?\d{4}_\d\d|default)")
FEWEST = 5
WIDTH = 160


class Side:
    """One of the databases, asked past the models."""

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

    def way(self, query: Any) -> str:
        """Return the ways to the rows, without the rest of the plan."""
        sql, parameters = query.sql()
        explain = "EXPLAIN" if self.is_server else "EXPLAIN QUERY PLAN"
        found = self.database.execute_sql(f"{explain} {sql}", parameters).fetchall()
        lines = [PARTITION.sub("audit_logs_PART", row[-1]) for row in found]
        ways = Counter(way for line in lines for way in WAYS.findall(line))
        return ", ".join(f"{w} ({n} times)" if n > 1 else w for w, n in ways.items())


Sides = dict[str, Side]
"""Databases with the same rows, by what has been made of them."""


@contextlib.contextmanager
def with_help(sides: Sides, needs: str | None) -> Iterator[None]:
    """Have for the length of a block what a case needs."""
    before, after = (sides[name].database for name in ("before", "after"))
    if needs == UNIQUE_BEFORE:
        before.execute_sql("CREATE UNIQUE INDEX reference_email ON users (email)")
    elif needs == SUBSTRINGS:
        search_index.create(after)
    yield
    if needs == UNIQUE_BEFORE:
        before.execute_sql("DROP INDEX reference_email")
    elif needs == SUBSTRINGS:
        search_index.drop(after)


class Result(NamedTuple):
    """One question, by side how many seconds it took, and the ways to the rows."""

    case: Case
    seconds: dict[str, float]
    ways: dict[str, str]

    @property
    def ratio(self) -> float:
        """How many times faster it has become."""
        return self.seconds["before"] / self.seconds["after"]

    @property
    def holds(self) -> bool:
        """Tell whether it has become as fast as is claimed, at least."""
        least: int = CLAIMS[self.case.claim][0]
        return self.ratio >= least


def measured(sides: Sides, case: Case, patience: float) -> Result:
    """Ask all in turn, at least five times and for so many seconds.

    The best time of each counts, which other work of the machine disturbs the least.
    """
    fitting = sides if case.is_of_trail else {n: sides[n] for n in ("before", "after")}
    with with_help(sides, case.needs):
        times: dict[str, list[float]] = {name: [] for name in fitting}
        enough = time.perf_counter() + patience
        while len(times["after"]) < FEWEST or time.perf_counter() < enough:
            for name, side in fitting.items():
                times[name].append(side.seconds(case.query))
        ways = {name: side.way(case.query) for name, side in fitting.items()}
    return Result(case, {name: min(taken) for name, taken in times.items()}, ways)


@contextlib.contextmanager
def sqlite_files(business: Business) -> Iterator[Sides]:
    """Fill two files."""
    with tempfile.TemporaryDirectory(prefix="cmcore-") as folder:
        before, after = (Path(folder) / f"{name}.db" for name in ("before", "after"))
        made = fill_bare(f"sqlite:///{before}", business)
        shutil.copy(before, after)
        with opened(f"sqlite:///{after}") as database:
            for statement in made:
                database.execute_sql(statement)
        with settled(before=f"sqlite:///{before}", after=f"sqlite:///{after}") as sides:
            yield sides


@contextlib.contextmanager
def postgresql_databases(given: str | None, business: Business) -> Iterator[Sides]:
    """Fill four databases on a server."""
    with contextlib.ExitStack() as stack:
        server_url = stack.enter_context(server(given))

        def copy(name: str, of: str | None = None) -> str:
            template = f"cmcore_reference_{of}" if of else "template1"
            new = created(server_url, f"cmcore_reference_{name}", template)
            url: str = stack.enter_context(new)
            return url

        before = copy("before")
        made = fill_bare(before, business)
        after = copy("after", of="before")
        execute(after, *made)
        converted = copy("converted", of="after")
        convert(converted)
        monthly = copy("monthly", of="converted")
        divide(monthly, business)
        urls = {"before": before, "after": after}
        trails = {"converted": converted, "monthly": monthly}
        yield stack.enter_context(settled(**urls, **trails))


@contextlib.contextmanager
def settled(**urls: str) -> Iterator[Sides]:
    """Open databases, and let each gather its statistics."""
    with contextlib.ExitStack() as stack:
        opened_ones = {n: stack.enter_context(opened(url)) for n, url in urls.items()}
        for database in opened_ones.values():
            settle(database)
        yield {name: Side(database) for name, database in opened_ones.items()}


def show(engine: str, results: list[Result]) -> None:
    """Print the figures of one engine, then the ways."""
    rows = [
        (
            *(result.case.claim, result.case.text),
            *(shown_time(result.seconds[name]) for name in ("before", "after")),
            *(shown(result.ratio), claimed(result.case.claim)),
            "yes" if result.holds else "no",
        )
        for result in results
    ]
    head = ("claim", "question", "before, ms", "after, ms", "ratio", "claimed", "holds")
    show_table(engine, head, rows)
    trails = [r for r in results if "monthly" in r.seconds]
    if trails:
        names = ("after", "converted", "monthly")
        show_table(
            f"{engine}: the trail in one table, just converted, and by months",
            ("question", *(f"{name}, ms" for name in names)),
            [(r.case.text, *(shown_time(r.seconds[n]) for n in names)) for r in trails],
        )
    for result in results:
        print(f"{result.case.text}:")
        for name, way in result.ways.items():
            print(f"  {name}: {way}")
    print()


def show_table(title: str, head: Sequence[str], rows: list[tuple[str, ...]]) -> None:
    """Print a table of texts and numbers."""
    table = Table(title=title, title_justify="left", box=box.MARKDOWN)
    for heading in head:
        is_text = heading in {"claim", "question"}
        table.add_column(heading, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=WIDTH).print(table)


def shown_time(seconds: float) -> str:
    """Return a time in milliseconds."""
    return f"{1000 * seconds:.2f}"


def shown(ratio: float) -> str:
    """Return a ratio in as many digits as it is worth."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"  # noqa: PLR2004


def answers(
    engine: str, opened_sides: Any, business: Business, patience: float
) -> list[Result]:
    """Ask one engine, and print its figures."""
    with opened_sides as sides:
        fitting = [
            case
            for case in cases(business)
            if case.needs != SUBSTRINGS or sides["after"].is_server
        ]
        results = [measured(sides, case, patience) for case in fitting]
        if "monthly" in sides:
            plain, monthly = (sides[name].database for name in ("before", "monthly"))
            results += [Result(*each) for each in removals(plain, monthly, business)]
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
    engines = {
        "PostgreSQL": postgresql_databases(given.server, business),
        "SQLite": sqlite_files(business),
    }
    results = {
        engine: answers(engine, sides, business, given.seconds)
        for engine, sides in engines.items()
    }
    if given.chart:
        counts = ", ".join(f"{n:,} {name}" for name, n in sizes._asdict().items())
        draw(f"What indexes and partitions bring: {counts}", results, given.chart)


if __name__ == "__main__":
    main()
