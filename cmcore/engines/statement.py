"""A write statement, rendered once by peewee and then taken apart.

The old rows are read, and the new ones returned, with the very text of the caller's
clauses: nothing is rendered twice, so generators and callable defaults run once.
"""

from collections.abc import Sequence
from typing import Any

import peewee

from cmcore.engines.internals import internal


class Mark(peewee.Node):
    """Stands around a node and remembers where its text and parameters are."""

    def __init__(self, node: Any) -> None:
        """Take the node to render."""
        self.node = node
        self.start = self.stop = (0, 0)

    def __sql__(self, ctx: Any) -> Any:
        """Render the node, noting both ends."""
        self.start = _position(ctx)
        ctx.sql(self.node)
        self.stop = _position(ctx)
        return ctx


class MarkedCTE(Mark):
    """The list of common table expressions."""

    def __init__(self, expressions: Any) -> None:
        """Take them all."""
        super().__init__(peewee.CommaNodeList(expressions))
        self._recursive = any(e._recursive for e in expressions)


def _position(ctx: Any) -> tuple[int, int]:
    return len(ctx._sql), len(ctx._values)


class Rendered:
    """The text and parameters of one statement, and where its clauses stand.

    Attributes:
        shown: The caller's statement, as the `peewee` logger shows it.
    """

    __slots__ = (
        "assigned",
        "ctes",
        "end",
        "pieces",
        "sources",
        "tail",
        "values",
        "where",
    )

    def __init__(self) -> None:
        """Begin without any clause."""
        self.pieces: list[str] = []
        self.values: list[Any] = []
        self.ctes: Mark | None = None
        self.sources: Mark | None = None
        self.where: Mark | None = None
        self.assigned: dict[Any, Mark] = {}
        self.tail = self.end = (0, 0)

    def text(self, start: tuple[int, int], stop: tuple[int, int]) -> str:
        """Return the text between two positions."""
        return "".join(self.pieces[start[0] : stop[0]])

    def params(self, start: tuple[int, int], stop: tuple[int, int]) -> list[Any]:
        """Return the parameters between two positions."""
        return self.values[start[1] : stop[1]]

    def clause(self, mark: Mark | None, prefix: str = "") -> tuple[str, list[Any]]:
        """Return a marked clause behind its keyword; nothing where there is none."""
        if mark is None:
            return "", []
        text = self.text(mark.start, mark.stop)
        return prefix + text, self.params(mark.start, mark.stop)

    def with_clause(self) -> tuple[str, list[Any]]:
        """Return the WITH clause up to the statement's verb."""
        if self.ctes is None:
            return "", []
        start, values = self.ctes.stop
        return self.text((0, 0), (start, values)) + " ", self.values[:values]

    @property
    def shown(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces)

    def returning(
        self, extra: str, prefix: str = "", condition: str = ""
    ) -> tuple[str, int]:
        """Return the statement with more columns behind the caller's own RETURNING.

        With a condition it is narrowed to the rows which meet it; the number says
        before which parameter those of the condition belong.
        """
        body, at = self._narrowed(condition)
        own = "".join(self.pieces[self.end[0] + 1 :])
        return f"{body} RETURNING {prefix}{own}{', ' if own else ''}{extra}", at

    def where_instead(
        self, condition: str, values: Sequence[Any]
    ) -> tuple[str, list[Any]]:
        """Return the statement with a condition in the place of WHERE up to LIMIT."""
        start = self.tail if self.where is None else self.where.start
        head = self.text((0, 0), start) + " WHERE " * (self.where is None)
        own = "".join(self.pieces[self.end[0] :])
        params = [*self.values[: start[1]], *values, *self.values[self.end[1] :]]
        return f"{head}{condition}{own}", params

    def _narrowed(self, condition: str) -> tuple[str, int]:
        if not condition:
            return self.text((0, 0), self.end), self.end[1]
        if self.where is None:
            rest = self.text(self.tail, self.end)
            text = self.text((0, 0), self.tail)
            return f"{text} WHERE {condition}{rest}", self.tail[1]
        start, stop = self.where.start, self.where.stop
        own, rest = self.text(start, stop), self.text(stop, self.end)
        text = self.text((0, 0), start)
        return f"{text}({own}) AND {condition}{rest}", stop[1]


class Renderable:
    """Mixed into the write queries: notes positions while peewee renders them."""

    _rendered: Rendered | None = None

    def _apply_ordering(self, ctx: Any) -> Any:
        if self._rendered is not None:
            self._rendered.tail = _position(ctx)
        return super()._apply_ordering(ctx)  # type: ignore[misc]  # mixin

    def apply_returning(self, ctx: Any) -> Any:
        """Note where RETURNING begins."""
        if self._rendered is not None:
            self._rendered.end = _position(ctx)
        return super().apply_returning(ctx)  # type: ignore[misc]  # mixin


def render(query: Any, database: peewee.Database) -> Rendered:
    """Render the query once, with marks around the clauses that capture reuses."""
    twin = query.clone()
    rendered = twin._rendered = Rendered()
    if query._cte_list:
        rendered.ctes = MarkedCTE(query._cte_list)
        twin._cte_list = (rendered.ctes,)
    if query._where is not None:
        rendered.where = twin._where = Mark(query._where)
    if getattr(query, "_from", None):
        rendered.sources = Mark(peewee.CommaNodeList(query._from))
        twin._from = (rendered.sources,)
    if isinstance(query, peewee.Update):
        _mark_keys(query, twin, rendered)
    ctx: Any = database.get_sql_context()
    ctx.sql(twin)
    rendered.pieces, rendered.values = ctx._sql, ctx._values
    return rendered


def _mark_keys(query: Any, twin: Any, rendered: Rendered) -> None:
    """Mark what an UPDATE assigns to the primary key, which is rare."""
    keys = query.model._meta.get_primary_keys()
    assigned = [key for key in keys if key in query._update]
    if assigned:
        twin._update = dict(query._update)
    for key in assigned:
        value = query._update[key]
        if not isinstance(value, peewee.Node) or isinstance(value, peewee.Model):
            value = key.to_value(value)
        else:
            value = internal.qualify_names(value)
        mark = rendered.assigned[key] = Mark(value)
        twin._update[key] = mark
