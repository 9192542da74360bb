"""Every hook: its name, its arguments, when it is called, what its errors do."""

from collections.abc import Iterable, Sequence
from typing import Any

from cmcore.changes import Change
from cmcore.hooks import hookspec


@hookspec
def cmcore_before_create(changes: Sequence[Change]) -> None:
    """Called in the transaction before rows are created; raise `Veto` to refuse.

    Values that the database computes are absent; `key` is None where it is automatic.
    """


@hookspec
def cmcore_before_update(changes: Sequence[Change]) -> None:
    """Called in the transaction before rows are updated; raise `Veto` to refuse.

    `new` lacks values that the database computes from an expression.
    """


@hookspec
def cmcore_before_delete(changes: Sequence[Change]) -> None:
    """Called in the transaction before rows are deleted; raise `Veto` to refuse."""


@hookspec
def cmcore_before_restore(changes: Sequence[Change]) -> None:
    """Called in the transaction before rows are restored; raise `Veto` to refuse."""


@hookspec
def cmcore_after_create(changes: Sequence[Change]) -> None:
    """Called in the transaction after rows were created; raising undoes it."""


@hookspec
def cmcore_after_update(changes: Sequence[Change]) -> None:
    """Called in the transaction after rows were updated; raising undoes it."""


@hookspec
def cmcore_after_delete(changes: Sequence[Change]) -> None:
    """Called in the transaction after rows were deleted; raising undoes it."""


@hookspec
def cmcore_after_restore(changes: Sequence[Change]) -> None:
    """Called in the transaction after rows were restored; raising undoes it."""


@hookspec
def cmcore_redact(change: Change) -> Iterable[str] | None:
    """Called before an audit row is built: return names of fields to mask, or None.

    It fails closed: when it raises, the write is undone.
    """


@hookspec(firstresult=True)
def cmcore_resolve_user() -> Any:
    """Called when a write finds no user in the context: return a `User`, an id or None.

    The first result wins. When it raises, that is logged and the entry says `system`.
    """


@hookspec
def cmcore_after_commit(entries: Sequence[Any]) -> None:
    """Called after COMMIT with the `AuditLog` entries that survived, oldest first.

    Best effort: never early, never twice, never for a row that was rolled back; it may
    be missed under raw `begin()`, and when the process ends. When it raises, that is
    logged with the plugin's name; the caller and other plugins do not notice.
    """


@hookspec
def cmcore_check_password(user: Any, password: str) -> Iterable[str] | str | None:
    """Called before a new password is hashed: return reasons to refuse it, or None.

    `user` may be one that is not saved yet. A plugin that raises is listed as broken,
    and the others are asked.
    """


@hookspec
def cmcore_register_commands(cli: Any) -> None:
    """Called when the command line starts: add commands to `cli`, a `click.Group`.

    A plugin that raises is listed as broken, and the command line goes on without it.
    """
