"""How long others wait while scripts 004 to 006 run on PostgreSQL, in both ways.

    python benchmarks/online_migration.py                  # on a server of its own
    python benchmarks/online_migration.py --rows 10000     # a small trail
    python benchmarks/online_migration.py --server postgresql://user:pass@host/postgres

A database at script 003 is filled, with a fifth as many customers as entries of the
trail, and a hundredth as many users. Then the other scripts run in two copies of it, as
`cmcore migrate` and as `cmcore migrate --online`, while a reader and a writer of each
table touch one row again and again. Printed is how long each script took, and the
longest that a single statement lasted meanwhile. A server that is named must allow to
create databases; those named cmcore_benchmark_* on it are dropped.
"""

import argparse
import contextlib
import time
from typing import NamedTuple

from peewee_migrate.router import Router
from rich.console import Console
from rich.table import Table
from servers import SETTLE, created, execute, server
from waits import WORK, fill, working

import cmcore
from cmcore.schema.history import FULL_HISTORY

ROWS = 1_000_000
FILLED_AT = "003_create_audit_logs_table"
TABLES = ("users", "customers", "audit_logs")
WAYS = {"cmcore migrate": False, "cmcore migrate --online": True}


class Result(NamedTuple):
    """What one script did to others: the longest waits in seconds, by kind of work."""

    script: str
    seconds: float
    waits: dict[str, float]


def measure(url: str, *, online: bool) -> list[Result]:
    """Run what is pending while others work."""
    spans = {}
    with (
        contextlib.closing(cmcore.connect(url)) as database,
        working(url, WORK) as workers,
    ):
        time.sleep(0.5)
        for script in cmcore.pending(database):
            began = time.perf_counter()
            cmcore.migrate(database, script, online=online)
            spans[script] = began, time.perf_counter()
    failed = sum(s.has_failed for worker in workers.values() for s in worker.seen)
    print(f"statements of others that failed: {failed}")
    return [
        Result(
            script,
            ended - began,
            {kind: worker.longest(began, ended) for kind, worker in workers.items()},
        )
        for script, (began, ended) in spans.items()
    ]


def left_to_do(url: str) -> str:
    """Return what the stock runner would still run."""
    with contextlib.closing(cmcore.connect(url)) as database:
        folder = cmcore.migrations_path()
        router = Router(database, migrate_dir=folder, migrate_table=FULL_HISTORY)
        return ", ".join(router.diff) or "nothing"


def show(way: str, results: list[Result]) -> None:
    """Print one way as a table."""
    table = Table(title=f"{way}: the longest wait of a reader / of a writer, in ms")
    table.add_column("script")
    table.add_column("seconds", justify="right")
    for name in TABLES:
        table.add_column(name, justify="right")
    for script, seconds, waits in results:
        pairs = [(waits[f"read {name}"], waits[f"write {name}"]) for name in TABLES]
        cells = [f"{1000 * r:.0f} / {1000 * w:.0f}" for r, w in pairs]
        table.add_row(script, f"{seconds:.1f}", *cells)
    Console(width=100).print(table)
    worst = max(wait for result in results for wait in result.waits.values())
    print(f"{way}: nobody waited longer than {worst:.3f} s")


def main() -> None:
    """Fill a database, migrate copies of it in both ways, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="entries of the trail")
    parser.add_argument("--server", help="default: one in a temporary directory")
    arguments = parser.parse_args()
    with (
        server(arguments.server) as url,
        created(url, "cmcore_benchmark_filled") as filled,
    ):
        with contextlib.closing(cmcore.connect(filled)) as database:
            cmcore.migrate(database, FILLED_AT)
        fill(filled, arguments.rows)
        for way, online in WAYS.items():
            with created(
                url, "cmcore_benchmark_copy", "cmcore_benchmark_filled"
            ) as copy:
                execute(copy, *SETTLE)
                show(way, measure(copy, online=online))
                print(f"left to do for pw_migrate: {left_to_do(copy)}\n")


if __name__ == "__main__":
    main()
