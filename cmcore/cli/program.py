"""From errors to exit codes, with no password in what is said."""

import re
from collections.abc import Iterable
from typing import Any

import click
import peewee

from cmcore.cli.extensions import extensions
from cmcore.engines.failures import first_line, read_failure
from cmcore.errors import (
    CmcoreError,
    ConfigurationError,
    PendingMigrationsError,
    SecretKeyMissingError,
    UnreachableDatabaseError,
)

PROBLEM = 1
UNREACHABLE = 3
PENDING = 5

# The first class that fits decides.
EXIT_CODES: tuple[tuple[type[CmcoreError], int], ...] = (
    (UnreachableDatabaseError, UNREACHABLE),
    (ConfigurationError, 2),
    (SecretKeyMissingError, 2),
    (PendingMigrationsError, PENDING),
    (CmcoreError, PROBLEM),
)

_ARGUMENTS = "cmcore.arguments"
_ANY_URL = re.compile("://|@")
_CREDENTIALS = re.compile(r":.*@|://.*password", re.IGNORECASE)


class Failure(click.ClickException):
    """A command that cannot do what it was asked; says why and ends with a code."""

    def __init__(self, message: str, exit_code: int = PROBLEM) -> None:
        """Take a sentence for the person at the terminal, and the exit code."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click calls it a ClassVar


class Program(click.Group):
    """The whole command line: what leaves it is an exit code and a sentence.

    A sentence may repeat an argument, which may be a URL with a password in the wrong
    place, so such arguments are left out of it.

    Plugins are loaded when a command, or the list of them, is asked for.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse what stands before the subcommand."""
        given = tuple(args)
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _discreet_usage(error, given) from None
        context.meta[_ARGUMENTS] = given
        return context

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of our commands, or one of a plugin."""
        theirs = extensions(ctx, self)
        return super().get_command(ctx, cmd_name) or theirs.get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of plugins included."""
        theirs = extensions(ctx, self).list_commands(ctx)
        return sorted([*super().list_commands(ctx), *theirs])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; if it returns a number, that is the exit code."""
        given = ctx.meta[_ARGUMENTS]
        try:
            code = super().invoke(ctx)
        except click.UsageError as error:
            raise _discreet_usage(error, given) from None
        except Failure as error:
            text = _discreet(error.message, given, _CREDENTIALS)
            raise Failure(text, error.exit_code) from None
        except CmcoreError as error:
            code = next(code for kind, code in EXIT_CODES if isinstance(error, kind))
            raise Failure(_discreet(_said(error), given, _CREDENTIALS), code) from error
        except peewee.PeeweeException as error:
            text, code = _refusal(error)
            raise Failure(_discreet(text, given, _CREDENTIALS), code) from error
        ctx.exit(code if type(code) is int else 0)


def _said(error: BaseException) -> str:
    """Return what an error says, and what was noted about it on its way."""
    return " ".join([str(error), *getattr(error, "__notes__", [])])


def _refusal(error: peewee.PeeweeException) -> tuple[str, int]:
    """Return a sentence and an exit code for what the database itself refuses."""
    failure = read_failure(error)
    notes = " ".join(["", *getattr(error, "__notes__", [])])
    if isinstance(error, peewee.InterfaceError) or (
        failure is not None and failure.kind == "unusable"
    ):
        return f"The connection was lost: {first_line(error)}.{notes}", UNREACHABLE
    cure = ""
    if failure is not None and failure.kind == "denied":
        cure = " Use a role that may, such as the owner of the tables."
    return f"The database refused: {first_line(error)}.{cure}{notes}", PROBLEM


def _discreet_usage(error: click.UsageError, given: Iterable[str]) -> click.UsageError:
    """Return the error without arguments that may be a URL, however mistyped."""
    said = error.format_message()
    text = _discreet(said, given, _ANY_URL)
    return error if text == said else click.UsageError(text, error.ctx)


def _discreet(text: str, given: Iterable[str], secret: re.Pattern[str]) -> str:
    """Return a text without those of the given arguments that look secret."""
    parts = {part for argument in given for part in (argument, *argument.split("=", 1))}
    for part in sorted(parts, key=len, reverse=True):
        if secret.search(part):
            for form in (part, repr(part), repr(part)[1:-1]):
                text = text.replace(form, "…")
    return text
