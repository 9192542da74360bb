"""`partition`: the trail in monthly pieces, and the archives of its old months."""

import click
import peewee

from cmcore import partitions
from cmcore.cli.connection import with_database
from cmcore.cli.output import note, progress_bar, show_json, show_lines
from cmcore.partitions.pieces import MONTHS_AHEAD, function

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Only say what would be done."
)


@click.group()
def partition() -> None:
    """Cut the trail into monthly pieces, and archive the old months."""


@partition.command()
@dry_run_option
@json_option
@with_database()
def convert(db: peewee.Database, *, dry_run: bool, as_json: bool) -> None:
    """Make the trail a partitioned table, and print what was done (PostgreSQL).

    Nothing is copied: what is there becomes one partition. Others read and write
    meanwhile.
    """
    with progress_bar("Converting", is_wanted=not as_json) as progress:
        steps = partitions.convert(db, dry_run=dry_run, progress=progress)
    _show_steps(steps, dry_run=dry_run, as_json=as_json)


@partition.command()
@dry_run_option
@json_option
@with_database()
def revert(db: peewee.Database, *, dry_run: bool, as_json: bool) -> None:
    """Make the trail a plain table again, and print what was done (PostgreSQL).

    The largest partition becomes the table; the entries of all others move into it,
    and nobody can read or write the trail for as long as that takes.
    """
    with progress_bar("Reverting", is_wanted=not as_json) as progress:
        steps = partitions.revert(db, dry_run=dry_run, progress=progress)
    _show_steps(steps, dry_run=dry_run, as_json=as_json)


def _show_steps(steps: list[str], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show_json({"dry_run": dry_run, "steps": steps})
        return
    show_lines(steps)
    if not steps:
        note("There was nothing to do.")
    elif dry_run:
        note("Nothing was changed.")


def _print_function(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        show_lines(function().splitlines())
        ctx.exit()


@partition.command()
@click.option(
    "--months",
    type=click.IntRange(min=1),
    default=MONTHS_AHEAD,
    show_default=True,
    help="How many months after the current one.",
)
@click.option(
    "--print-function",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_function,
    help="Only print SQL for psql, which installs create_audit_log_partition(): the "
    "same for pg_cron.",
)
@dry_run_option
@json_option
@with_database()
def ensure(db: peewee.Database, *, months: int, dry_run: bool, as_json: bool) -> None:
    """Add the partitions that are missing, and print their names (PostgreSQL).

    Entries that ended up in the default partition move into those of their months.
    Meant to be run every day.
    """
    names = partitions.ensure(db, months, dry_run=dry_run)
    if as_json:
        show_json({"dry_run": dry_run, "partitions": names})
        return
    show_lines(names)
    if names:
        note(f"{_count(len(names), 'partition')} {'would be ' * dry_run}added.")
    else:
        note("No partition was missing.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
