"""What a login costs: `authenticate` beside one bare Argon2 verification.

    python benchmarks/login.py                       # SQLite, a temporary file
    python benchmarks/login.py --database postgresql://user:pass@host/empty_database

Each figure is the median, over the repeats, of the ratio of two timings taken right
after each other; the order alternates. No path may cost more than 1.1 verifications.
Then the look-up of an address, among a thousand users and among a million.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
LOCKED = "locked@example.org"


def timed(function: Callable[[], Any]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(path: Callable[[], Any], bare: Callable[[], Any], repeats: int) -> float:
    """Return the median ratio of two calls, interleaved."""
    found = []
    for i in range(repeats):
        reset()
        order = (path, bare) if i % 2 else (bare, path)
        times = {function: timed(function) for function in order}
        found.append(times[path] / times[bare])
    return statistics.median(found)


def reset() -> None:
    """Let nobody be locked by the calls before but the one who is to be."""
    values = {
        User.failed_login_attempts: 0,
        User.totp_last_step: None,
        User.locked_until: None,
    }
    peewee.ModelUpdate(User, values).execute()
    forever = datetime.now(UTC) + timedelta(days=1)
    locked = peewee.ModelUpdate(User, {User.locked_until: forever})
    locked.where(User.email == LOCKED).execute()


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
    person("locked")
    broken = person("broken")
    User.update(password_hash="!unusable").where(User.id == broken.id).execute()  # noqa: S106

    def log_in(name: str, password: str = PASSWORD, code: str | None = None) -> None:
        accounts.authenticate(f"{name}@example.org", password, code)

    return {
        "locked": lambda: log_in("locked"),
        "success": lambda: log_in("plain"),
        "success with a code": lambda: log_in("twice", code=pyotp.TOTP(secret).now()),
        "code required": lambda: log_in("twice"),
        "unknown": lambda: log_in("nobody"),
        "inactive": lambda: log_in("inactive"),
        "deleted": lambda: log_in("deleted"),
        "wrong password": lambda: log_in("plain", "wrong"),
        "wrong code": lambda: log_in("twice", code="000000"),
        "unusable hash": lambda: log_in("broken", "wrong"),
    }


def fill(database: peewee.Database, total: int) -> None:
    """Add users, past the trail, until there are so many."""
    first = User.select().count()
    numbers = f"SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {total - 1}"  # noqa: S608
    database.execute_sql(
        "INSERT INTO users (id, email, password_hash, full_name, created_at,"  # noqa: S608
        f" updated_at) WITH RECURSIVE n (i) AS ({numbers}) SELECT 'k' || i,"
        " 'user' || i || '@example.org', '!unusable', 'User ' || i, created_at,"
        " created_at FROM n JOIN users ON id = 'system'"
    )
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
