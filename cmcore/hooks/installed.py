"""Plugins that other distributions bring: found by entry point, loaded one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "cmcore"


@dataclass(frozen=True)
class Installed:
    """A plugin as its distribution announces it; nothing of it is imported yet."""

    name: str
    distribution: str
    version: str | None
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the plugin; whatever its code raises goes to the caller."""
        return self.entry_point.load()

    @property
    def origin(self) -> str:
        """Say where it comes from, for texts."""
        return f"{self.distribution} {self.version or ''}".strip()


def find_installed() -> Iterator[Installed]:
    """Yield what is installed, in an order that does not depend on the installation."""
    found = []
    for entry_point in entry_points(group=GROUP):
        dist = entry_point.dist
        found.append(
            Installed(
                name=entry_point.name,
                distribution=dist.name if dist else "unknown",
                version=dist.version if dist else None,
                entry_point=entry_point,
            )
        )
    yield from sorted(found, key=lambda plugin: (plugin.distribution, plugin.name))
