"""Rows before and after become `Change`s; hooks are told."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from cmcore.changes import MASK, Action, Change, equal
from cmcore.context import Context
from cmcore.engines.capture import Pair, Row
from cmcore.hooks import dispatch
from cmcore.layout import Layout
from cmcore.models.literals import Known, python_value
from cmcore.models.unit import transaction_id


class Recorder:
    """Makes the changes of one statement, and hands them to the hooks.

    Args:
        at: The moment of the statement.
        assigned: What an UPDATE assigns by value, for the before-hooks.
    """

    def __init__(
        self,
        database: Any,
        layout: Layout,
        context: Context,
        at: datetime,
        assigned: Known,
    ) -> None:
        """Gather what all changes of the statement share."""
        self._layout = layout
        self._assigned = assigned
        self._shared = {
            "model": layout.model,
            "context": context,
            "at": at,
            "transaction_id": transaction_id(database),
            "database": database,
        }

    def changes(self, pairs: Iterable[Pair]) -> list[Change]:
        """Return the change of each pair of rows that differ."""
        layout, make = self._layout, self._make
        found = []
        for old, new in pairs:
            if old is None:
                if new is not None:
                    found.append(
                        make(Action.CREATE, layout.key(new), None, self._whole(new))
                    )
            elif new is None:
                found.append(
                    make(Action.DELETE, layout.key(old), self._whole(old), None)
                )
            else:
                positions = self._differing(old, new)
                if positions:
                    found.append(
                        make(
                            Action.UPDATE,
                            layout.key(old),
                            self._picked(old, positions),
                            self._picked(new, positions),
                        )
                    )
        return found

    def announce(self, pairs: Sequence[Pair]) -> None:
        """Tell the before-hooks what a statement is about to do."""
        whole: list[Pair] = []
        updates: list[Change] = []
        for old, new in pairs:
            if old is not None and new is None and self._assigned:
                update = self._intended(old)
                if update is not None:
                    updates.append(update)
            else:
                whole.append((old, new))
        dispatch.before([*self.changes(whole), *updates])

    def announce_inserts(self, rows: Sequence[Known]) -> None:
        """Tell the before-hooks of rows that are known from the call alone."""
        layout = self._layout
        changes = []
        for row in rows:
            new = {
                field.name: self._hidden(i, python_value(field, row[field]))
                for i, field in enumerate(layout.fields)
                if field in row and i not in layout.excluded
            }
            keys = [layout.fields[i] for i in layout.keys]
            values = tuple(python_value(k, row[k]) if k in row else None for k in keys)
            key = values if len(values) > 1 else (values[0] if values else None)
            changes.append(
                self._make(Action.CREATE, key, None, MappingProxyType(new))
            )
        dispatch.before(changes)

    def _intended(self, old: Row) -> Change | None:
        layout = self._layout
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for field, value in self._assigned.items():
            i = layout.positions[field]
            if i in layout.excluded or i in layout.stamp_positions:
                continue
            was, will = layout.value(i, old[i]), python_value(field, value)
            if not equal(was, will):
                before[field.name] = self._hidden(i, was)
                after[field.name] = self._hidden(i, will)
        if not after:
            return None
        return self._make(
            Action.UPDATE,
            layout.key(old),
            MappingProxyType(before),
            MappingProxyType(after),
        )

    def _differing(self, old: Row, new: Row) -> list[int]:
        """Return the positions that differ and are recorded; stamps alone are none."""
        layout = self._layout
        positions = [
            i
            for i, (was, now) in enumerate(zip(old, new, strict=True))
            if was is not now and was != now
        ]
        if not positions:
            return positions
        positions = [
            i
            for i in positions
            if i not in layout.excluded
            and not equal(layout.value(i, old[i]), layout.value(i, new[i]))
        ]
        if all(i in layout.stamp_positions for i in positions):
            return []
        return positions

    def _picked(self, row: Row, positions: Iterable[int]) -> Mapping[str, Any]:
        layout = self._layout
        return MappingProxyType(
            {
                layout.names[i]: self._hidden(i, layout.value(i, row[i]))
                for i in positions
            }
        )

    def _whole(self, row: Row) -> Mapping[str, Any]:
        layout = self._layout
        values = {
            name: value if convert is None or value is None else convert(value)
            for name, convert, value in zip(
                layout.names, layout.converters, row, strict=True
            )
        }
        for i in layout.masked:
            if row[i] is not None:
                values[layout.names[i]] = MASK
        for i in layout.excluded:
            del values[layout.names[i]]
        return MappingProxyType(values)

    def _hidden(self, position: int, value: Any) -> Any:
        return MASK if position in self._layout.masked and value is not None else value

    def _make(
        self,
        action: Action,
        key: Any,
        old: Mapping[str, Any] | None,
        new: Mapping[str, Any] | None,
    ) -> Change:
        """Make a change without the cost of a frozen dataclass's constructor."""
        change = object.__new__(Change)
        vars(change).update(self._shared, action=action, key=key, old=old, new=new)
        return change
