"""The plugins of this process: registered, unregistered, blocked, listed."""

import importlib
import inspect
import threading
from dataclasses import dataclass
from typing import Any

import pluggy

from cmcore.errors import PluginError
from cmcore.hooks import PROJECT, specs

_BUILT_IN = {"audit": "cmcore.audit"}
_PREFIX = "cmcore_"


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


class Plugins:
    """The registry; built-in plugins join at the first use, never at import."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.RLock()
        self._pluggy: pluggy.PluginManager | None = None
        self._objects: dict[str, Any] = {}
        self._blocked: set[str] = set()
        self.generation = 0

    @property
    def pluggy(self) -> pluggy.PluginManager:
        """Return pluggy's manager, with the built-in plugins registered."""
        with self._lock:
            if self._pluggy is None:
                self._pluggy = pluggy.PluginManager(PROJECT)
                self._pluggy.add_hookspecs(specs)
                for name, module in _BUILT_IN.items():
                    if name not in self._objects:
                        self._add(name, importlib.import_module(module))
            return self._pluggy

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
            _refuse_misfits(plugin, name)
            if name in self._objects or manager.is_registered(plugin):
                msg = (
                    f"Plugin {name!r} is registered already. Unregister it first, "
                    "or pass another name."
                )
                raise PluginError(msg)
            self._add(name, plugin)
            return name

    def _add(self, name: str, plugin: Any) -> None:
        manager = self.pluggy
        try:
            manager.register(plugin, name=name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            if manager.has_plugin(name):
                manager.unregister(name=name)
            msg = f"Plugin {name!r} does not fit: {error}"
            raise PluginError(msg) from error
        if name in self._blocked:
            manager.unregister(name=name)
        self._objects[name] = plugin
        self.generation += 1

    def unregister(self, plugin: Any) -> None:
        """Remove a plugin, given by name or as the object.

        Raises:
            PluginError: It is not registered.
        """
        with self._lock:
            manager = self.pluggy
            name = plugin if isinstance(plugin, str) else self._name_of(plugin)
            if name not in self._objects:
                msg = f"Plugin {name!r} is not registered; see cmcore.plugins.list()."
                raise PluginError(msg)
            if manager.has_plugin(name):
                manager.unregister(name=name)
            del self._objects[name]
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
            if name in self._blocked:
                self._blocked.discard(name)
                if name in self._objects:
                    self._add(name, self._objects[name])
            self.generation += 1

    def list(self) -> list[PluginInfo]:
        """Return all plugins, blocked ones included, sorted by name."""
        with self._lock:
            manager = self.pluggy
            return [
                PluginInfo(
                    name=name,
                    version=getattr(plugin, "__version__", None),
                    status="active" if manager.has_plugin(name) else "blocked",
                    error=None,
                    hooks=tuple(sorted(_hook_names(plugin))),
                )
                for name, plugin in sorted(self._objects.items())
            ]

    def _name_of(self, plugin: Any) -> str:
        return next((n for n, p in self._objects.items() if p is plugin), str(plugin))


def _hook_names(plugin: Any) -> list[str]:
    return [
        name
        for name in dir(plugin)
        if name.startswith(_PREFIX)
        and hasattr(getattr(plugin, name, None), f"{PROJECT}_impl")
    ]


def _refuse_misfits(plugin: Any, name: str) -> None:
    """Refuse what pluggy would accept and only fail on when a hook is called."""
    if isinstance(plugin, type):
        msg = f"Plugin {name!r} is a class. Register an instance: {name}()."
        raise PluginError(msg)
    hooks = _hook_names(plugin)
    if not hooks:
        msg = (
            f"Plugin {name!r} ({type(plugin).__name__}) has no hook. "
            "Mark its functions with @cmcore.hookimpl."
        )
        raise PluginError(msg)
    for hook in hooks:
        function = getattr(plugin, hook)
        is_async = inspect.iscoroutinefunction(function)
        if is_async or inspect.isasyncgenfunction(function):
            msg = f"Plugin {name!r}: {hook} is async. Hooks are ordinary functions."
            raise PluginError(msg)


plugins = Plugins()
