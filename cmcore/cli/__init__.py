"""The command `cmcore`: each file here holds one group of commands.

A command parses, calls one function of a lower layer, and prints: data on stdout, talk
on stderr. What goes wrong becomes one sentence and an exit code, never a traceback.
"""

import os
import sys

import click

from cmcore.cli.audit import audit
from cmcore.cli.connection import database_option, with_database
from cmcore.cli.doctor import doctor
from cmcore.cli.new_migration import new_migration
from cmcore.cli.output import note
from cmcore.cli.partition import partition
from cmcore.cli.plugins import plugins
from cmcore.cli.program import PROBLEM, Program
from cmcore.cli.retention import purge, restore
from cmcore.cli.schema import migrate, migrations, rollback, status
from cmcore.cli.search_index import search_index
from cmcore.cli.user import user

__all__ = ["cli", "main", "with_database"]


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine; 1 found a problem, refused, or no such row; 2 usage or "
    "configuration; 3 database unreachable; 5 migrations pending.",
)
@click.version_option(package_name="cmcore", message="cmcore %(version)s")
@database_option(from_environment=True)
def cli() -> None:
    """Look after the audit trail of a database, and after its schema."""


for command in (
    migrate,
    rollback,
    status,
    migrations,
    new_migration,
    plugins,
    audit,
    restore,
    purge,
    partition,
    search_index,
    user,
    doctor,
):
    if isinstance(command, click.Group):  # its commands have the option already
        database_option()(command)
    cli.add_command(command)


def main() -> None:
    """Run the command line with the arguments of the process, and exit."""
    try:
        cli()
    except OSError as error:
        # What cannot be written now cannot be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        note(f"Error: {error}.")
        sys.exit(PROBLEM)
