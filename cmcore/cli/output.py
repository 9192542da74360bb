"""What commands print: tables for people, JSON for programs, talk on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

UNLIMITED = 1_000_000

STYLES = {
    "applied": "green",
    "fine": "green",
    "pending": "yellow",
    "problem": "bold red",
    "active": "green",
    "blocked": "yellow",
    "error": "bold red",
    "create": "green",
    "update": "yellow",
    "delete": "red",
    "purge": "bold red",
    "restore": "cyan",
}


def note(text: str) -> None:
    """Say something to the person at the terminal, beside the data."""
    click.echo(text, err=True)


def show_lines(lines: Iterable[str]) -> None:
    """Print data, one line each."""
    for line in lines:
        click.echo(line)


def show_json(document: Any) -> None:
    """Print one JSON document; in one line, so that many make JSON lines."""
    click.echo(json.dumps(document, ensure_ascii=False))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    stacks: Sequence[int] = (),
) -> None:
    """Print a table: boxed and coloured on a terminal, plain columns elsewhere.

    A cell that is one of the words in STYLES is coloured. Elsewhere than on a terminal
    no line is folded, so that each row is one line.

    Args:
        columns: The headings.
        rows: As many cells each.
        stacks: How many columns stand below each other on a terminal, which is too
            narrow for all: empty cells are left out there, and only the last stack is
            folded.
    """
    console = _console(file=sys.stdout)
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=console.is_terminal,
        header_style="bold",
    )
    sizes = stacks if stacks and console.is_terminal else [1] * len(columns)
    for i, heading in enumerate(_stacked(columns, sizes), 1):
        is_whole = bool(stacks) and i < len(sizes)
        table.add_column(heading, overflow="fold", no_wrap=is_whole)
    for row in rows:
        table.add_row(*_stacked([printable(cell) for cell in row], sizes))
    if console.is_terminal:
        console.print(table)
        return
    console.width = UNLIMITED
    with console.capture() as capture:
        console.print(table)
    show_lines(line.rstrip() for line in capture.get().splitlines())


@contextmanager
def progress_bar(
    text: str, *, is_wanted: bool = True
) -> Iterator[Callable[[int, int], None] | None]:
    """Yield what shows on stderr how much of all is done; None if nobody looks.

    Somebody looks if stderr is a terminal. Afterwards the bar is gone.
    """
    console = _console(stderr=True)
    if not is_wanted or not sys.stderr.isatty() or console.is_dumb_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _console(**where: Any) -> Console:
    """Return a console; with NO_COLOR it has no style at all, not even bold."""
    colours: Any = None if os.environ.get("NO_COLOR") else "auto"
    return Console(**where, highlight=False, color_system=colours)


def _stacked(cells: Sequence[str], sizes: Sequence[int]) -> list[Text]:
    """Return cells joined to stacks of these sizes, without the empty ones."""
    left = iter(cells)
    stacks = [[cell for cell in islice(left, size) if cell] for size in sizes]
    return [Text("\n").join(Text(c, STYLES.get(c, "")) for c in s) for s in stacks]


def printable(text: str) -> str:
    """Show control characters as escapes: data must not steer the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
