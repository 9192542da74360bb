"""`new-migration`: a script for the tables of an application's models."""

from pathlib import Path

import click

from cmcore.cli.connection import database_option
from cmcore.cli.output import note
from cmcore.schema.new_script import write_script


@click.command("new-migration")
@click.argument("name")
@click.option(
    "--models",
    "module",
    metavar="MODULE",
    required=True,
    help="The module that has the models, in dotted form.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="migrations",
    show_default=True,
    help="The folder of the application's scripts.",
)
@database_option()
def new_migration(name: str, module: str, directory: Path) -> None:
    """Write a script that creates the tables of MODULE's models, and print its path.

    The script is for `pw_migrate`, on SQLite and PostgreSQL, and goes back as well.
    """
    script = write_script(name, module, directory)
    click.echo(script.path)
    for reason in script.left_out:
        note(f"Left out {reason}.")
