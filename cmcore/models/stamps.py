"""Who and when, added to a write by the door: on creation, and on each real change.

An update moves `updated_at` and `updated_by` only in rows that it really changes: the
database itself decides, by IS DISTINCT FROM.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import peewee

from cmcore.engines.comparison import is_distinct_from
from cmcore.engines.internals import internal
from cmcore.layout import Layout
from cmcore.models.literals import field_of


def stamped(query: Any, layout: Layout, at: datetime, user_id: str | None) -> Any:
    """Return the query with the stamps of its model added."""
    values = {f: at if f.stamp.kind == "time" else user_id for f in layout.stamps}
    twin = query.clone()
    if isinstance(query, internal.Update):
        again = _later(values)
        if query._instance is None:
            given = {field_of(key, layout) for key in query._update}
            again = {f: v for f, v in again.items() if f not in given}
        update = _without_epochs(query._update, layout)
        compared = [(field_of(key, layout), value) for key, value in update.items()]
        twin._update = _moved(update, again, layout) | risen(compared, layout)
    elif isinstance(query, peewee.Insert):
        _stamp_insert(twin, layout, values)
        if twin._on_conflict is not None:
            _stamp_conflict(twin, layout, _later(values))
    return twin


def _later(values: dict[Any, Any]) -> dict[Any, Any]:
    return {f: v for f, v in values.items() if not f.stamp.once}


def _moved(
    update: Mapping[Any, Any], stamps: dict[Any, Any], layout: Layout
) -> dict[Any, Any]:
    """Return the assignments with stamps that move only if another one changes."""
    kept = {k: v for k, v in update.items() if field_of(k, layout) not in stamps}
    compared = [
        (field_of(key, layout), value)
        for key, value in kept.items()
        if not hasattr(field_of(key, layout), "stamp")
    ]
    if compared:
        for field, value in stamps.items():
            kept[field] = IfChanged(compared, field, value, layout)
    return kept


UNRAISED = peewee.SQL("auth_epoch")
"""Assigned to the epoch of users, it stays: the hash of the same password changes."""


def _without_epochs(
    update: Mapping[Any, Any], layout: Layout, others: Sequence[Any] = ()
) -> Mapping[Any, Any]:
    """Leave out epochs that the caller assigns: they rise by themselves.

    An expression is taken where nothing that they watch is assigned. Something has to
    be assigned, unless there are others.
    """
    if not layout.epochs:
        return update
    fields = {
        field.name for key in (*update, *others) if (field := field_of(key, layout))
    }
    left_out = {
        key
        for key, value in update.items()
        if (watched := getattr(field_of(key, layout), "watched", None)) is not None
        and value is not UNRAISED
        and (fields & watched or not isinstance(value, peewee.Node))
    }
    kept = {key: value for key, value in update.items() if key not in left_out}
    if kept or others:
        return kept
    return {key: _column(field_of(key, layout), layout) for key in left_out}


def risen(compared: list[tuple[Any, Any]], layout: Layout) -> dict[Any, Any]:
    """Return the epochs that are not assigned, one higher if what they watch changes.

    Args:
        compared: What is assigned to which field.
        layout: The model's layout.
    """
    named = {field for field, _ in compared}
    rising = {}
    for epoch in layout.epochs:
        watched = [(f, v) for f, v in compared if f and f.name in epoch.watched]
        if watched and epoch not in named:
            higher = peewee.SQL(f"{_column(epoch, layout).sql} + 1")
            rising[epoch] = IfChanged(watched, epoch, higher, layout)
    return rising


def _epochs_beyond(insert: Any, layout: Layout) -> dict[Any, Any]:
    """Return epochs for a REPLACE: no row that it pushes out has a higher one."""
    conflict = insert._on_conflict
    if conflict is None or (conflict._action or "").upper() != "REPLACE":
        return {}
    return {
        epoch: peewee.SQL(
            f"(SELECT coalesce(max({_column(epoch, layout).sql}), -1) + 1"
            f" FROM {layout.table_sql})"
        )
        for epoch in layout.epochs
    }


def _column(field: Any, layout: Layout) -> peewee.SQL:
    """Return a column, qualified since a statement may have other sources."""
    return peewee.SQL(f"{layout.qualifier}.{layout.columns[layout.positions[field]]}")


class IfChanged(peewee.Node):
    """`CASE WHEN a column gets another value THEN the stamp ELSE the column END`."""

    def __init__(
        self,
        compared: list[tuple[Any, Any]],
        field: Any,
        stamp: Any,
        layout: Layout,
    ) -> None:
        """Take what is assigned to which field, and the stamp's field and value."""
        self._compared = compared
        self._field = field
        self._stamp = stamp
        self._layout = layout

    def __sql__(self, ctx: Any) -> Any:
        """Render the comparisons, which the database makes row by row."""
        ctx.literal("CASE WHEN ")
        for i, (field, value) in enumerate(self._compared):
            ctx.literal(" OR " if i else "").sql(_column(field, self._layout))
            is_distinct_from(ctx, field, _as_node(field, value))
        ctx.literal(" THEN ").sql(_as_node(self._field, self._stamp))
        ctx.literal(" ELSE ").sql(_column(self._field, self._layout))
        return ctx.literal(" END")


