"""Rows before and after become `Change`s; hooks are told."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import compress
from operator import ne
from types import MappingProxyType
from typing import Any, NamedTuple, overload

from cmcore.changes import MASK, Action, Change, equal
from cmcore.context import Context
from cmcore.engines.capture import Pair, Row
from cmcore.hooks import dispatch
from cmcore.keys import now_unless_newest
from cmcore.layout import Layout
from cmcore.models.literals import COMPUTED, Known, python_value
from cmcore.models.unit import transaction_id

_MARKING = {Action.DELETE, Action.RESTORE}


class Entry(NamedTuple):
    """A change in the driver's values.

    Attributes:
        positions: What differs, on an update, or is known ahead of a statement; None
            where all fields count.
    """

    action: Action
    old: Row | None
    new: Row | None
    positions: tuple[int, ...] | None


class Changes(Sequence[Change]):
    """The changes of one statement; each `Change` is made when somebody looks at it.

    The audit writer reads the raw rows in `entries` and never needs most of them.
    """

    def __init__(
        self, layout: Layout, shared: dict[str, Any], entries: Sequence[Entry]
    ) -> None:
        """Take the entries, and what all of them have in common."""
        self.layout = layout
        self.shared = shared
        self.entries = entries
        self._made: dict[int, Change] = {}

    def __len__(self) -> int:
        """Return how many rows changed."""
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> "Changes": ...

    def __getitem__(self, index: int | slice) -> "Change | Changes":
        """Return a change, or some of them."""
        if isinstance(index, slice):
            return Changes(self.layout, self.shared, self.entries[index])
        place = range(len(self.entries))[index]
        if place not in self._made:
            self._made[place] = self._make(self.entries[place])
        return self._made[place]

    def __repr__(self) -> str:
        """Show the changes as a list would."""
        return repr(list(self))

    def only(self, actions: frozenset[Action]) -> "Changes":
        """Return the changes of some actions."""
        chosen = [entry for entry in self.entries if entry.action in actions]
        return Changes(self.layout, self.shared, chosen)

    def without(self, absent: Mapping[Action, frozenset[int]]) -> "Changes":
        """Return the changes without the fields at some places, by action."""
        every = self.layout.recorded
        chosen = [
            entry._replace(
                positions=tuple(p for p in entry.positions or every if p not in hidden)
            )
            if (hidden := absent.get(entry.action))
            else entry
            for entry in self.entries
        ]
        return Changes(self.layout, self.shared, chosen)

    def _make(self, entry: Entry) -> Change:
        action, old, new, positions = entry
        layout = self.layout
        is_known = (
            old is not None or positions is None or {*layout.keys} <= {*positions}
        )
        key = layout.key(new if old is None else old) if is_known else None
        return make_change(
            self.shared,
            action,
            key,
            None if old is None else _values(layout, old, positions),
            None if new is None else _values(layout, new, positions),
        )


class Recorder:
    """Makes the changes of one statement, and hands them to the hooks.

    Args:
        at: The moment at which the statement begins.
        action: What an UPDATE or DELETE is to the row.
    """

    def __init__(
        self,
        database: Any,
        layout: Layout,
        context: Context,
        at: datetime,
        action: Action,
    ) -> None:
        """Gather what all changes of the statement share."""
        self._layout = layout
        self._action = action
        self._gone = Action.PURGE if action is Action.PURGE else Action.DELETE
        self._is_mark = bool(layout.marks) and action in _MARKING
        self._marks = tuple(i for i in layout.marks if i not in layout.excluded)
        self._shared = {
            "model": layout.model,
            "context": context,
            "at": at,
            "transaction_id": transaction_id(database),
            "database": database,
        }

    def changes(self, pairs: Iterable[Pair]) -> Changes:
        """Return the change of each pair of rows that differ."""
        entries = []
        for old, new in pairs:
            if old is None:
                if new is not None:
                    entries.append(Entry(Action.CREATE, None, new, None))
            elif new is None:
                entries.append(Entry(self._gone, old, None, None))
            elif self._is_mark:
                entries.append(Entry(self._action, old, new, self._marks))
            else:
                positions = self._differing(old, new)
                if positions:
                    entries.append(Entry(Action.UPDATE, old, new, positions))
        return Changes(self._layout, self._shared, entries)

    def happened(self, pairs: Iterable[Pair]) -> Changes:
        """Return the changes of a statement that has run.

        What others, or hooks, wrote while it waited for its rows is older than it.
        """
        at = now_unless_newest(self._shared["at"])
        self._shared = {**self._shared, "at": at}
        return self.changes(pairs)

    def announce(
        self, pairs: Sequence[Pair], *, absent: Mapping[Action, frozenset[int]] = {}
    ) -> None:
        """Tell the before-hooks what a statement is about to do, row by row.

        Args:
            pairs: The rows before it, and after it as a trial has shown them.
            absent: Where the values stand that the database computes.
        """
        dispatch.before(self.changes(pairs).without(absent))

    def announce_updates(
        self,
        rows: Sequence[Pair],
        assigned: Known,
        by_key: Mapping[Any, Known],
        *,
        is_computed: bool,
    ) -> None:
        """Tell the before-hooks which rows an UPDATE is about to hit.

        Args:
            rows: The rows as they are, each as the old side of a pair.
            assigned: What is assigned by value.
            by_key: What is assigned by a value for each primary key.
            is_computed: Whether the database computes some of the values.
        """

        def given(old: Row) -> Known:
            if not by_key:
                return assigned
            key = self._layout.key(old)
            own = {f: each[key] for f, each in by_key.items() if key in each}
            return {**assigned, **own}

        intended = (
            self._intended(old, given(old), is_computed)
            for old, _ in rows
            if old is not None
        )
        dispatch.before([change for change in intended if change is not None])

    def announce_inserts(self, rows: Sequence[Known]) -> None:
        """Tell the before-hooks of rows that are known from the call alone."""
        layout = self._layout
        changes = []
        for row in rows:
            new = {
                field.name: _hidden(layout, i, python_value(field, row[field]))
                for i, field in enumerate(layout.fields)
                if row.get(field, COMPUTED) is not COMPUTED and i not in layout.excluded
            }
            keys = [layout.fields[i] for i in layout.keys]
            values = tuple(
                python_value(k, row[k])
                if row.get(k, COMPUTED) is not COMPUTED
                else None
                for k in keys
            )
            key = values if len(values) > 1 else (values[0] if values else None)
            change = make_change(self._shared, Action.CREATE, key, None, _frozen(new))
            changes.append(change)
        dispatch.before(changes)

    def _intended(self, old: Row, assigned: Known, is_computed: bool) -> Change | None:
        layout = self._layout
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for field, value in assigned.items():
            i = layout.positions[field]
            if i in layout.excluded or i in layout.stamp_positions:
                continue
            was, will = layout.value(i, old[i]), python_value(field, value)
            if self._is_mark or not equal(was, will):
                before[field.name] = _hidden(layout, i, was)
                after[field.name] = _hidden(layout, i, will)
        if not after and not is_computed and not self._is_mark:
            return None
        key = layout.key(old)
        return make_change(
            self._shared, self._action, key, _frozen(before), _frozen(after)
        )

    def _differing(self, old: Row, new: Row) -> tuple[int, ...]:
        """Return the positions that differ and are recorded; stamps alone are none."""
        if old == new:
            return ()
        layout = self._layout
        positions = tuple(
            [
                i
                for i in compress(range(len(old)), map(ne, old, new))
                if i not in layout.excluded
                and (
                    type(old[i]) is layout.exact[i] is type(new[i])
                    or not equal(layout.value(i, old[i]), layout.value(i, new[i]))
                )
            ]
        )
        return () if layout.stamp_positions.issuperset(positions) else positions


_frozen = MappingProxyType


def _values(
    layout: Layout, row: Row, positions: Sequence[int] | None
) -> Mapping[str, Any]:
    """Return field names and Python values, masked ones masked."""
    if positions is None:
        positions = layout.recorded
    names = layout.names
    return _frozen(
        {names[i]: _hidden(layout, i, layout.value(i, row[i])) for i in positions}
    )


def _hidden(layout: Layout, position: int, value: Any) -> Any:
    return MASK if position in layout.masked and value is not None else value


def make_change(
    shared: dict[str, Any],
    action: Action,
    key: Any,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
) -> Change:
    """Make a change without the cost of a frozen dataclass's constructor."""
    change = object.__new__(Change)
    vars(change).update(shared, action=action, key=key, old=old, new=new)
    return change
