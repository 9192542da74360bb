"""How long others wait while a trail is converted, kept short, and reverted.

    python benchmarks/conversion.py                  # on a server of its own
    python benchmarks/conversion.py --rows 10000     # a small trail
    python benchmarks/conversion.py --server postgresql://user:pass@host/postgres

A trail of two years is filled. Then it is converted, gets three more months, loses the
old ones to an archive, gets one of them back, and is reverted; and so is another one
that has a partition of each month. Meanwhile a reader and a writer of each table touch
one row again and again, and another reads the newest page. Printed is how long each
step took, and the longest that a single statement lasted meanwhile. A server that is
named must allow to create databases; those named cmcore_benchmark_trail and
cmcore_benchmark_months on it are dropped. The months are those to come, since `ensure`
makes the partitions of these.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import peewee
from rich.console import Console
from rich.table import Table
from servers import created, server
from waits import WORK, fill, working

import cmcore
from cmcore import partitions

ROWS = 1_000_000
TWO_YEARS = 730 * 86_400
MONTHS = 24
MONTHS_AHEAD = 6
PAGE = "SELECT * FROM audit_logs ORDER BY created_at DESC, id DESC LIMIT 50"

Step = Callable[[peewee.Database], object]


def steps(folder: Path) -> dict[str, Step]:
    """Return what is done, in its order."""
    return {
        "convert": partitions.convert,
        f"ensure {MONTHS_AHEAD} months": lambda db: partitions.ensure(db, MONTHS_AHEAD),
        "retain 13 months": lambda db: partitions.retain(db, archive=folder),
        "restore a month": lambda db: partitions.restore(
            db, sorted(folder.glob("*.gz"))[-1]
        ),
        "retain again": lambda db: partitions.retain(db, archive=folder),
        "revert": partitions.revert,
    }


def blank() -> Table:
    """Return the table of figures, still without a step."""
    table = Table(title="the longest wait for a statement of others, in ms")
    for heading in ("step", "seconds", "readers", "writers", "newest page", "failed"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    return table


def measure(url: str, steps: dict[str, Step], table: Table) -> None:
    """Do steps one after the other while others work, and add what they took."""
    kinds = {**WORK, "newest page": PAGE}
    for name, step in steps.items():
        with (
            contextlib.closing(cmcore.connect(url)) as database,
            working(url, kinds) as workers,
        ):
            time.sleep(0.5)
            began = time.perf_counter()
            step(database)
            ended = time.perf_counter()
        longest = {k: w.longest(began, ended) for k, w in workers.items()}
        worst = [
            max(wait for kind, wait in longest.items() if kind.startswith(group))
            for group in ("read", "write", "newest")
        ]
        failed = sum(s.has_failed for worker in workers.values() for s in worker.seen)
        cells = [f"{1000 * wait:.0f}" for wait in worst]
        table.add_row(name, f"{ended - began:.1f}", *cells, str(failed))


def main() -> None:
    """Fill a trail, and print the figures of each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="entries of the trail")
    parser.add_argument("--server", help="default: one in a temporary directory")
    arguments = parser.parse_args()
    table = blank()
    with (
        tempfile.TemporaryDirectory() as folder,
        server(arguments.server) as given,
    ):
        with created(given, "cmcore_benchmark_trail") as url:
            with contextlib.closing(cmcore.connect(url)) as database:
                cmcore.migrate(database)
            fill(url, arguments.rows, spread=TWO_YEARS / arguments.rows)
            measure(url, steps(Path(folder)), table)
        with created(given, "cmcore_benchmark_months") as url:
            with contextlib.closing(cmcore.connect(url)) as database:
                cmcore.migrate(database)
                partitions.convert(database)
                partitions.ensure(database, MONTHS)
            fill(url, arguments.rows, spread=-TWO_YEARS / arguments.rows)
            measure(url, {f"revert of {MONTHS} months": partitions.revert}, table)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
