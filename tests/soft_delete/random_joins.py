"""Random queries: trees of joins of all kinds, filters with OR, sub-queries.

One seed gives the same query on any family of models.
"""

import random
from collections import Counter
from typing import Any, NamedTuple

import peewee
from peewee import JOIN

from cmcore.models.live import Show

KEYS = {
    "Person": ("id", "team", "city", "boss"),
    "Note": ("id", "author", "reader"),
    "Team": ("id",),
    "PersonSkill": ("id", "person", "skill"),
    "Skill": ("id",),
    "Seat": ("number", "person"),
    "PersonTag": ("id", "person"),
    "City": ("id",),
    "Post": ("id", "person"),
}
KINDS = (
    JOIN.INNER,
    JOIN.LEFT_OUTER,
    JOIN.RIGHT_OUTER,
    JOIN.FULL,
    JOIN.FULL_OUTER,
    JOIN.CROSS,
)
MODES = ("live", "all", "deleted")
MARKED = ("Person", "Note", "Team", "PersonSkill", "Skill", "Seat")


class Leaf(NamedTuple):
    """A source in FROM: what it is made of, and which rows of it are wanted."""

    source: Any
    name: str
    mode: str


class RandomQuery:
    """Builds a query on one family of models from a seed.

    Args:
        seed: What decides everything.
        names: The family.
        nested: Whether a join may stand on the right side of another one, which
            SQLite has no syntax for.
        modes: Whether sources are live ones only, or any of `MODES`.
    """

    def __init__(
        self, seed: int, names: Any, *, nested: bool, modes: bool = False
    ) -> None:
        """Take what is described above."""
        self.chosen = random.Random(seed)  # noqa: S311 - to be repeated
        self.names = names
        self.nested = nested
        self.modes = modes
        self.leaves: list[Leaf] = []
        self.crossed = False

    def build(self) -> Any:
        """Return the query."""
        sizes = self.chosen.choice(((2,), (3,), (4,), (5,), (1, 1), (2, 1), (2, 2)))
        trees = [self._tree(size) for size in sizes]
        columns = [self._column(leaf, KEYS[leaf.name][0]) for leaf in self.leaves]
        query = self.names.Person.select(*columns).from_(*trees)
        if len(trees) > 1:
            query = query.where(self._related(self.leaves[:1], self.leaves[-1:]))
        for _ in range(self.chosen.randint(0, 2)):
            query = query.where(self._condition() | self._condition())
        if query._where is not None and self.chosen.random() < 0.3:
            query = query.orwhere(self._condition())
        return self._showing(query)

    def leaf(self, name: str, mode: str) -> Any:
        """Return a source: the model itself, where it is the first one, or an alias."""
        model = getattr(self.names, name)
        used = any(leaf.source is model for leaf in self.leaves)
        is_alias = self.chosen.random() < 0.3
        return model.alias() if used or is_alias else model

    def _showing(self, query: Any) -> Any:
        for leaf in self.leaves:
            if leaf.mode == "all":
                query = query.with_deleted(leaf.source)
            elif leaf.mode == "deleted":
                query = query.showing(Show.DELETED, leaf.source)
        return query

    def _tree(self, size: int) -> Any:
        if size == 1:
            return self._leaf()
        right = self.chosen.randint(1, size - 1) if self.nested else 1
        start = len(self.leaves)
        lhs = self._tree(size - right)
        middle = len(self.leaves)
        rhs = self._tree(right)
        kind = self.chosen.choice(KINDS)
        if kind == JOIN.CROSS and (self.crossed or size > 3):
            kind = JOIN.INNER
        if kind == JOIN.CROSS:
            self.crossed = True
            return peewee.Join(lhs, rhs, kind)
        on = self._related(self.leaves[start:middle], self.leaves[middle:])
        if kind in {JOIN.INNER, JOIN.LEFT_OUTER} and self.chosen.random() < 0.2:
            on = on & self._compared(self.chosen.choice(self.leaves[start:]))
        return peewee.Join(lhs, rhs, kind, on=on)

    def _leaf(self) -> Any:
        name = self.chosen.choice(sorted(KEYS))
        mode = self.chosen.choice(MODES) if self.modes and name in MARKED else "live"
        source = self.leaf(name, mode)
        if not self.modes and self.chosen.random() < 0.15:
            model = getattr(self.names, name)
            rows = model.select().where(self._old(model, name))
            source = rows.select(*model._meta.sorted_fields).alias(
                f"sub{len(self.leaves)}"
            )
        self.leaves.append(Leaf(source, name, mode))
        return source

    def _old(self, model: Any, name: str) -> Any:
        first = getattr(model, KEYS[name][0])
        return (first > self.chosen.randint(1, 5)) | (first == 1)

    def _column(self, leaf: Leaf, name: str) -> Any:
        if isinstance(leaf.source, peewee.SelectBase):
            fields = getattr(self.names, leaf.name)._meta.fields
            return getattr(leaf.source.c, fields[name].column_name)
        return getattr(leaf.source, name)

    def _related(self, left: list[Leaf], right: list[Leaf]) -> Any:
        """Relate a key on one side to any on the other; many rows have no partner."""
        one, other = self.chosen.choice(left), self.chosen.choice(right)
        if self.chosen.random() < 0.5:
            one, other = other, one
        key = self._column(one, KEYS[one.name][0])
        return key == self._column(other, self.chosen.choice(KEYS[other.name]))

    def _compared(self, leaf: Leaf) -> Any:
        column = self._column(leaf, self.chosen.choice(KEYS[leaf.name]))
        return column > self.chosen.randint(1, 12)

    def _condition(self) -> Any:
        leaf = self.chosen.choice(self.leaves)
        column = self._column(leaf, self.chosen.choice(KEYS[leaf.name]))
        form = self.chosen.randint(0, 3)
        if form == 0:
            return column.is_null()
        if form == 1:
            model = getattr(self.names, self.chosen.choice(("Person", "Note", "Team")))
            keys = model.select(model.id).where(model.id < self.chosen.randint(2, 20))
            return self._subquery(model, column, keys)
        return column > self.chosen.randint(1, 12)

    def _subquery(self, model: Any, column: Any, keys: Any) -> Any:
        return column.in_(keys) if self.chosen.random() < 0.5 else column.not_in(keys)


class FilteredQuery(RandomQuery):
    """The oracle with modes: plain peewee, each source a filtered sub-select."""

    def leaf(self, name: str, mode: str) -> Any:
        """Return a sub-select of the rows that are wanted."""
        model = super().leaf(name, mode)  # it decides as often as the other class
        model = getattr(self.names, name)
        rows = model.select(*model._meta.sorted_fields)
        if name in MARKED and mode != "all":
            rows = rows.where(model.deleted_at.is_null(mode == "live"))
        return rows.alias(f"sub{len(self.leaves)}")

    def _showing(self, query: Any) -> Any:
        return query

    def _subquery(self, model: Any, column: Any, keys: Any) -> Any:
        keys = keys.where(model.deleted_at.is_null())
        return super()._subquery(model, column, keys)


def counted(query: Any) -> Counter[Any]:
    """Return the rows of a query, each with how often it is there.

    SQLite refuses some joins behind a comma.
    """
    try:
        return Counter(query.tuples())
    except peewee.OperationalError as error:
        return Counter([str(error)])
