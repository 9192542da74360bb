"""`partition`: the trail in monthly pieces, and the archives of its old months."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import peewee

from cmcore import partitions
from cmcore.cli.connection import with_database
from cmcore.cli.output import note, progress_bar, show_json, show_lines, show_table
from cmcore.cli.program import PROBLEM
from cmcore.partitions.health import examine_partitions
from cmcore.partitions.pieces import MONTHS_AHEAD, function
from cmcore.partitions.retention import MONTHS_ONLINE

_NOTHING_MISSING = "No partition was missing."

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
    with progress_bar("Converting", is_wanted=not as_json and not dry_run) as progress:
        steps = partitions.convert(db, dry_run=dry_run, progress=progress)
    _show_steps(steps, dry_run=dry_run, as_json=as_json)


@partition.command()
@dry_run_option
@json_option
@with_database()
def revert(db: peewee.Database, *, dry_run: bool, as_json: bool) -> None:
    """Make the trail a plain table again, and print what was done (PostgreSQL).

    Entries are copied into a new table, for which the disk needs room; if few are
    outside the largest partition, that becomes the table. Others read and write
    meanwhile, and wait for a moment at most.
    """
    with progress_bar("Reverting", is_wanted=not as_json and not dry_run) as progress:
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
    count = _count(len(names), "partition", "partitions")
    if names:
        note(f"{count} {'would be ' * dry_run}added.")
    elif sys.stderr.isatty():  # cron would send a letter each day
        note(_NOTHING_MISSING)


@partition.command()
@click.option(
    "--archive",
    metavar="DIR",
    type=click.Path(file_okay=False),
    required=True,
    help="The folder for the archives, which is made if it is not there.",
)
@click.option(
    "--months",
    type=click.IntRange(min=1),
    default=MONTHS_ONLINE,
    show_default=True,
    help="How many months stay, the current one included.",
)
@dry_run_option
@json_option
@with_database()
def retain(
    db: peewee.Database, *, archive: str, months: int, dry_run: bool, as_json: bool
) -> int:
    """Take old months out of the trail, each into an archive that is verified before.

    Prints the months with their entries and files. A month that something still needs
    stays and is named; then it exits with 1. Archives are never deleted.
    """
    with progress_bar("Archiving", is_wanted=not as_json) as progress:
        done = partitions.retain(
            db, months, archive, dry_run=dry_run, progress=progress
        )
    if as_json:
        gone = [{**month._asdict(), "file": str(month.file)} for month in done.months]
        held = [month._asdict() for month in done.held]
        show_json({"dry_run": dry_run, "months": gone, "rows": done.rows, "held": held})
    elif done.months:
        cells = [(m.month, str(m.rows), str(m.file)) for m in done.months]
        show_table(("Month", "Entries", "Newest file"), cells)
    for month in done.held:
        note(f"{month.month} stays. {month.reason}")
    note(f"{_count(done.rows, 'entry', 'entries')} {'would be ' * dry_run}archived.")
    return PROBLEM if done.held else 0


@partition.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@json_option
@with_database()
def restore(db: peewee.Database, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Put the entries of archives back into the trail, and print how many.

    FILE is a .jsonl.gz file, with its manifest beside it. Entries that are there
    already stay as they are; what several parts of a month have comes back as it is in
    the last one. The next `retain` takes the month out again.
    """
    done = [(str(file), partitions.restore(db, file)) for file in files]
    if as_json:
        total = sum(rows for _, rows in done)
        shown = [{"file": file, "rows": rows} for file, rows in done]
        show_json({"files": shown, "rows": total})
    else:
        show_table(("File", "Entries"), [(file, str(rows)) for file, rows in done])


@partition.command()
@json_option
@with_database()
def report(db: peewee.Database, *, as_json: bool) -> int:
    """Show the partitions and their sizes, and how many entries each month has.

    Exits with 1 if entries are in the default partition, or if the current or the next
    month has no partition.
    """
    found = partitions.report(db)
    faults = [f.text for f in examine_partitions(db) if not f.is_fine]
    if as_json:
        show_json(_document(found, faults))
    else:
        show_table(
            ("Partition", "From", "To", "Entries", "Size"),
            [
                (p.name, _day(p.start), _day(p.end), str(p.rows), _megabytes(p.bytes))
                for p in found.partitions
            ],
        )
        click.echo()
        growth = [(month, str(rows)) for month, rows in found.growth]
        show_table(("Month", "Entries"), growth)
    for fault in faults:
        note(fault)
    return PROBLEM if faults else 0


def _document(found: partitions.PartitionReport, faults: list[str]) -> dict[str, Any]:
    pieces = [
        {**p._asdict(), "start": _moment(p.start), "end": _moment(p.end)}
        for p in found.partitions
    ]
    return {
        "is_fine": not faults,
        "problems": faults,
        "partitions": pieces,
        "default_rows": found.default_rows,
        "total_bytes": found.total_bytes,
        "growth": [{"month": month, "rows": rows} for month, rows in found.growth],
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _day(moment: datetime | None) -> str:
    return str(moment.date()) if moment else ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number:,} {noun if number == 1 else plural}"
