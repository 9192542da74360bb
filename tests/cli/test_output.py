"""What is printed on a terminal and elsewhere, and help."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import cmcore
from cmcore.models import AuditLog
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected
from tests.test_docs import commands

FULL = "No space left on device"
READING = {
    "audit list",
    "audit show",
    "doctor",
    "migrations",
    "partition report",
    "plugins",
    "status",
    "user list",
    "user show",
}
WRITING = {
    "partition convert",
    "partition ensure",
    "partition restore",
    "partition retain",
    "partition revert",
    "purge",
}


def test_a_terminal_gets_colours_unless_they_are_declined(make_url: MakeUrl) -> None:
    """On a terminal there are colours; with NO_COLOR there are none."""
    url = make_url("sqlite", migrated=True)
    assert "\x1b[32m" in on_terminal("status", "--database", url)
    plain = on_terminal("status", "--database", url, NO_COLOR="1")
    assert "applied" in plain
    assert "\x1b" not in plain


@pytest.mark.parametrize("command", [("--help",), ("migrations",), ("status",)])
def test_a_full_disk_is_told(make_url: MakeUrl, command: tuple[str, ...]) -> None:
    """Where stdout cannot be written, a sentence says so, and it ends with 1."""
    url = make_url("sqlite", migrated=True)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cmcore", "--database", url, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, f"Error: {OSError(28, FULL)}.\n")


def test_every_command_that_reads_speaks_json(run: Run, url: str) -> None:
    """Its stdout is a document, or one a line; what is said beside is on stderr."""
    with_json = {
        words.removeprefix("cmcore ")
        for words, command in commands()
        if any("--json" in option.opts for option in command.params)
    }
    assert with_json == READING | WRITING
    with connected(url):
        entry = AuditLog.trail().get().id
    named = {"audit show": [entry], "user show": ["system@cmcore.invalid"]}
    for words in READING:
        command = [*words.split(), *named.get(words, []), "--json", "--database", url]
        result = run(*command)
        assert result.exit_code == 0, result.output
        texts = [result.stdout]
        if words == "audit list":
            texts = result.stdout.splitlines()
        assert all(json.loads(text) for text in texts), words


def test_ids_and_times_are_whole_on_a_narrow_terminal(make_url: MakeUrl) -> None:
    """Only the text between them is folded, where there is little room."""
    url = make_url("sqlite", migrated=True)
    with connected(url):
        cmcore.record("x", resource_type="reports", description="word " * 40)
        [entry] = AuditLog.select()
        time, key = f"{entry.created_at:%Y-%m-%d %H:%M:%S}", entry.id
    asked = ("audit", "list", "--database", url)
    lines = on_terminal(*asked, COLUMNS="64", NO_COLOR="1").splitlines()
    assert sum(time in line for line in lines) == 1
    assert sum(key in line for line in lines) == 1
    assert sum("word word" in line for line in lines) > 1


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
