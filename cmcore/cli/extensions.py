"""What plugins add to the command line, and what is said of broken ones."""

import logging
from typing import Any

import click

from cmcore.cli.output import note
from cmcore.errors import PluginError
from cmcore.hooks import dispatch
from cmcore.hooks.complaints import words_of
from cmcore.hooks.manager import plugins

_EXTENSIONS = "cmcore.extensions"


class Extensions(click.Group):
    """The commands of plugins, beside ours; a name belongs to who had it first."""

    def __init__(self, ours: click.Group) -> None:
        """Take the group whose names are taken."""
        super().__init__(ours.name)
        self._ours = ours

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, unless its name is taken."""
        name = name or cmd.name
        if name in self.commands or name in self._ours.commands:
            msg = f"There is a command {name!r} already. Name it otherwise."
            raise PluginError(msg)
        super().add_command(cmd, name)


class _Talk(logging.Handler):
    """Says in one line what plugins do wrong; programs get the whole traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        error = record.exc_info and record.exc_info[1]
        if error and words_of(error) not in text:
            text = f"{text}: {words_of(error)}"
        note(text)


def extensions(ctx: click.Context, ours: click.Group) -> click.Group:
    """Return the commands of plugins; the first call of a run loads the plugins."""
    found: click.Group | None = ctx.meta.get(_EXTENSIONS)
    if found is None:
        found = ctx.meta[_EXTENSIONS] = Extensions(ours)
        _talk_while(ctx)
        plugins.load_installed()
        dispatch.register_commands(found)
    return found


def _talk_while(ctx: click.Context) -> None:
    handler: Any = _Talk()
    dispatch.logger.addHandler(handler)
    ctx.find_root().call_on_close(lambda: dispatch.logger.removeHandler(handler))
