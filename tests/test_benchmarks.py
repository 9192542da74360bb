"""The benchmarks run, with numbers that are small enough for a test."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import MakeUrl

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    """Run a benchmark with warnings as errors, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", BENCHMARKS / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


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
