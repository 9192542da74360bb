"""The plugins of this process: registered, unregistered, blocked, listed."""

import importlib
import threading
from dataclasses import dataclass, replace
from typing import Any

from pluggy import PluginManager, PluginValidationError

from cmcore.errors import PluginError
from cmcore.hooks import PROJECT, specs
from cmcore.hooks.complaints import hooks_of, log, refuse_misfits, words_of
from cmcore.hooks.installed import Installed, find_installed

_BUILT_IN = {"audit": "cmcore.audit"}


@dataclass(frozen=True)
class PluginInfo:
    """One line of `cmcore.plugins.list()`.

    Attributes:
        status: "active", "blocked" or "error".
        hooks: The names of the hooks that it implements.
    """

    name: str
    version: str | None
    status: str
    error: str | None
    hooks: tuple[str, ...]


@dataclass
class _Known:
    """A plugin of which the registry knows: an object, or why there is none."""

    plugin: Any = None
    installed: Installed | None = None
    error: str | None = None

    @property
    def version(self) -> str | None:
        if self.installed is not None:
            return self.installed.version
        return getattr(self.plugin, "__version__", None)


class Plugins:
    """The registry; built-in plugins join at the first use, never at import."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.RLock()
        self._pluggy: PluginManager | None = None
        self._known: dict[str, _Known] = {}
        self._namesakes: list[tuple[str, _Known]] = []
        self._blocked: set[str] = set()
        self._has_looked = False
        self.generation = 0

    @property
    def pluggy(self) -> PluginManager:
        """Return pluggy's manager, with the built-in plugins registered."""
        with self._lock:
            if self._pluggy is None:
                self._pluggy = PluginManager(PROJECT)
                self._pluggy.add_hookspecs(specs)
                for name, module in _BUILT_IN.items():
                    self._add(name, _Known(importlib.import_module(module)))
            return self._pluggy

    def load_installed(self) -> None:
        """Load the plugins that other distributions bring, once in a process.

        A blocked one is not even imported. A broken one is logged and listed with its
        error, and the others go on.
        """
        with self._lock:
            if self._has_looked:
                return
            self._has_looked = True
            _ = self.pluggy
            for installed in find_installed():
                name = installed.name
                if name in self._known:
                    error = PluginError(f"The name {name!r} is taken by another plugin")
                    cure = "Rename it in its entry point."
                    self._namesakes.append(
                        (name, _broken(name, installed, error, cure))
                    )
                    continue
                self._known[name] = _Known(installed=installed)
                if name not in self._blocked:
                    self._load(installed)

    def register(self, plugin: Any, name: str | None = None) -> str:
        """Register a module or object with `@cmcore.hookimpl` functions.

        Args:
            plugin: A module or an instance, not a class.
            name: By default the module's name, or the name of the object's class.

        Returns:
            The name under which it is registered.

        Raises:
            PluginError: A class, a name that is taken, an unknown hook, an argument
                that the hook does not have, or an async function.
        """
        with self._lock:
            manager = self.pluggy
            name = name or str(getattr(plugin, "__name__", type(plugin).__name__))
            refuse_misfits(plugin, name)
            if name in self._known or manager.is_registered(plugin):
                msg = (
                    f"Plugin {name!r} is registered already. Unregister it first, "
                    "or pass another name."
                )
                raise PluginError(msg)
            self._add(name, _Known(plugin))
            return name

    def unregister(self, plugin: Any) -> None:
        """Remove a plugin, given by name or as the object.

        Raises:
            PluginError: It is not registered.
        """
        with self._lock:
            manager = self.pluggy
            name = plugin if isinstance(plugin, str) else self._name_of(plugin)
            if name not in self._known:
                msg = f"Plugin {name!r} is not registered; see cmcore.plugins.list()."
                raise PluginError(msg)
            if manager.has_plugin(name):
                manager.unregister(name=name)
            del self._known[name]
            self._blocked.discard(name)
            self.generation += 1

    def block(self, name: str) -> None:
        """Stop a plugin from being called, now or when it comes to be registered."""
        with self._lock:
            manager = self.pluggy
            if manager.has_plugin(name):
                manager.unregister(name=name)
            self._blocked.add(name)
            self.generation += 1

    def unblock(self, name: str) -> None:
        """Let a blocked plugin be called again."""
        with self._lock:
            if name not in self._blocked:
                return
            self._blocked.discard(name)
            self.generation += 1
            known = self._known.get(name)
            if known is not None and known.plugin is not None:
                self._add(name, replace(known, error=None))
            elif known is not None and known.installed is not None:
                self._load(known.installed)

    def list(self) -> list[PluginInfo]:
        """Return all plugins, blocked and broken ones included, sorted by name.

        An installed plugin whose name is taken has a line of its own, as an error.
        """
        with self._lock:
            manager = self.pluggy
            return [
                PluginInfo(
                    name=name,
                    version=known.version,
                    status=self._status(name, known, manager),
                    error=known.error,
                    hooks=tuple(sorted(hooks_of(known.plugin))),
                )
                for name, known in sorted(
                    [*self._known.items(), *self._namesakes], key=lambda item: item[0]
                )
            ]

    def mark_broken(self, name: str, error: Exception) -> None:
        """Stop a plugin from being called, and list it with what it raised."""
        with self._lock:
            manager = self.pluggy
            if manager.has_plugin(name):
                manager.unregister(name=name)
            known = self._known.setdefault(name, _Known())
            broken = _broken(name, known.installed, error)
            self._known[name] = replace(broken, plugin=known.plugin)
            self.generation += 1

    def _status(self, name: str, known: _Known, manager: PluginManager) -> str:
        if name in self._blocked:
            return "blocked"
        if known.error is not None:
            return "error"
        return "active" if manager.has_plugin(name) else "blocked"

    def _load(self, installed: Installed) -> None:
        """Import an installed plugin; what goes wrong is kept for the list."""
        name = installed.name
        try:
            plugin = installed.load()
            refuse_misfits(plugin, name)
            self._add(name, _Known(plugin, installed))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - listed, logged
            self._known[name] = _broken(name, installed, error)
            self.generation += 1

    def _add(self, name: str, known: _Known) -> None:
        manager = self.pluggy
        try:
            manager.register(known.plugin, name=name)
            manager.check_pending()
        except PluginValidationError as error:
            if manager.has_plugin(name):
                manager.unregister(name=name)
            msg = f"Plugin {name!r} does not fit: {' '.join(str(error).split())}"
            raise PluginError(msg) from error
        if name in self._blocked:
            manager.unregister(name=name)
        self._known[name] = known
        self.generation += 1

    def _name_of(self, plugin: Any) -> str:
        names = (n for n, known in self._known.items() if known.plugin is plugin)
        return next(names, str(plugin))


def _broken(
    name: str,
    installed: Installed | None,
    error: BaseException,
    cure: str | None = None,
) -> _Known:
    """Return what is known of a plugin that cannot be used, and log it."""
    words = words_of(error)
    other = f"Fix it, or call cmcore.plugins.block({name!r})."
    if installed is not None:
        words = f"{installed.origin}: {words}"
        other = (
            f"Fix or upgrade {installed.distribution}, uninstall it, or call "
            f"cmcore.plugins.block({name!r}) before connecting."
        )
    log("The plugin %r is broken: %s", name, words, error=error)
    stop = "" if words.endswith("?") else "."
    return _Known(installed=installed, error=f"{words}{stop} {cure or other}")


plugins = Plugins()
