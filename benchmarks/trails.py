"""Trails filled by SQL: 24 months, 100 users, 20 entries of each object."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import peewee

import cmcore
from cmcore.fields import KeyField
from cmcore.models import AuditLog, User
from cmcore.partitions.months import Month

MONTHS = 24
USERS = 100
ENTRIES = 20


class Parcel(cmcore.Model):
    """What the trail is about."""

    id = KeyField(primary_key=True)
    title = peewee.CharField()
    city = peewee.CharField(index=True)
    weight = peewee.IntegerField(default=0)


# Keys are as long as real ones, and in the order of writing, as real ones are.
FILL = {
    "sqlite": """
        WITH RECURSIVE series(n) AS
            (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :rows)
        INSERT INTO audit_logs (id, action, resource_type, resource_id, description,
            user_id, user_email, ip_address, transaction_id, old_values, new_values,
            created_at, updated_at)
        SELECT printf('%036d', n), 'update', 'parcel',
            printf('%036d', n % :objects), 'user@example.org updated a parcel',
            printf('%036d', n % :users), 'user@example.org', '203.0.113.7',
            printf('%036d', n), '{"city": "Paris"}', '{"city": "Berlin"}', at, at
        FROM (SELECT n, strftime('%Y-%m-%d %H:%M:%f000+00:00',
            :since + n * 1.0 * :seconds / :rows, 'unixepoch') AS at FROM series)""",
    "postgresql": """
        INSERT INTO audit_logs (id, action, resource_type, resource_id, description,
            user_id, user_email, ip_address, transaction_id, old_values, new_values,
            created_at, updated_at)
        SELECT lpad(n::text, 36, '0'), 'update', 'parcel',
            lpad((n %% %(objects)s)::text, 36, '0'),
            'user@example.org updated a parcel',
            lpad((n %% %(users)s)::text, 36, '0'), 'user@example.org', '203.0.113.7',
            lpad(n::text, 36, '0'), '{"city": "Paris"}', '{"city": "Berlin"}', at, at
        FROM (SELECT n, to_timestamp(%(since)s + n * 1.0 * %(seconds)s / %(rows)s) AS at
            FROM generate_series(1, %(rows)s) n) series""",
}


class Trail(NamedTuple):
    """A trail of one size: where it is, how long, and since when."""

    database: peewee.Database
    rows: int
    since: Month

    @property
    def objects(self) -> int:
        """Return how many objects it is about."""
        return self.rows // ENTRIES

    def bind(self) -> None:
        """Let the models work on this database."""
        self.database.bind([AuditLog, Parcel, User])

    def fill(self, engine: str) -> None:
        """Insert users and entries by SQL."""
        self.bind()
        self.database.create_tables([Parcel])
        User.insert_many(
            {
                "id": f"{n:036}",
                "email": f"user{n}@example.org",
                "password_hash": "!no password",
                "full_name": f"User {n}",
            }
            for n in range(USERS)
        ).execute()
        span = self.since.shifted(MONTHS).start - self.since.start
        values = {
            "rows": self.rows,
            "objects": self.objects,
            "users": USERS,
            "since": self.since.start.timestamp(),
            "seconds": span.total_seconds(),
        }
        with self.database.atomic():
            self.database.execute_sql(FILL[engine], values)


@contextlib.contextmanager
def made(urls: list[str], sizes: list[int]) -> Iterator[list[Trail]]:
    """Yield a trail of each size that begins two years ago, still without entries."""
    since = Month.of(datetime.now(UTC)).shifted(-MONTHS)
    with contextlib.ExitStack() as opened:
        trails = []
        for url, rows in zip(urls, sizes, strict=True):
            database = opened.enter_context(contextlib.closing(cmcore.connect(url)))
            cmcore.migrate(database)
            trails.append(Trail(database, rows, since))
        yield trails
