"""`migrate`, `rollback`, `status`, `migrations`: the schema and its scripts."""

from collections.abc import Iterable

import click
import peewee

from cmcore import runner
from cmcore.checkup import schema_status
from cmcore.cli.connection import database_option, with_database
from cmcore.cli.output import note, show_json, show_table
from cmcore.cli.program import PENDING
from cmcore.schema.history import migrations_path, scripts

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
trail_option = click.option(
    "--trail-only",
    is_flag=True,
    is_eager=True,
    help="Only audit_logs, for an application that has users of its own.",
)


def _known(ctx: click.Context, _: click.Parameter, name: str | None) -> str | None:
    """Return the name of a script, which has to be one of ours."""
    names = scripts(trail_only=ctx.params["trail_only"])
    if name is not None and name not in names:
        message = f"there is no script {name!r}. The scripts are {', '.join(names)}."
        raise click.BadParameter(message)
    return name


@click.command()
@click.option(
    "--target", metavar="NAME", callback=_known, help="Stop after this script."
)
@trail_option
@click.option(
    "--online",
    is_flag=True,
    help="Keep nobody waiting while rows are checked and indexes built (PostgreSQL).",
)
@with_database(creates=True)
def migrate(
    db: peewee.Database, target: str | None, *, trail_only: bool, online: bool
) -> None:
    """Run the scripts that are still pending, and print the name of each one done."""
    names = runner.migrate_each(db, target, trail_only=trail_only, online=online)
    count = _show_each(names)
    note(f"{_scripts(count)} applied." if count else "Nothing was pending.")


@click.command()
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many scripts, newest first.",
)
@with_database()
def rollback(db: peewee.Database, count: int) -> None:
    """Take back the newest scripts, and print the name of each one done.

    Refuses where rows would be lost, unless CMCORE_ALLOW_DATA_LOSS=1.
    """
    note(f"{_scripts(_show_each(runner.rollback_each(db, count)))} rolled back.")


@click.command()
@json_option
@with_database(creates=None)
def status(db: peewee.Database, *, as_json: bool) -> int:
    """Say which scripts are applied and which are pending; exits with 5 if any is."""
    applied, pending = schema_status(db)
    if as_json:
        show_json({"applied": applied, "pending": pending})
    else:
        show_table(
            ("Script", "State"),
            [(name, "applied") for name in applied]
            + [(name, "pending") for name in pending],
        )
        if pending:
            note(f"{_scripts(len(pending))} pending. Run `cmcore migrate`.")
    return PENDING if pending else 0


@click.command()
@trail_option
@json_option
@database_option()
def migrations(*, trail_only: bool, as_json: bool) -> None:
    """Print the folder of the scripts, for `pw_migrate --directory`."""
    path = str(migrations_path(trail_only=trail_only))
    if as_json:
        show_json({"path": path})
    else:
        click.echo(path)


def _show_each(names: Iterable[str]) -> int:
    """Print names as they come, and return how many they were."""
    count = 0
    for count, name in enumerate(names, 1):  # noqa: B007 - the last one is returned
        click.echo(name)
    return count


def _scripts(count: int) -> str:
    return "1 script" if count == 1 else f"{count} scripts"
