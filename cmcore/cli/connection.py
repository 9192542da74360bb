"""The database that a command works on: which one, and for how long it is open."""

import functools
from collections.abc import Callable
from typing import Any

import click
import peewee

from cmcore.cli.output import note
from cmcore.database import connect
from cmcore.engines.health import is_without_file, missing_file
from cmcore.errors import ConfigurationError, UnreachableDatabaseError

VARIABLES = ("CMCORE_DATABASE_URL", "DATABASE_URL")

Function = Callable[..., Any]


def database_option(*, from_environment: bool = False) -> Callable[[Function], Any]:
    """Add `--database`, which may stand before or after the subcommand.

    The one after it wins; with neither, the environment is asked.
    """
    return click.option(
        "--database",
        metavar="URL",
        expose_value=False,
        callback=_remember,
        envvar=VARIABLES if from_environment else None,
        help="The database: sqlite:///crm.db, or postgresql://user:password@host/crm. "
        "Else $CMCORE_DATABASE_URL, else $DATABASE_URL.",
    )


def _remember(ctx: click.Context, _: click.Parameter, url: str | None) -> None:
    if url is not None:
        ctx.find_root().obj = url


def with_database(*, creates: bool | None = False) -> Callable[[Function], Function]:
    """Open the database for a command, give it as `db`, and close it afterwards.

    Args:
        creates: Whether the command may make a new file; others refuse, since the
            name of a file that is not there is mistyped. With None the command sees
            the empty database that it would be, and no file is made.
    """

    def decorate(function: Function) -> Function:
        @database_option()
        @click.pass_context
        @functools.wraps(function)
        def opened(ctx: click.Context, /, **options: Any) -> Any:
            return function(db=_open(ctx, creates=creates), **options)

        command: Function = opened
        return command

    return decorate


def _open(ctx: click.Context, *, creates: bool | None) -> peewee.Database:
    url = ctx.find_root().obj
    if not url:
        message = (
            "Which database? Give --database URL, or set "
            "CMCORE_DATABASE_URL or DATABASE_URL."
        )
        raise click.UsageError(message, ctx)
    if is_without_file(url):
        message = (
            f"{url} names no file: the database would be gone after the command. Is a "
            "variable empty? Write sqlite:///crm.db."
        )
        raise ConfigurationError(message)
    missing = None if creates else missing_file(url)
    if missing is not None and creates is None and missing.parent.is_dir():
        note(f"There is no file {missing} yet.")
        url = ":memory:"
    elif missing is not None:
        message = (
            f"There is no file {missing}. Check its name, or make a database of it "
            "with `cmcore migrate`."
        )
        raise UnreachableDatabaseError(message)
    db = connect(url)
    ctx.call_on_close(db.close)
    return db
