"""What is known of a write from the call itself, before the database sees it."""

from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from cmcore.changes import Action
from cmcore.engines.internals import internal
from cmcore.layout import Layout
from cmcore.values import unwrapped

Known = dict[Any, Any]
"""Field to Python value, for the values that are no expressions."""


COMPUTED: Any = object()
"""Stands for a value that only the database will know."""


def inserted_rows(query: Any, layout: Layout, *, computed: Any = None) -> list[Known]:
    """Return what an INSERT says of each row; empty for INSERT … SELECT.

    Fields that are given as expressions are left out, or have the value `computed`.
    """
    insert = query._insert
    if isinstance(insert, peewee.SelectQuery | peewee.SQL) or insert is None:
        return []
    if isinstance(insert, Mapping):
        return [_by_field(insert, layout, computed)]
    if not isinstance(insert, list | tuple):
        return []
    columns = query._columns or query.get_default_columns()
    return [
        _by_field(row, layout, computed)
        if isinstance(row, Mapping)
        else _by_field(zip(columns, row, strict=False), layout, computed)
        for row in insert
    ]


def assigned(query: Any, layout: Layout) -> Known:
    """Return what an UPDATE assigns, or an upsert's update, without expressions."""
    if isinstance(query, internal.Insert):
        conflict = query._on_conflict
        return _by_field((conflict and conflict._update) or {}, layout)
    return _by_field(getattr(query, "_update", None) or {}, layout)


def assigned_by_key(query: Any, layout: Layout) -> dict[Any, Known]:
    """Return what `bulk_update` assigns: for each field a value by primary key."""
    found: dict[Any, Known] = {}
    for name, case in (query._update or {}).items():
        field = field_of(name, layout)
        if isinstance(case, peewee.Case) and case.default is None:
            key, pairs = case.predicate, case.expression_tuples
            is_told = layout.keys == (layout.positions.get(key),)
            if is_told and not any(_is_expression(x) for pair in pairs for x in pair):
                found[field] = {
                    python_value(key, literal(at)): literal(value)
                    for at, value in reversed(pairs)  # the first of a key counts
                }
    return found


def computed_positions(query: Any, layout: Layout) -> dict[Action, frozenset[int]]:
    """Return where the values stand that the database computes for an INSERT."""
    fields = set(layout.fields)
    rows = inserted_rows(query, layout, computed=COMPUTED)
    given = set(query.get_default_data())
    if rows:
        computed = {f for row in rows for f, value in row.items() if value is COMPUTED}
        given = (given | set(rows[0])) - computed
    else:
        given |= {field_of(c, layout) for c in query._columns or fields}
    update = (query._on_conflict and query._on_conflict._update) or {}
    moved = {field_of(key, layout) for key in update} - set(assigned(query, layout))
    return {
        Action.CREATE: frozenset(layout.positions[f] for f in fields - given),
        Action.UPDATE: frozenset(layout.positions[f] for f in fields & moved),
    }


def known_rows(query: Any, layout: Layout) -> list[Known]:
    """Return every set of values that a write names."""
    rows = inserted_rows(query, layout) if isinstance(query, peewee.Insert) else []
    given = assigned(query, layout)
    return [*rows, given] if given else rows


def field_of(key: Any, layout: Layout) -> Any:
    """Return the field that a key of a row stands for: a field, or one of its names."""
    if isinstance(key, str):
        return layout.model._meta.combined.get(key)
    return key if isinstance(key, peewee.Field) else None


def _by_field(
    pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
    layout: Layout,
    computed: Any = None,
) -> Known:
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    known: Known = {}
    for key, value in items:
        field = field_of(key, layout)
        if field is None:
            continue
        if not _is_expression(value):
            known[field] = literal(value)
        elif computed is not None:
            known[field] = computed
    return known


def _is_expression(value: Any) -> bool:
    if isinstance(value, peewee.Value):
        return bool(value.multi)
    return isinstance(value, peewee.Node) and not isinstance(value, peewee.Model)


def literal(value: Any) -> Any:
    """Return a value without the node that peewee may have put around it."""
    return value.value if isinstance(value, peewee.Value) else value


def python_value(field: Any, value: Any) -> Any:
    """Return what a read would give for a value that is to be written."""
    if isinstance(value, peewee.Model):
        value = getattr(value, field.rel_field.name)
    if value is None:
        return None
    stored = field.db_value(value)
    if isinstance(stored, peewee.Node):  # the engine's own form of the same value
        return value
    return field.python_value(unwrapped(stored))
