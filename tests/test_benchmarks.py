"""The benchmarks run, with numbers that are small enough for a test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeUrl

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# The package that starts servers asks for a folder that some machines do not have.
WARNINGS = ("-W", "error", "-W", "ignore:XDG_RUNTIME_DIR")
SCRIPTS = ("004_add_customer", "005_add_soft", "006_add_check")


def run(name: str, *arguments: str) -> str:
    """Run a benchmark with warnings as errors, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *WARNINGS, BENCHMARKS / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.postgresql
@pytest.mark.slow
def test_a_small_online_migration_is_measured(postgresql_url: str) -> None:
    """Both ways and every script have their figures, and the stock tool is content."""
    shown = run("online_migration.py", "--rows", "500", "--server", postgresql_url)
    for script in SCRIPTS:
        row = rf"{script}\w+ .* \d+\.\d .*( \d+ / \d+ .*){{3}}"
        assert len(re.findall(row, shown)) == 2
    assert shown.count("left to do for pw_migrate: nothing") == 2
    assert shown.count("statements of others that failed: 0") == 2
    assert re.search(r"--online: nobody waited longer than \d+\.\d{3} s", shown)


def test_soft_delete_is_measured(engine: str, make_url: MakeUrl) -> None:
    """Each comparison gives a ratio, on both engines."""
    sizes = ("--rows", "200", "--deletes", "20", "--repeats", "1")
    shown = run("soft_delete.py", "--database", make_url(engine), *sizes)
    figures = re.findall(r"^│ (.*?) +│ +[0-9]+\.[0-9]{2} │$", shown, re.MULTILINE)
    assert figures == [
        "read a live row by a unique column, 90% deleted",
        "read a live row by an indexed column, 90% deleted",
        "build and run queries",
        "delete() to update() of plain columns",
        "delete() to update() of an indexed column",
    ]


@pytest.mark.postgresql
@pytest.mark.slow
def test_the_growth_of_small_trails_is_measured(postgresql_url: str) -> None:
    """Each task has a time and a ratio, each engine a verdict, with partitions too."""
    sizes = ("--sizes", "200", "2000", "--repeats", "1")
    shown = run("scale.py", "--server", postgresql_url, *sizes)
    row = r"^│ ([^│]*?) +│ +[0-9]+\.[0-9]{2} │ +[0-9]+\.[0-9]{2} │ +([0-9.]+) │$"
    figures = re.findall(row, shown, re.MULTILINE)
    assert figures == figures[: len(figures) // 4] * 4
    assert dict(figures) == {
        "create": "1.00",
        "save two fields": "1.00",
        "insert_many, 1,000 rows": "1.00",
        "the newest page": "1.43",
        "history of one object": "1.43",
        "newest page of a user": "1.43",
        "newest page of a month": "1.43",
        "entries of a month, counted": "10.00",
        "one entry by id": "1.43",
    }
    beside = r"^│ ([^│]*?) +│ +[0-9]+\.[0-9]{2} │ +[0-9]+\.[0-9]{2} │$"
    assert re.findall(beside, shown, re.MULTILINE) == list(dict(figures))
    assert re.search(r"PostgreSQL: 2,000 entries converted in [0-9.]+ s", shown)
    months = "PostgreSQL, 24 months"
    for setting in ("SQLite", "PostgreSQL", "PostgreSQL, converted", months):
        verdict = "(everything grows as expected, or less|.* times as long in 2,000)"
        assert re.search(f"^{setting}: {verdict}", shown, re.MULTILINE)


@pytest.mark.postgresql
@pytest.mark.slow
def test_the_reference_table_is_measured(postgresql_url: str) -> None:
    """Each question has times, a ratio, a verdict, and a way, on both engines."""
    sizes = ("--customers", "300", "--users", "20", "--entries", "1000")
    given = ("--seconds", "0", "--server", postgresql_url)
    shown = run("reference_table.py", *sizes, *given)
    row = r"^\| (.*?) +\| (.*?) +\| +[0-9.]+ \| +[0-9.]+ \| .*(?:yes|no) \|$"
    asked = re.findall(row, shown, re.MULTILINE)
    assert {claim for claim, _ in asked} == {
        "user login queries",
        "customer search",
        "audit log by date range",
        "archive old data",
        "filtered queries",
        "time-based queries",
    }
    texts = [text for _, text in asked]
    ways = r"^(\S.*):\n  before: \S.*\n  after: \S"
    assert re.findall(ways, shown, re.MULTILINE) == texts
    by_month = r"^\| (.*?) +\| +[0-9.]+ \| +[0-9.]+ \| +[0-9.]+ \|$"
    trails = re.findall(by_month, shown, re.MULTILINE)
    assert len(trails) == shown.count("\n  monthly: ") > 0
    assert {texts.count(text) for text in trails} == {2}


@pytest.mark.postgresql
@pytest.mark.slow
def test_the_waits_beside_a_small_conversion_are_measured(postgresql_url: str) -> None:
    """Each step has a time and three waits, and no statement of others fails."""
    shown = run("conversion.py", "--server", postgresql_url, "--rows", "2000")
    row = r"^│ (\w[^│]*?) +│ +[0-9.]+ │ +[0-9]+ │ +[0-9]+ │ +[0-9]+ │ +0 │$"
    assert re.findall(row, shown, re.MULTILINE) == [
        "convert",
        "ensure 6 months",
        "retain 13 months",
        "restore a month",
        "retain again",
        "revert",
        "revert of 24 months",
    ]
