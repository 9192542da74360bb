"""The benchmarks run to their end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# The package that starts servers asks for a folder that some machines do not have.
WARNINGS = ("-W", "error", "-W", "ignore:XDG_RUNTIME_DIR")
SCRIPTS = ("004_add_customer", "005_add_soft", "006_add_check")


@pytest.mark.postgresql
@pytest.mark.slow
def test_a_small_online_migration_is_measured(postgresql_url: str) -> None:
    """Both ways and every script have their figures, and the stock tool is content."""
    arguments = ("--rows", "500", "--server", postgresql_url)
    done = subprocess.run(
        [sys.executable, *WARNINGS, BENCHMARKS / "online_migration.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for script in SCRIPTS:
        row = rf"{script}\w+ .* \d+\.\d .*( \d+ / \d+ .*){{3}}"
        assert len(re.findall(row, done.stdout)) == 2
    assert done.stdout.count("left to do for pw_migrate: nothing") == 2
    assert done.stdout.count("statements of others that failed: 0") == 2
    assert re.search(r"--online: nobody waited longer than \d+\.\d{3} s", done.stdout)
