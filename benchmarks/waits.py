"""How long others wait meanwhile: readers and writers who never stop."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import psycopg2
from servers import SETTLE, execute

PAUSE = 0.005

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
        now() - n * %(spread)s * interval '1 second', now()
    FROM generate_series(1, %(rows)s) n""",
)


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


@contextlib.contextmanager
def working(url: str, kinds: Mapping[str, str]) -> Iterator[dict[str, Worker]]:
    """Let several statements be executed again and again during a block.

    Args:
        url: The database.
        kinds: The statement of each kind of work, by name.
    """
    workers = {kind: Worker(url, sql) for kind, sql in kinds.items()}
    try:
        yield workers
    finally:
        for worker in workers.values():
            worker.stop()


def fill(url: str, rows: int, *, spread: float = 1.0) -> None:
    """Fill a database that is at script 003 or later, and let it settle.

    Args:
        url: The database.
        rows: How many entries; a fifth as many customers, a hundredth as many users.
        spread: How many seconds are between two entries.
    """
    counts = {"customers": max(rows // 5, 1), "users": max(rows // 100, 1)}
    execute(url, *FILL, rows=rows, spread=spread, **counts)
    execute(url, *SETTLE)
