"""The README and the documents are true: programs run, lists agree with the code."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cmcore import errors
from cmcore.cli import cli
from cmcore.hooks import specs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return [body for found, body in BLOCK.findall(text) if found == language]


def run(program: str, folder: Path) -> str:
    """Run a program in an empty folder, with warnings as errors; return its output.

    A page need not close the database, which is gone when its program ends.
    """
    warnings = ("-W", "error", "-W", "ignore::ResourceWarning")
    done = subprocess.run(
        [sys.executable, *warnings, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pages
def test_programs_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page, run in their order, print its text blocks."""
    programs = blocks(page, "python")
    if programs:
        assert run("\n".join(programs), tmp_path) == "".join(blocks(page, "text"))


@pages
def test_commands_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    """The console blocks of a page, run in their order in one shell, print the rest.

    A command begins with `$ ` and goes on with `> `.
    """
    lines = "".join(blocks(page, "console")).splitlines()
    if not lines:
        return
    commands = [line[2:] for line in lines if line[:2] in {"$ ", "> ", ">"}]
    bin_folder = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["/bin/sh", "-euc", "\n".join(commands)],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shown = [line for line in lines if line[:2] not in {"$ ", "> ", ">"}]
    assert done.stdout.splitlines() == shown
    assert done.returncode == 0


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project names one that is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_links_every_page() -> None:
    """Each page of docs/ can be found from the README."""
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [p.name for p in PAGES[1:] if f"docs/{p.name}" not in readme] == []


def test_the_readme_says_first_what_is_not_seen() -> None:
    """Within 40 lines: commands, a program, its output, and what is not recorded."""
    first = PAGES[0].read_text(encoding="utf-8").splitlines()[:40]
    places = [
        first.index("# cmcore"),
        next(i for i, line in enumerate(first) if line.startswith("make demo")),
        next(i for i, line in enumerate(first) if line.startswith("make test")),
        first.index("```python"),
        first.index("```text"),
        first.index("## What cmcore does not see"),
    ]
    assert places == sorted(places)


@pages
def test_programs_of_examples_are_shown_as_they_are(page: Path) -> None:
    """A page that shows a file of examples/ shows it word for word."""
    text = page.read_text(encoding="utf-8")
    for name, shown in re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", text, re.S):
        assert shown == (ROOT / name).read_text(encoding="utf-8")


def error_classes() -> list[type[Exception]]:
    """Return the classes of cmcore.errors."""
    return [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, Exception)
        if item.__module__ == errors.__name__
    ]


def test_every_error_is_in_one_tree_and_explained() -> None:
    """Each class descends from CmcoreError and has its row in docs/errors.md."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(c.__name__ for c in error_classes())
    assert all(issubclass(c, errors.CmcoreError) for c in error_classes())


def test_every_hook_is_explained_with_its_arguments() -> None:
    """The headings of docs/hooks.md are the hooks of specs.py, arguments included.

    So is the list at its top.
    """
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `(cmcore_.*)`$", page, re.MULTILINE)
    hooks = [
        f"{name}({', '.join(inspect.signature(hook).parameters)})"
        for name, hook in inspect.getmembers(specs, inspect.isfunction)
        if name.startswith("cmcore_")
    ]
    assert sorted(headings) == sorted(hooks)
    listed = [
        hook
        for row in re.findall(r"^\| `cmcore_.*$", page, re.MULTILINE)
        for hook in re.findall(r"`(cmcore_\w+\(.*?\))`", row)
    ]
    assert sorted(listed) == sorted(hooks)


def test_every_hook_has_an_example_and_says_what_errors_do() -> None:
    """Each heading of a hook is followed by a program that implements it.

    What happens when it raises is said there, or for its group.
    """
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    for group in re.split(r"^## ", page, flags=re.MULTILINE):
        parts = re.split(r"^### `(\w+)\((.*)\)`$", group, flags=re.MULTILINE)
        for name, arguments, text in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        ):
            (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
            implementation = re.search(rf"def {name}\(self(.*?)\) ->", example)
            assert implementation is not None
            given = re.findall(r"(\w+):", implementation[1])
            assert given == [a for a in arguments.split(", ") if a]
            assert "**When it raises**" in parts[0] + text


def commands(
    group: click.Group = cli, prefix: str = "cmcore"
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with the words that call it."""
    for name, command in group.commands.items():
        words = f"{prefix} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, words)
        else:
            yield words, command


def test_every_command_is_explained() -> None:
    """Each command has a help text and is listed in docs/command-line.md."""
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(cmcore[ a-z0-9-]*[a-z0-9])[ `]", page, re.MULTILINE)
    assert [w for w, _ in commands() if w not in listed] == []
    assert [w for w, c in commands() if not (c.help or "").strip()] == []


def test_every_option_is_explained() -> None:
    """Each option of a command says what it does."""
    silent = [
        f"{words} {option.name}"
        for words, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []
