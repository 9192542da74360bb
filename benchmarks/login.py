"""What a login costs: `authenticate` beside one bare Argon2 verification.

    python benchmarks/login.py                       # SQLite, a temporary file
    python benchmarks/login.py --database postgresql://user:pass@host/empty_database

Each figure is the median, over the repeats, of the ratio of two timings taken right
after each other; the order alternates. No path may cost more than 1.1 verifications.
Then the look-up of an address, among a thousand users and among a million.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pyotp
from rich.console import Console
from rich.table import Table

import cmcore
from cmcore import accounts
from cmcore.accounts import rows
from cmcore.accounts.settings import STANDARD_HASHER
from cmcore.models import User

LIMIT = 1.1
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
BATCH = 10_000


def timed(function: Callable[[], Any]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(path: Callable[[], Any], bare: Callable[[], Any], repeats: int) -> float:
    """Return the median ratio of two calls, interleaved."""
    found = []
    for i in range(repeats):
        order = (path, bare) if i % 2 else (bare, path)
        times = {function: timed(function) for function in order}
        found.append(times[path] / times[bare])
    return statistics.median(found)


def person(name: str) -> User:
    """Create a user."""
    return accounts.create_user(f"{name}@example.org", PASSWORD, f"User {name}")


def paths() -> dict[str, Callable[[], Any]]:
    """Return a login on each path; every call of one is on that path."""
    person("plain")
    twice = person("twice")
    secret = accounts.begin_totp(twice, PASSWORD).secret
    accounts.confirm_totp(twice, pyotp.TOTP(secret).now())
    accounts.disable_user(person("inactive"))
    person("deleted").delete_instance()
    locked = person("locked")
    for _ in range(5):
        accounts.authenticate(locked.email, "wrong")
    broken = person("broken")
    User.update(password_hash="!unusable").where(User.id == broken.id).execute()  # noqa: S106

    def log_in(name: str, password: str = PASSWORD, code: str | None = None) -> None:
        accounts.authenticate(f"{name}@example.org", password, code)

    def failing(name: str, code: str | None = None) -> None:
        log_in(name, PASSWORD if code else "wrong", code)
        reset = {User.failed_login_attempts: 0, User.locked_until: None}
        peewee.ModelUpdate(User, reset).execute()

    def both() -> None:
        log_in("twice", code=pyotp.TOTP(secret).now())
        peewee.ModelUpdate(User, {User.totp_last_step: None}).execute()

    return {
        "locked": lambda: log_in("locked"),
        "success": lambda: log_in("plain"),
        "success with a code": both,
        "code required": lambda: log_in("twice"),
        "unknown": lambda: log_in("nobody"),
        "inactive": lambda: log_in("inactive"),
        "deleted": lambda: log_in("deleted"),
        "wrong password": lambda: failing("plain"),
        "wrong code": lambda: failing("twice", "000000"),
        "unusable hash": lambda: failing("broken"),
    }


def fill(database: peewee.Database, total: int) -> None:
    """Add users, past the trail, until there are so many."""
    have = User.select().count()
    columns = (User.id, User.email, User.password_hash, User.full_name)
    stamps = (User.created_at, User.updated_at)
    at = User.get_by_id("system").created_at
    numbers = itertools.count(have)
    with database.atomic():
        while (left := total - have) > 0:
            some = [
                (f"k{n}", f"user{n}@example.org", "!" * 8, f"User {n}", at, at)
                for n in itertools.islice(numbers, min(left, BATCH))
            ]
            for part in (some[i : i + 1000] for i in range(0, len(some), 1000)):
                peewee.ModelInsert(User, part, (*columns, *stamps)).execute()
            have += len(some)
    database.execute_sql("ANALYZE")


def look_ups(count: int) -> float:
    """Return the median seconds of a look-up by address."""
    addresses = (
        f"user{n * 7919 % (count - 200) + 100}@example.org" for n in range(300)
    )
    return statistics.median(timed(lambda a=a: rows.find(a)) for a in addresses)  # type: ignore[misc]  # the loop's own


def measure(database: peewee.Database, repeats: int, users: int) -> bool:
    """Print both tables, and tell whether every path keeps the limit."""
    cmcore.migrate(database)
    cmcore.configure(secret_key=accounts.generate_key())
    stored = STANDARD_HASHER.hash(PASSWORD)
    table = Table("Path", "in verifications")
    ratios = {}
    for name, path in paths().items():
        ratios[name] = ratio(
            path, lambda: STANDARD_HASHER.verify(stored, PASSWORD), repeats
        )
        table.add_row(name, f"{ratios[name]:.3f}")
    console = Console()
    console.print(table)
    for total in (1000, users):
        fill(database, total)
        console.print(
            f"look-up among {total:>9,} users: {look_ups(total) * 1e6:.0f} µs"
        )
    return max(ratios.values()) <= LIMIT


def main() -> None:
    """Measure on a database that is empty."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database", metavar="URL")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--users", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.database or f"sqlite:///{Path(folder) / 'login.db'}"
        database = cmcore.connect(url)
        is_fine = measure(database, given.repeats, given.users)
        database.close()
    if not is_fine:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
