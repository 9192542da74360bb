"""Which rows of soft-deleted models a query sees, decided when it is rendered.

A query walks its own FROM tree, puts the predicate of each such table into the nearest
clause that drops rows exactly as if the deleted ones were not there, and renders a
copy; nothing is stored in the query. Where no clause does, and wherever a query of
peewee itself names the table, the table renders as a filtered sub-select.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import peewee

from cmcore.engines.internals import internal


class Show(enum.Enum):
    """Which rows of a source a query sees, and the test behind the column's name."""

    LIVE = " IS NULL"
    DELETED = " IS NOT NULL"
    ALL = ""


EVERYTHING: Any = object()
"""Stands for every source of a query that is not named by itself."""

Reach = Mapping[Any, Show]


class Source(peewee.Node):
    """A table in FROM, whole or cut down to some of its rows by a sub-select."""

    def __init__(self, node: Any, show: Show = Show.ALL) -> None:
        """Take a model, an alias of one, or a table."""
        self._node = node
        self._show = show

    def __sql__(self, ctx: Any) -> Any:
        """Render it as peewee does, with or without the sub-select."""
        node, meta = self._node, _meta_of(self._node)
        key = _alias_key(node)
        name = node.alias if isinstance(node, peewee.ModelAlias) else key._alias
        if name:
            ctx.alias_manager[key] = name
        if self._show is Show.ALL:
            ctx.sql(meta.entity)
        else:
            column = peewee.Entity(meta.fields["deleted_at"].column_name)
            ctx.literal("(SELECT * FROM ").sql(meta.entity)
            ctx.literal(" WHERE ").sql(column).literal(f"{self._show.value})")
        return ctx.literal(" AS ").sql(peewee.Entity(ctx.alias_manager[key]))


class Visible(peewee.Node):
    """The predicate of one source: its row is live, or is deleted."""

    def __init__(self, node: Any, show: Show) -> None:
        """Take a model, an alias of one, or a table."""
        self._key = _alias_key(node)
        self._column = _meta_of(node).fields["deleted_at"].column_name
        self._show = show

    def __sql__(self, ctx: Any) -> Any:
        """Render the column of the source, and the test."""
        ctx.sql(peewee.Entity(ctx.alias_manager[self._key], self._column))
        return ctx.literal(self._show.value)


class AllOf(peewee.Node):
    """Conditions which must all hold, whatever operators they are made of."""

    def __init__(self, conditions: Sequence[Any]) -> None:
        """Take the conditions, at least one."""
        self._conditions = conditions

    def __sql__(self, ctx: Any) -> Any:
        """Render each one in parentheses, of its own where it brings none."""
        for i, condition in enumerate(self._conditions):
            ctx.literal(" AND " if i else "")
            if isinstance(condition, Visible) or getattr(condition, "flat", 1) is False:
                ctx.sql(condition)
            else:
                ctx.literal("(").sql(condition).literal(")")
        return ctx


def narrowed(condition: Any, predicates: Sequence[Any]) -> Any:
    """Return a condition with predicates added; it may be None, or True."""
    if not predicates:
        return condition
    if condition is None or condition is True:
        return AllOf(predicates)
    return AllOf([condition, *predicates])


def place(node: Any, sink: list[Any] | None, reach: Reach) -> Any:
    """Return a FROM item in which every source is visible as far as it should be.

    Args:
        node: A source or a join.
        sink: Takes the predicates that may stand in the nearest clause which drops
            rows; None where no clause does.
        reach: What is to be seen of which source.
    """
    if isinstance(node, peewee.Join):
        return _placed_join(node, sink, reach)
    meta = _meta_of(node)
    if meta is None:  # a sub-select, a CTE, a plain table
        return node
    show = shown_of(node, meta, reach)
    if show is Show.ALL:
        return Source(node)
    if sink is None:
        return Source(node, show)
    sink.append(Visible(node, show))
    return Source(node)


def _placed(sources: Sequence[Any], where: list[Any], reach: Reach) -> list[Any]:
    """Place all items of a FROM clause, whose predicates may stand in WHERE.

    SQLite reads `a, b RIGHT JOIN c` as `(a, b) RIGHT JOIN c`: then WHERE is too late.
    """
    late = len(sources) > 1 and any(map(_has_outer_left, sources))
    return [place(source, None if late else where, reach) for source in sources]


def _has_outer_left(node: Any) -> bool:
    """Tell whether what stands before a join may become NULL by it."""
    if not isinstance(node, peewee.Join):
        return False
    kind = node.join_type.upper()
    if "RIGHT" in kind or "FULL" in kind:
        return True
    return _has_outer_left(node.lhs) or _has_outer_left(node.rhs)


