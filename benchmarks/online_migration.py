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
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import psycopg2
from peewee_migrate.router import Router
from rich.console import Console
from rich.table import Table
from servers import created, execute, server

import cmcore
from cmcore.schema.history import FULL_HISTORY

ROWS = 1_000_000
PAUSE = 0.005
FILLED_AT = "003_create_audit_logs_table"
TABLES = ("users", "customers", "audit_logs")
WAYS = {"cmcore migrate": False, "cmcore migrate --online": True}

# Keys are as long as real ones, and in the order of writing, as real ones are.
FILL = (
    """INSERT INTO users (id, email, password_hash, full_name, created_at, updated_at)
    SELECT lpad(n::text, 36, 'u'), 'user' || n || '@example.org', repeat('x', 97),
        'User ' || n, now(), now()
    FROM generate_series(1, %(users)s) n""",
    """INSERT INTO customers (id, name, email, phone, city, country, postal_code,
        created_at, updated_at, created_by)
    SELECT lpad(n::text, 36, 'c'), 'Customer ' || n, 'c' || n || '@example.org',
        '+49 30 ' || 1000000 + n, 'Berlin', 'Germany', '10115', now(), now(),
        lpad((1 + n %% %(users)s)::text, 36, 'u')
    FROM generate_series(1, %(customers)s) n""",
    """INSERT INTO audit_logs (id, action, resource_type, resource_id, description,
        user_id, user_email, ip_address, transaction_id, old_values, new_values,
        created_at, updated_at)
    SELECT lpad(n::text, 36, 'a'), 'update', 'customers',
        lpad((1 + n %% %(customers)s)::text, 36, 'c'), 'Updated customer ' || n,
        lpad((1 + n %% %(users)s)::text, 36, 'u'), 'user@example.org', '203.0.113.7',
        lpad(n::text, 36, 't'), '{"city": "Paris"}', '{"city": "Berlin"}',
        now() - n * interval '1 second', now()
    FROM generate_series(1, %(rows)s) n""",
)
SETTLE = ("VACUUM ANALYZE", "CHECKPOINT")
WORK = {
    "read users": "SELECT * FROM users WHERE id = lpad('1', 36, 'u')",
    "read customers": "SELECT * FROM customers WHERE id = lpad('1', 36, 'c')",
    "read audit_logs": "SELECT * FROM audit_logs WHERE id = lpad('1', 36, 'a')",
    "write users": """UPDATE users SET last_login_at = now()
        WHERE id = lpad('1', 36, 'u')""",
    "write customers": """UPDATE customers SET updated_at = now()
        WHERE id = lpad('1', 36, 'c')""",
    "write audit_logs": """INSERT INTO audit_logs (id, action, resource_type,
            description, user_id, created_at, updated_at)
        VALUES (gen_random_uuid(), 'login_success', 'users', 'Logged in',
            lpad('1', 36, 'u'), now(), now())""",
}


class Statement(NamedTuple):
    """When a statement began and ended, and whether the database refused it."""

    began: float
    ended: float
    has_failed: bool


class Worker:
    """Executes one statement again and again, in a thread and in autocommit."""

    def __init__(self, url: str, sql: str) -> None:
        """Connect and begin."""
        self.seen: list[Statement] = []
        self._sql = sql
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End after the statement that runs."""
        self._is_over.set()
        self._thread.join()
        self._connection.close()

    def longest(self, since: float, until: float) -> float:
        """Return how long the longest statement in an interval lasted, in seconds."""
        seen = [s for s in self.seen if since < s.ended and s.began < until]
        return max((s.ended - s.began for s in seen), default=0.0)

    def _run(self) -> None:
        cursor = self._connection.cursor()
        while not self._is_over.wait(PAUSE):
            began = time.perf_counter()
            try:
                cursor.execute(self._sql)
                has_failed = False
            except psycopg2.Error:
                has_failed = True
            self.seen.append(Statement(began, time.perf_counter(), has_failed))


class Result(NamedTuple):
    """What one script did to others: the longest waits in seconds, by kind of work."""

    script: str
    seconds: float
    waits: dict[str, float]


@contextlib.contextmanager
def working(url: str) -> Iterator[dict[str, Worker]]:
    """Let all kinds of work go on during a block."""
    workers = {kind: Worker(url, sql) for kind, sql in WORK.items()}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def fill(url: str, rows: int) -> None:
    """Bring a database to script 003, with that many entries, and let it settle."""
    with contextlib.closing(cmcore.connect(url)) as database:
        cmcore.migrate(database, FILLED_AT)
    counts = {"customers": max(rows // 5, 1), "users": max(rows // 100, 1)}
    execute(url, *FILL, rows=rows, **counts)
    execute(url, *SETTLE)


def measure(url: str, *, online: bool) -> list[Result]:
    """Run what is pending while others work."""
    spans = {}
    with contextlib.closing(cmcore.connect(url)) as database, working(url) as workers:
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
