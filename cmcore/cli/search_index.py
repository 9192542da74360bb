"""`search-index create` and `drop`: finding customers by parts of words."""

import click
import peewee

from cmcore.cli.connection import with_database
from cmcore.cli.output import note, show_lines
from cmcore.schema import search_index as work

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only say what would be done."
)


@click.group("search-index")
def search_index() -> None:
    """Find customers by parts of names, addresses and numbers (PostgreSQL)."""


@search_index.command("create")
@dry_run_option
@with_database()
def create_index(db: peewee.Database, *, dry_run: bool) -> None:
    """Build the index while others write, and print what was done.

    It needs the extension pg_trgm, and adds it to the database.
    """
    done = work.create(db, dry_run=dry_run)
    show_lines(done)
    if not done:
        note(f"{work.NAME} is there already.")


@search_index.command("drop")
@dry_run_option
@with_database()
def drop_index(db: peewee.Database, *, dry_run: bool) -> None:
    """Drop the index, and print what was done; the extension stays."""
    done = work.drop(db, dry_run=dry_run)
    show_lines(done)
    if not done:
        note(f"There is no {work.NAME}.")
