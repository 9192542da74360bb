"""What commands print: tables for people, JSON for programs, talk on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich import box
from rich.console import Console
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
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, stacked: int | None = None
) -> None:
    """Print a table: boxed and coloured on a terminal, plain columns elsewhere.

    A cell that is one of the words in STYLES is coloured. Elsewhere than on a terminal
    no line is folded, so that each row is one line.

    Args:
        columns: The headings.
        rows: As many cells each.
        stacked: How many columns from the right stand below each other on a terminal,
            which is too narrow for them; empty cells are left out there.
    """
    console = Console(file=sys.stdout, highlight=False)
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        pad_edge=console.is_terminal,
        header_style="bold",
    )
    split = len(columns) - (stacked or 0) if console.is_terminal else len(columns)
    headings = [*columns[:split], *filter(None, [", ".join(columns[split:])])]
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        cells = [Text(printable(cell), STYLES.get(cell, "")) for cell in row]
        stack = [Text("\n").join(cell for cell in cells[split:] if cell)]
        table.add_row(*cells[:split], *stack[: len(headings) - split])
    if console.is_terminal:
        console.print(table)
        return
    console.width = UNLIMITED
    with console.capture() as capture:
        console.print(table)
    show_lines(line.rstrip() for line in capture.get().splitlines())


def printable(text: str) -> str:
    """Show control characters as escapes: data must not steer the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