def _placed_join(node: Any, sink: list[Any] | None, reach: Reach) -> Any:
    own: list[Any] = []
    kind = node.join_type.upper()
    left: list[Any] | None
    right: list[Any] | None
    if "LEFT" in kind:
        left, right = sink, own
    elif "RIGHT" in kind:
        left, right = own, sink
    elif "FULL" in kind:
        left = right = None
    elif "CROSS" in kind or "NATURAL" in kind:  # without ON
        is_ambiguous = isinstance(node.rhs, peewee.Join)  # peewee writes no parentheses
        left = right = None if is_ambiguous else sink
    else:
        left, right = (own if sink is None else sink), own
    lhs, rhs = place(node.lhs, left, reach), place(node.rhs, right, reach)
    if lhs is node.lhs and rhs is node.rhs:
        return node
    return peewee.Join(lhs, rhs, node.join_type, narrowed(node._on, own))


def shown_of(node: Any, meta: Any, reach: Reach) -> Show:
    """Return what is to be seen of a source."""
    default = Show.ALL if meta.shows_deleted else Show.LIVE
    if not reach:
        return default
    return reach.get(node) or reach.get(EVERYTHING) or default


def visible_select(query: Any) -> Any:
    """Return the query, or a copy for rendering in which deleted rows are left out.

    The copy has the original's hash, by which its alias in an outer query is found.
    """
    where: list[Any] = []
    sources = _placed(query._from_list, where, query._reach)
    if all(a is b for a, b in zip(sources, query._from_list, strict=True)):
        return query
    twin = query.__class__.__new__(query.__class__)
    vars(twin).update(vars(query))
    twin._from_list = sources
    twin._where = narrowed(query._where, where)
    return twin


def visible_update(query: Any) -> Any:
    """Return an UPDATE that leaves deleted rows alone, and out of its FROM.

    What it returns is rendered as it is: its own sources are placed already.
    """
    where: list[Any] = []
    sources = _placed(query._from or (), where, query._reach)
    meta = query.model._meta
    if meta.is_soft_deleted:
        show = query._reach.get(query.model) or query._reach.get(EVERYTHING)
        if show is not Show.ALL:
            where.append(Visible(query.model, show or Show.LIVE))
    if not where and all(
        a is b for a, b in zip(sources, query._from or (), strict=True)
    ):
        return query
    twin = query.clone()
    twin._from = tuple(sources) or None
    twin._where = narrowed(query._where, where)
    twin._reach = {EVERYTHING: Show.ALL}
    return twin


def visible_upsert(query: Any) -> Any:
    """Return an INSERT whose ON CONFLICT sees and changes live rows only."""
    conflict, meta = query._on_conflict, query.model._meta
    if conflict is None or not meta.is_soft_deleted or query._reach:
        return query
    twin = query.clone()
    twin._reach = {EVERYTHING: Show.ALL}
    conflict = twin._on_conflict = conflict.clone()
    conflict.is_partial = conflict._conflict_where is not None  # by the caller
    if conflict._conflict_target:
        live = meta.fields["deleted_at"].is_null()
        conflict._conflict_where = narrowed(conflict._conflict_where, [live])
    if conflict._update or conflict._preserve:
        own = conflict._where
        own = None if own is None else internal.qualify_names(own)
        conflict._where = narrowed(own, [Visible(query.model, Show.LIVE)])
    return twin


class LiveTable(internal.Table):  # type: ignore[misc]  # no types
    """The table of a soft-deleted model, in a query that does not know of it."""

    def clone(self) -> Any:
        """Return a table of this class, as for `alias()`."""
        twin = super().clone()
        return adopt(twin)

    def __sql__(self, ctx: Any) -> Any:
        """Render its live rows where it is a FROM item, else its name."""
        if is_from_item(ctx):
            return Source(self, Show.LIVE).__sql__(ctx)
        return super().__sql__(ctx)


def adopt(table: Any) -> Any:
    """Make a table one that shows live rows only."""
    table.__class__ = LiveTable
    table._update_hash()
    return table


def is_from_item(ctx: Any) -> bool:
    """Tell whether what is rendered now stands in FROM, and not among the columns."""
    return ctx.scope == internal.SCOPE_SOURCE and not ctx.state.in_projection


def _alias_key(node: Any) -> Any:
    """Return what peewee's alias manager knows a source by."""
    is_model = isinstance(node, type) and issubclass(node, peewee.Model)
    return node._meta.table if is_model else node


def _meta_of(node: Any) -> Any:
    """Return the metadata of a soft-deleted model's source; None for another one."""
    if isinstance(node, peewee.ModelAlias):
        model: Any = node.model
    elif isinstance(node, type):
        model = node
    else:
        model = getattr(node, "_model", None) if isinstance(node, internal.Table) else 0
    meta = getattr(model, "_meta", None)
    return meta if getattr(meta, "is_soft_deleted", False) else None
