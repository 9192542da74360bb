"""`plugins`: which plugins there are, and what is wrong with them."""

import click

from cmcore.cli.connection import database_option
from cmcore.cli.output import show_json, show_table
from cmcore.cli.program import PROBLEM
from cmcore.hooks.manager import plugins as registry


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@database_option()
def plugins(*, as_json: bool) -> int:
    """List the plugins, blocked and broken ones included; needs no database.

    Exits with 1 if one is broken.
    """
    found = registry.list()
    if as_json:
        show_json([vars(info) for info in found])
    else:
        show_table(
            ("Plugin", "Version", "Status", "Error", "Hooks"),
            [
                (
                    info.name,
                    info.version or "-",
                    info.status,
                    info.error or "",
                    ", ".join(info.hooks) or "-",
                )
                for info in found
            ],
            stacks=(1, 1, 1, 2),
        )
    return PROBLEM if any(info.status == "error" for info in found) else 0
