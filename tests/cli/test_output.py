"""What is printed on a terminal and elsewhere, and help."""

import os
import pty
import subprocess
import sys

import cmcore
from tests.cli.conftest import Run
from tests.conftest import MakeUrl


def test_a_terminal_gets_colours_unless_they_are_declined(make_url: MakeUrl) -> None:
    """On a terminal there are colours; with NO_COLOR there are none."""
    url = make_url("sqlite", migrated=True)
    assert "\x1b[32m" in on_terminal("status", "--database", url)
    assert "\x1b[32m" not in on_terminal("status", "--database", url, NO_COLOR="1")


def on_terminal(*arguments: str, **variables: str) -> str:
    """Run the command with a terminal as its stdout, and return what it wrote there."""
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    with subprocess.Popen(
        [sys.executable, "-m", "cmcore", *arguments],
        stdout=theirs,
        env=environment | {"TERM": "xterm-256color", **variables},
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not part:
                break
            written += part
    os.close(ours)
    assert process.returncode == 0
    return written.decode()


def test_the_version_is_told(run: Run) -> None:
    """`--version` prints one line and needs no database."""
    assert run("--version").stdout == f"cmcore {cmcore.__version__}\n"


def test_help_is_there_without_a_database(run: Run) -> None:
    """`--help` of every command works and names the exit codes once."""
    assert "Exit codes" in run("--help").stdout
    for command in ("migrate", "rollback", "status", "doctor"):
        assert "--database" in run(command, "--help").stdout
