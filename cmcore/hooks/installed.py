"""Plugins that other distributions bring: found by entry point, loaded one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from cmcore.errors import PluginError

GROUP = "cmcore"


@dataclass(frozen=True)
class Installed:
    """A plugin as its distribution announces it; nothing of it is imported yet."""

    name: str
    distribution: str
    version: str | None
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the plugin; whatever its code raises goes to the caller.

        Raises:
            PluginError: The entry point names a class.
        """
        plugin = self.entry_point.load()
        if isinstance(plugin, type):
            msg = (
                f"{self.entry_point.value} is a class; name an instance in the entry "
                "point"
            )
            raise PluginError(msg)
        return plugin

    @property
    def origin(self) -> str:
        """Say where it comes from, for texts."""
        return f"{self.distribution} {self.version or ''}".strip()


def find_installed() -> Iterator[Installed]:
    """Yield what is installed, in an order that does not depend on the installation."""
    found = [
        Installed(entry_point.name, *_identity(entry_point.dist), entry_point)
        for entry_point in entry_points(group=GROUP)
    ]
    yield from sorted(found, key=lambda plugin: (plugin.distribution, plugin.name))


def _identity(distribution: Distribution | None) -> tuple[str, str | None]:
    """Return name and version; a distribution without metadata has neither."""
    try:
        if distribution is not None and distribution.name:
            return distribution.name, distribution.version
    except (KeyError, TypeError):
        pass
    return "unknown", None