def _as_node(field: Any, value: Any) -> peewee.Node:
    """Return what is assigned, as it would be rendered behind SET."""
    if not isinstance(value, peewee.Node) or isinstance(value, peewee.Model):
        value = field.to_value(value)
    node: peewee.Node = value
    return node if isinstance(node, peewee.Value) else internal.qualify_names(node)


def _stamp_insert(twin: Any, layout: Layout, stamps: dict[Any, Any]) -> None:
    insert = twin._insert
    if isinstance(insert, peewee.SelectQuery | peewee.SQL):
        given = {field_of(column, layout) for column in twin._columns or ()}
        missing = {f: v for f, v in stamps.items() if f not in given}
        if twin._columns and missing:
            twin._columns = [*twin._columns, *missing]
            twin._insert = Widened(insert, missing)
        return
    twin._stamps = {**stamps, **_epochs_beyond(twin, layout)}
    if isinstance(insert, Mapping):
        twin._insert = _without_nulls(insert, stamps, layout)
    elif insert is not None:
        columns = twin._columns or twin.get_default_columns()
        at = {
            i: f for i, c in enumerate(columns) if (f := field_of(c, layout)) in stamps
        }
        twin._insert = [
            _without_nulls(row, stamps, layout)
            if isinstance(row, Mapping)
            else [
                stamps[at[i]] if value is None and i in at else value
                for i, value in enumerate(row)
            ]
            for row in insert
        ]


def _without_nulls(
    row: Mapping[Any, Any], stamps: dict[Any, Any], layout: Layout
) -> dict[Any, Any]:
    """Leave out stamps that are given as None, so that the default fills them in."""
    return {
        key: value
        for key, value in row.items()
        if value is not None or field_of(key, layout) not in stamps
    }


class Widened(peewee.SQL):
    """A query with constant columns behind its own, for INSERT … SELECT."""

    def __init__(self, query: Any, constants: dict[Any, Any]) -> None:
        """Take the caller's query, and the fields with their values."""
        super().__init__("")
        self._query = query
        self._constants = constants

    def __sql__(self, ctx: Any) -> Any:
        """Render the caller's query as a sub-select."""
        ctx.literal("SELECT cm_rows.*")
        for field, value in self._constants.items():
            ctx.literal(", ").sql(field.to_value(value))
        return ctx.literal(" FROM (").sql(self._query).literal(") AS cm_rows")


def _stamp_conflict(twin: Any, layout: Layout, stamps: dict[Any, Any]) -> None:
    conflict = twin._on_conflict
    if not (conflict._update or conflict._preserve):
        return
    conflict = twin._on_conflict = conflict.clone()
    fields = [(c, field_of(c, layout)) for c in conflict._preserve or ()]
    epochs = {c: None for c, field in fields if hasattr(field, "watched")}
    fields = [(c, field) for c, field in fields if c not in epochs]
    conflict._preserve = tuple(c for c, field in fields if field not in stamps)
    named = {**(conflict._update or {}), **epochs}
    update = dict(_without_epochs(named, layout, conflict._preserve))
    given = {field_of(key, layout) for key in update}
    compared = [
        (field, value)
        for key, value in update.items()
        if (field := field_of(key, layout)) is not None and not hasattr(field, "stamp")
    ]
    compared += [
        (field, _excluded(field))
        for _, field in fields
        if field is not None and not hasattr(field, "stamp")
    ]
    for field, value in stamps.items():
        if compared and field not in given:
            update[field] = IfChanged(compared, field, value, layout)
    conflict._update = update | risen(compared, layout)


def _excluded(field: Any) -> peewee.Node:
    return peewee.NodeList(
        (peewee.SQL("EXCLUDED"), peewee.Entity(field.column_name)), glue="."
    )
