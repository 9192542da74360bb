"""The calls of hooks, and the one place that knows what is worth calling."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from cmcore.changes import Action, Change
from cmcore.errors import PluginError
from cmcore.hooks.complaints import log, words_of
from cmcore.hooks.manager import plugins

AUDIT = "audit"
logger = logging.getLogger("cmcore.hooks")
VERBS = {
    Action.CREATE: "create",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
    Action.PURGE: "delete",
    Action.RESTORE: "restore",
}


class Listeners:
    """Who listens, as of one generation of the plugin registry.

    Attributes:
        audited: The audit writer is there.
        plugged: A plugin other than it implements a hook of the transaction.
        warned: A plugin implements a `cmcore_before_…` hook.
    """

    __slots__ = (
        "after",
        "audited",
        "before",
        "generation",
        "observers",
        "plugged",
        "redactors",
        "resolver",
        "warned",
    )

    def __init__(self, generation: int) -> None:
        """Ask pluggy once what every hook has."""
        manager = plugins.pluggy
        self.generation = generation
        verbs = set(VERBS.values())
        self.before = {v: _caller_with_changes(f"cmcore_before_{v}") for v in verbs}
        self.after = {v: _caller_with_changes(f"cmcore_after_{v}") for v in verbs}
        self.audited = manager.has_plugin(AUDIT)
        self.warned = any(self.before.values())
        others = {
            impl.plugin_name
            for hook in (*self.before, *self.after)
            for stage in ("before", "after")
            for impl in getattr(manager.hook, f"cmcore_{stage}_{hook}").get_hookimpls()
        }
        self.redactors = _caller("cmcore_redact")
        self.resolver = _caller("cmcore_resolve_user")
        self.observers = _one_by_one("cmcore_after_commit")
        self.plugged = bool(others - {AUDIT}) or self.redactors is not None


def _caller(hook: str) -> Callable[..., Any] | None:
    caller = getattr(plugins.pluggy.hook, hook)
    return caller if caller.get_hookimpls() else None


def _caller_with_changes(hook: str) -> Callable[..., Any] | None:
    """Return what calls a hook: where there is only one function, itself."""
    found = getattr(plugins.pluggy.hook, hook).get_hookimpls()
    if len(found) == 1 and tuple(found[0].argnames) == ("changes",):
        [only] = found
        if not only.wrapper and not only.hookwrapper:
            function: Callable[..., Any] = only.function
            return function
    return _caller(hook)


def _one_by_one(hook: str) -> list[tuple[str, Callable[..., Any]]]:
    """Return a caller for each plugin with the hook, first registered first."""
    manager = plugins.pluggy
    owners = {
        implementation.plugin_name: implementation.plugin
        for implementation in getattr(manager.hook, hook).get_hookimpls()
    }
    callers: list[tuple[str, Callable[..., Any]]] = []
    for name, plugin in owners.items():
        others = [other for other in owners.values() if other is not plugin]
        callers.append((name, manager.subset_hook_caller(hook, others)))
    return callers


_listeners: list[Listeners] = []


def listeners() -> Listeners:
    """Return who listens now; asked for every statement, so it is cached."""
    if not _listeners or _listeners[0].generation != plugins.generation:
        _ = plugins.pluggy  # the built-in plugins count as a generation
        _listeners[:] = [Listeners(plugins.generation)]
    return _listeners[0]


def before(changes: Sequence[Change]) -> None:
    """Call the before-hooks, once for each verb; what they raise goes to the caller."""
    _call(listeners().before, changes)


def after(changes: Sequence[Change]) -> None:
    """Call the after-hooks, once for each verb; what they raise goes to the caller."""
    _call(listeners().after, changes)


def _call(
    callers: dict[str, Callable[..., Any] | None], changes: Sequence[Change]
) -> None:
    if len(changes) == 0:
        return
    for verb, group in _by_verb(changes):
        caller = callers[verb]
        if caller is not None:
            caller(changes=group)


def _by_verb(changes: Any) -> Iterable[tuple[str, Sequence[Change]]]:
    """Split changes by verb; a statement's own list stays one that makes them late."""
    entries = getattr(changes, "entries", changes)
    first = entries[0].action
    if all(entry.action is first for entry in entries):
        return [(VERBS[first], changes)]
    verbs = {entry.action: VERBS[entry.action] for entry in entries}
    if len(set(verbs.values())) == 1:
        return [(verbs.popitem()[1], changes)]
    groups = []
    for verb in dict.fromkeys(verbs.values()):
        actions = frozenset(a for a, v in verbs.items() if v == verb)
        if hasattr(changes, "only"):
            groups.append((verb, changes.only(actions)))
        else:
            groups.append((verb, [c for c in changes if c.action in actions]))
    return groups


def redactions(change: Change) -> frozenset[str]:
    """Return the names of the fields that plugins want masked in the audit row."""
    answers = plugins.pluggy.hook.cmcore_redact(change=change)
    names: set[str] = set()
    for answer in answers:
        names.update([answer] if isinstance(answer, str) else answer or ())
    return frozenset(names)


def has_redactors() -> bool:
    """Tell whether any plugin redacts."""
    return listeners().redactors is not None


def can_resolve_user() -> bool:
    """Tell whether any plugin may know who acts."""
    return listeners().resolver is not None


def resolve_user() -> Any:
    """Return the user whom a plugin knows, or None; what it raises is logged."""
    resolver = listeners().resolver
    if resolver is None:
        return None
    try:
        return resolver()
    except Exception as error:  # noqa: BLE001 - logged
        message = "cmcore_resolve_user failed; the entry says system: %s"
        log(message, words_of(error), error=error)
        return None


def has_observers() -> bool:
    """Tell whether any plugin wants to see what was committed."""
    return bool(listeners().observers)


_observing: ContextVar[frozenset[str]] = ContextVar(
    "cmcore_observing", default=frozenset()
)


def committed(entries: Sequence[Any]) -> None:
    """Show committed entries to each plugin by itself; what one raises is logged.

    What a plugin writes meanwhile is shown to the others, not to itself.
    """
    for name, observer in listeners().observers:
        called = _observing.get()
        if name in called:
            continue
        token = _observing.set(called | {name})
        try:
            observer(entries=entries)
        except Exception as error:  # noqa: BLE001 - logged
            message = "Plugin %r: cmcore_after_commit failed: %s"
            log(message, name, words_of(error), error=error)
        finally:
            _observing.reset(token)


def check_password(user: Any, password: str) -> list[str]:
    """Return every reason that plugins have to refuse a new password.

    One that raises is marked as broken; its text is not kept, which may show the
    password.
    """
    reasons: list[str] = []
    for name, checker in _one_by_one("cmcore_check_password"):
        try:
            for answer in checker(user=user, password=password):
                reasons += [answer] if isinstance(answer, str) else answer or ()
        except Exception as error:  # noqa: BLE001 - listed and logged
            msg = f"cmcore_check_password raised {type(error).__name__}"
            plugins.mark_broken(name, PluginError(msg))
    return reasons


def register_commands(cli: Any) -> None:
    """Let each plugin add its commands to a `click.Group`.

    One that raises is marked as broken, and leaves no command.
    """
    for name, registrar in _one_by_one("cmcore_register_commands"):
        commands = dict(cli.commands)
        try:
            registrar(cli=cli)
        except Exception as error:  # noqa: BLE001 - listed and logged
            cli.commands = commands
            plugins.mark_broken(name, error)
