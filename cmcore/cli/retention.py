"""`restore` and `purge`: rows that were deleted, back again or gone for good."""

import re
from datetime import timedelta

import click
import peewee

from cmcore import retention
from cmcore.cli.connection import with_database
from cmcore.cli.output import note, show_json, show_lines, show_table
from cmcore.cli.program import PROBLEM, Failure
from cmcore.context import acting_as
from cmcore.models import User
from cmcore.models.schema_state import schema_of

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def duration_of(text: str) -> timedelta:
    """Return the time that a number of days, hours or minutes is."""
    found = re.fullmatch(r"([0-9]{1,6})([dhm])", text)
    if found is None:
        message = f"{text!r} is no time. Write 90d, 12h or 30m."
        raise click.BadParameter(message)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


models_option = click.option(
    "--models",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="A module with models of the application, in dotted form; may be repeated.",
)
user_option = click.option(
    "--user", metavar="ID|EMAIL", help="Who does it, for the trail; else system."
)


@click.command()
@click.argument("table")
@click.argument("key")
@click.option(
    "--recursive", is_flag=True, help="Also what was deleted together with it."
)
@models_option
@user_option
@with_database()
def restore(  # noqa: PLR0913 - the options
    db: peewee.Database,
    *,
    table: str,
    key: str,
    recursive: bool,
    modules: tuple[str, ...],
    user: str | None,
) -> None:
    """Bring a deleted row back, and print the rows that are live again.

    KEY is the primary key as the trail shows it.
    """
    with retention.deletable(db, modules) as models:
        row = retention.find_row(retention.chosen(models, table), key)
        if row is None:
            message = f"There is no row {key} in {table}. It may have been purged."
            raise Failure(message)
        missed = retention.left_behind(row) if recursive else []
        if missed:
            message = (
                f"The deletion of {table}/{key} also took rows of {', '.join(missed)}, "
                "whose models are not known here. Name them with --models; nothing was "
                "restored."
            )
            raise Failure(message)
        with acting_as(_user_id(db, user), reason="cmcore restore"):
            restored = retention.restore_row(row, recursive=recursive)
    if not restored:
        message = f"{table}/{key} is not deleted; there is nothing to restore."
        raise Failure(message)
    show_lines(restored)
    note(f"{_rows(len(restored))} restored.")


@click.command()
@click.option(
    "--older-than",
    metavar="TIME",
    type=duration_of,
    required=True,
    help="Only rows that were deleted so long ago: 90d, 12h, 30m.",
)
@click.option("--table", help="Only rows of this table, and what depends on them.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@models_option
@user_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_database()
def purge(  # noqa: PLR0913 - the options
    db: peewee.Database,
    *,
    older_than: timedelta,
    table: str | None,
    dry_run: bool,
    modules: tuple[str, ...],
    user: str | None,
    as_json: bool,
) -> int:
    """Remove deleted rows for good, and print how many of each table.

    Rows to which live rows refer stay, or rows of tables that are not known here, and
    are named; then it exits with 1. The trail is never purged.
    """
    with (
        retention.deletable(db, modules) as models,
        acting_as(_user_id(db, user), reason="cmcore purge"),
    ):
        if table is None:
            wanted = [m for name, m in models.items() if name != "audit_logs"]
        else:
            wanted = [retention.chosen(models, table)]
        rows, kept = retention.purge(wanted, older_than, dry_run=dry_run)
    if as_json:
        show_json({"rows": rows, "kept": [row._asdict() for row in kept]})
    else:
        show_table(("Table", "Rows"), [(name, str(n)) for name, n in rows.items()])
    for row in kept:
        note(f"{row.row} stays. {row.reason}")
    note(f"{_rows(sum(rows.values()))} {'would be ' if dry_run else ''}purged.")
    return PROBLEM if kept else 0


def _user_id(db: peewee.Database, user: str | None) -> str | None:
    """Return the id of the user that is named by id or by address."""
    if user is None or "@" not in user or schema_of(db).kind == "trail":
        return user
    known = User.get_or_none(User.email == user)
    if known is None:
        message = f"There is no user {user}. `cmcore user list` shows them."
        raise Failure(message)
    return str(known.id)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
