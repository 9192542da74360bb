"""`plugins`, broken plugins in `doctor`, and commands that plugins bring."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import cmcore
from cmcore.cli import with_database
from cmcore.models import AuditLog
from tests.cli.conftest import Run
from tests.distributions import BROKEN, GOOD, install, run_with

Register = Callable[..., Any]

PROGRAM = ("-m", "cmcore")


class Commands:
    """A plugin with a command that needs a database, and one that does not."""

    __version__ = "2.0"

    @cmcore.hookimpl
    def cmcore_register_commands(self, cli: click.Group) -> None:
        """Add `count` and `hello`."""

        @cli.command()
        @with_database()
        def count(db: Any) -> None:
            """Count the entries."""
            click.echo(AuditLog.select().count())

        @cli.command()
        @click.argument("code", type=int)
        def hello(code: int) -> int:
            """Say hello."""
            click.echo("hello")
            return code


class Taken:
    """A plugin with a command of its own, and one whose name is taken."""

    @cmcore.hookimpl
    def cmcore_register_commands(self, cli: click.Group) -> None:
        """Try to take the place of `migrate`."""
        cli.add_command(click.Command("fine"))
        cli.add_command(click.Command("migrate"))


def test_plugins_are_listed_without_a_database(run: Run) -> None:
    """With the built-in plugin alone the table has one line, and the code is 0."""
    result = run("plugins")
    heading, audit = result.stdout.splitlines()
    assert heading.split() == ["Plugin", "Version", "Status", "Error", "Hooks"]
    assert audit.split()[:3] == ["audit", "-", "active"]
    assert (result.exit_code, result.stderr) == (0, "")


def test_plugins_as_json(run: Run, plugin: Register) -> None:
    """One document: what `cmcore.plugins.list()` gives."""
    plugin(Commands(), "commands")
    cmcore.plugins.block("commands")
    document = json.loads(run("plugins", "--json").stdout)
    assert document == [
        {**vars(info), "hooks": list(info.hooks)} for info in cmcore.plugins.list()
    ]
    assert document[1]["status"] == "blocked"
    assert document[1]["version"] == "2.0"


def test_a_broken_plugin_is_found(tmp_path: Path) -> None:
    """Its line has error and cure, the code is 1, and stderr has no traceback."""
    install(tmp_path, "acme", {"bad": BROKEN["no_import"][0], "good": GOOD})
    done = run_with(tmp_path, *PROGRAM, "plugins", check=False)
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("bad"))
    assert line.split()[1:3] == ["1.5", "error"]
    assert "acme 1.5: ModuleNotFoundError: No module named 'no_such_module'" in line
    assert "uninstall it" in line
    assert any(line.startswith("good") for line in done.stdout.splitlines())
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("The plugin 'bad' is broken: acme 1.5: ModuleNot")


def test_a_broken_plugin_shows_with_every_command(tmp_path: Path) -> None:
    """It says so on stderr, and the command does its work."""
    install(tmp_path, "acme", {"bad": BROKEN["no_import"][0]})
    done = run_with(tmp_path, *PROGRAM, "migrations")
    assert done.stdout.strip() == str(cmcore.migrations_path())
    assert done.stderr.startswith("The plugin 'bad' is broken")


def test_doctor_finds_broken_plugins(
    run: Run, engine: str, url: str, plugin: Register
) -> None:
    """Each is a finding of its own with its cure; the code is 1."""
    plugin(Taken(), "taken")
    result = run("doctor", "--json", "--database", url)
    findings = [
        finding
        for finding in json.loads(result.stdout)["findings"]
        if finding["check"] == "plugins"
    ]
    assert result.exit_code == 1
    assert [finding["is_fine"] for finding in findings] == [False]
    assert "There is a command 'migrate' already" in findings[0]["text"]
    cmcore.plugins.unregister("taken")
    result = run("doctor", "--json", "--database", url)
    assert result.exit_code == 0
    assert {"check": "plugins", "is_fine": True, "text": "none broken"} in json.loads(
        result.stdout
    )["findings"]


def test_commands_of_plugins_run(run: Run, url: str, plugin: Register) -> None:
    """They take `--database` before and after, from the environment, and exit codes."""
    plugin(Commands())
    for result in (
        run("--database", url, "count"),
        run("count", "--database", url),
        run("count", env={"CMCORE_DATABASE_URL": url}),
    ):
        assert (result.exit_code, result.stdout) == (0, "4\n")
    assert run("count").exit_code == 2
    assert run("hello", "3").exit_code == 3
    assert run("hello", "0").stdout == "hello\n"


def test_commands_of_plugins_are_in_the_help(run: Run, plugin: Register) -> None:
    """They stand among ours, and go when their plugin goes."""
    plugin(Commands(), "commands")
    for _ in range(2):  # a run leaves nothing behind for the next one
        result = run("--help")
        assert "Count the entries." in result.stdout
        assert result.exit_code == 0
    assert "Say hello." in run("hello", "--help").stdout
    cmcore.plugins.unregister("commands")
    assert "Count the entries." not in run("--help").stdout
    assert run("hello", "1").exit_code == 2


def test_a_taken_command_breaks_its_plugin_alone(run: Run, plugin: Register) -> None:
    """Ours stays, nothing of the plugin is left, and it is listed with the reason."""
    plugin(Commands(), "commands")
    plugin(Taken(), "taken")
    help_ = run("--help")
    assert "Run the scripts that are still pending" in help_.stdout
    assert "\n  fine" not in help_.stdout
    assert run("fine").exit_code == 2
    assert run("hello", "0").exit_code == 0
    result = run("plugins")
    assert result.exit_code == 1
    assert "There is a command 'migrate' already" in result.stdout


def test_two_plugins_cannot_share_a_command(run: Run, plugin: Register) -> None:
    """Who registered first keeps the name."""
    plugin(Commands(), "first")
    plugin(Commands(), "second")
    documents = json.loads(run("plugins", "--json").stdout)
    status = {document["name"]: document["status"] for document in documents}
    assert (status["first"], status["second"]) == ("active", "error")
    assert run("hello", "0").stdout == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "is_loaded"),
    [(["--version"], False), (["--help"], True), (["migrations"], True)],
)
def test_plugins_are_loaded_when_commands_are_looked_up(
    tmp_path: Path, arguments: list[str], is_loaded: bool
) -> None:
    """`--version` loads none; help and every command do."""
    install(tmp_path, "acme", {"good": f"print('loaded')\n{GOOD}"})
    done = run_with(tmp_path, *PROGRAM, *arguments)
    assert ("loaded" in done.stdout.splitlines()) is is_loaded


def test_what_goes_wrong_in_a_hook_is_one_line(
    run: Run, url: str, plugin: Register
) -> None:
    """A plugin that fails after a commit of a command is named on stderr."""

    class Failing(Commands):
        @cmcore.hookimpl
        def cmcore_after_commit(self) -> None:
            msg = "the disk is full"
            raise OSError(msg)

        @cmcore.hookimpl
        def cmcore_register_commands(self, cli: click.Group) -> None:
            @cli.command()
            @with_database()
            def export(db: Any) -> None:
                cmcore.record("data_export", resource_type="x", description="All")

    plugin(Failing(), "failing")
    result = run("export", "--database", url)
    assert result.exit_code == 0
    assert result.stderr == (
        "Plugin 'failing': cmcore_after_commit failed: OSError: the disk is full\n"
    )


def test_no_sentence_is_said_twice(tmp_path: Path) -> None:
    """Whatever is wrong with a plugin, its line says each sentence once."""
    modules = {name: source for name, (source, _) in BROKEN.items()}
    install(tmp_path, "acme", modules)
    done = run_with(tmp_path, *PROGRAM, "plugins", check=False)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    assert len(lines) == 2 + 2 * len(BROKEN)
    for line in lines:
        sentences = re.split(r"[.:] ", line.rstrip("."))
        assert len(set(sentences)) == len(sentences)
        assert "?." not in line
