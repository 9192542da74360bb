"""A plugin that implements every hook of the transaction."""

from collections.abc import Sequence

import cmcore
from cmcore import Change


class Witness:
    """A plugin that keeps everything it is told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.before: list[tuple[str, Change]] = []
        self.after: list[tuple[str, Change]] = []
        self.calls: list[str] = []

    def _note(self, stage: str, verb: str, changes: Sequence[Change]) -> None:
        assert changes
        self.calls.append(f"{stage} {verb}")
        getattr(self, stage).extend((verb, change) for change in changes)

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Sequence[Change]) -> None:
        """Keep what is about to be created."""
        self._note("before", "create", changes)

    @cmcore.hookimpl
    def cmcore_before_update(self, changes: Sequence[Change]) -> None:
        """Keep what is about to be updated."""
        self._note("before", "update", changes)

    @cmcore.hookimpl
    def cmcore_before_delete(self, changes: Sequence[Change]) -> None:
        """Keep what is about to be deleted."""
        self._note("before", "delete", changes)

    @cmcore.hookimpl
    def cmcore_after_create(self, changes: Sequence[Change]) -> None:
        """Keep what was created."""
        self._note("after", "create", changes)

    @cmcore.hookimpl
    def cmcore_after_update(self, changes: Sequence[Change]) -> None:
        """Keep what was updated."""
        self._note("after", "update", changes)

    @cmcore.hookimpl
    def cmcore_after_delete(self, changes: Sequence[Change]) -> None:
        """Keep what was deleted."""
        self._note("after", "delete", changes)
