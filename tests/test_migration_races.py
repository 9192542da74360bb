"""Several migrators at once, each a process of its own, on an empty database."""

import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from playhouse.db_url import connect

from cmcore.schema.history import FULL_HISTORY, migrations_path
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, fetch

STOCK = (
    *("-c", "from peewee_migrate.cli import cli; cli()", "migrate"),
    *("--directory", str(migrations_path())),
)
OURS = ("-m", "cmcore", "migrate")
ONLINE = (*OURS, "--online")


def race(url: str, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """Run commands at once; return their exit codes and all that they said."""
    runners = [
        subprocess.Popen(
            [sys.executable, *command, "--database", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    outputs = [runner.communicate(timeout=60)[0] for runner in runners]
    return [(r.returncode, o) for r, o in zip(runners, outputs, strict=True)]


def assert_applied_once(url: str) -> None:
    """Each script is in the history once, in its order."""
    db: Any = connect(url)
    names = fetch(db, f"SELECT name FROM {FULL_HISTORY} ORDER BY id")  # noqa: S608
    db.close()
    assert [name for (name,) in names] == SCRIPTS


def test_stock_runners(engine: str, make_url: MakeUrl) -> None:
    """Losers say that they were overtaken, and to run again; a rerun is fine."""
    url = make_url(engine)
    for code, said in race(url, STOCK, STOCK, STOCK):
        assert code == 0 or re.search("was applied by another .* run again", said), said
    assert [code for code, _ in race(url, STOCK)] == [0]
    assert_applied_once(url)


def test_our_runners(engine: str, make_url: MakeUrl) -> None:
    """All succeed; together they ran each script once."""
    url = make_url(engine)
    results = race(url, OURS, OURS, OURS, OURS)
    assert [code for code, _ in results] == [0, 0, 0, 0], results
    said = "\n".join(output for _, output in results)
    ran = Counter(re.findall(r"^\d{3}_\w+$", said, re.MULTILINE))
    assert ran == Counter(SCRIPTS)
    assert_applied_once(url)


def test_ours_and_stock_ones(engine: str, make_url: MakeUrl) -> None:
    """Ours succeed, online or not, whatever the stock ones do meanwhile."""
    url = make_url(engine)
    results = race(url, ONLINE, STOCK, OURS, ONLINE, STOCK)
    assert [results[i][0] for i in (0, 2, 3)] == [0, 0, 0], results
    for code, said in (results[1], results[4]):
        assert code == 0 or "run again" in said, said
    assert_applied_once(url)


@pytest.mark.postgresql
def test_the_trail_alone(make_url: MakeUrl) -> None:
    """Its folder is as safe from collisions at the very start."""
    url = make_url("postgresql")
    folder = str(migrations_path(trail_only=True))
    results = race(url, *[(*STOCK[:-1], folder)] * 3)
    assert all(code == 0 or "run again" in said for code, said in results), results
