"""Reading: peewee's selects, which see live rows and know an old schema."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import peewee

from cmcore.engines.internals import internal
from cmcore.models.failures import translated
from cmcore.models.live import EVERYTHING, Show, Source, is_from_item, visible_select
from cmcore.models.schema_state import require_schema
from cmcore.models.unbound import Bindable


class RecordedSelect(Bindable, peewee.ModelSelect):
    """`Model.select()`; type checkers are told of peewee's class instead.

    Attributes:
        _reach: What it sees of which source, where that is not the live rows.
    """

    model: Any
    _cursor_wrapper: Any
    _reach: Mapping[Any, Show] = {}

    def with_deleted(self, *sources: Any) -> Any:
        """Return a query that sees deleted rows of these models or aliases too.

        Without any it sees those of all that it joins. Sub-queries decide for
        themselves.
        """
        return self.showing(Show.ALL, *(sources or (EVERYTHING,)))

    def showing(self, show: Show, *sources: Any) -> Any:
        """Return a query that sees other rows of some sources."""
        query: Any = self.clone()
        query._reach = {**self._reach, **dict.fromkeys(sources, show)}
        return query

    def with_related(self, *loads: Any) -> Any:
        """Load related rows as peewee does; a deleted parent is loaded too."""
        return super().with_related(*map(_following, loads))

    def prefetch(self, *subqueries: Any, **options: Any) -> Any:
        """Prefetch as peewee does; a deleted parent is fetched too."""
        fetched = list(_with_deleted_parents(self.model, subqueries))
        return super().prefetch(*fetched, **options)

    def __sql__(self, ctx: Any) -> Any:
        """Render the query without the rows that it should not see."""
        seen = self if ctx.scope == internal.SCOPE_COLUMN else visible_select(self)
        return super(RecordedSelect, seen).__sql__(ctx)  # type: ignore[misc]  # no stub

    def _execute(self, database: Any) -> Any:
        """Execute, and say so where tables of cmcore are absent or too old."""
        if self._cursor_wrapper is not None:
            return self._cursor_wrapper
        return self._checked(database, super()._execute)  # type: ignore[misc]  # no stub

    @internal.database_required  # type: ignore[untyped-decorator]  # no stub
    def count(self, database: Any, clear_limit: bool = False) -> Any:
        """Return the number of rows; it selects from this query as a sub-select."""

        def counted(where: Any) -> Any:
            return super(RecordedSelect, self).count(where, clear_limit)

        return self._checked(database, counted)

    @internal.database_required  # type: ignore[untyped-decorator]  # no stub
    def exists(self, database: Any) -> Any:
        """Return whether there is any row; it selects from this query as well."""
        return self._checked(database, super().exists)

    def _checked(self, database: Any, read: Callable[[Any], Any]) -> Any:
        meta = self.model._meta
        layout = getattr(meta, "layout", None)
        if layout is None:  # many-to-many, to a model of peewee itself
            return read(database)
        if meta.owned:
            require_schema(database, meta.table_name)
        with translated(self, database, layout):
            return read(database)


class RelatedRows(RecordedSelect, internal.ManyToManyQuery):  # type: ignore[misc]
    """What a many-to-many field of an object gives."""


class RecordedAlias(peewee.ModelAlias):
    """`Model.alias()`, whose queries see live rows as those of the model do."""

    model: Any

    def select(self, *selection: Any) -> Any:
        """Return a select from the alias."""
        return RecordedSelect(self, selection or self.get_field_aliases())

    def with_deleted(self, *selection: Any) -> Any:
        """Return a select that sees deleted rows too."""
        return self.select(*selection).with_deleted(self)

    def only_deleted(self, *selection: Any) -> Any:
        """Return a select that sees deleted rows only."""
        return self.select(*selection).showing(Show.DELETED, self)

    def __sql__(self, ctx: Any) -> Any:
        """Render its live rows where a query of peewee itself has it in FROM."""
        if is_from_item(ctx) and self.model._meta.hides_deleted:
            return Source(self, Show.LIVE).__sql__(ctx)
        return super().__sql__(ctx)  # type: ignore[no-untyped-call]  # peewee


class _Following(peewee.Load):
    """Loads the row that a foreign key refers to, whether it is deleted or not."""

    _is_backref: bool
    _children: Any
    _query: Any

    def _base(self, rel_model: Any) -> Any:
        query = super()._base(rel_model)  # type: ignore[misc]  # no stub
        if self._is_backref or getattr(query, "_reach", True):
            return query
        return query.with_deleted(rel_model)

    def _windowed(self, *args: Any) -> Any:
        """Let the rows that were ranked be seen by the query that fetches them."""
        query: Any = super()._windowed(*args)  # type: ignore[misc]  # no stub
        reach = getattr(self._query, "_reach", None)
        if reach:
            query._reach = {**reach, **query._reach}
        return query


def _following(load: Any) -> Any:
    """Return a `Load`, and those that hang on it, which finds deleted parents."""
    twin: Any = load.clone() if isinstance(load, peewee.Load) else peewee.Load(load)
    twin.__class__ = _Following
    twin._children = tuple(map(_following, twin._children))
    return twin


def _with_deleted_parents(model: Any, subqueries: Any) -> Iterator[Any]:
    """Yield the sub-queries of a prefetch; those of parents see deleted rows.

    Which query one belongs to is found as peewee finds it.
    """
    before = [model]
    for item in subqueries:
        query, *target = item if isinstance(item, tuple) else (item,)
        if not isinstance(query, internal.Query):
            query = query.select()
        meta = query.model._meta
        for other in reversed(before):
            known = other._meta.model
            is_child = bool(meta.model_refs.get(known))
            if target and target[0] is not other:
                continue
            if is_child or meta.model_backrefs.get(known):
                if not is_child and not getattr(query, "_reach", True):
                    query = query.with_deleted(query.model)
                break
        before.append(query.model)
        yield (query, *target) if target else query
