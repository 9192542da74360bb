"""Ways to read two models that refer to each other, each with what it should give."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from peewee import JOIN, PREFETCH_TYPE, Load

from cmcore.testing.rows import Row, columns_of, key_fields, keys_of, live_of
from cmcore.testing.shapes import Shape

Rows = Mapping[Any, list[Row]]


class Link(NamedTuple):
    """A foreign key: whose it is, and to what it refers."""

    child: Any
    field: Any
    parent: Any

    def __str__(self) -> str:
        return f"{self.child.__name__}.{self.field.name}"


def joined(link: Link, rows: Rows) -> Iterator[Shape]:
    """Yield the joins along a foreign key, from both sides."""
    child, field, parent = link
    met = _met(link, rows)
    inner = [(*row.key, *other.key) for row, other in met]
    alone = [
        (*row.key, *(None for _ in key_fields(parent)))
        for row in live_of(rows[child])
        if row.key not in {one.key for one, _ in met}
    ]
    childless = [
        (*(None for _ in key_fields(child)), *row.key)
        for row in live_of(rows[parent])
        if row.key not in {other.key for _, other in met}
    ]
    for kind, expected in {
        JOIN.INNER: inner,
        JOIN.LEFT_OUTER: inner + alone,
        JOIN.RIGHT_OUTER: inner + childless,
        JOIN.FULL_OUTER: inner + alone + childless,
    }.items():
        name = f"{link}: {child.__name__} {kind} {parent.__name__}"
        yield Shape(name, partial(_join, link, kind, reverse=False), expected)
    for kind, expected in {
        JOIN.INNER: inner,
        JOIN.LEFT_OUTER: inner + childless,
    }.items():
        name = f"{link}: {parent.__name__} {kind} {child.__name__}"
        yield Shape(name, partial(_join, link, kind, reverse=True), expected)
    yield Shape(
        f"{link}: IN a sub-select",
        lambda: keys_of(
            child.select().where(field.in_(parent.select(field.rel_field)))
        ),
        [row.key for row, _ in met],
    )


def _met(link: Link, rows: Rows) -> list[tuple[Row, Row]]:
    """Return the live rows of which one refers to the other."""
    found = _referring(link, rows)
    return [(row, other) for row, other in found if not other.is_deleted]


def _referring(link: Link, rows: Rows) -> list[tuple[Row, Row]]:
    """Return the live rows that refer to one, with that one."""
    name = link.field.rel_field.name
    parents = {row.values[name]: row for row in rows[link.parent]}
    pairs = (
        (r, parents.get(r.values[link.field.name])) for r in live_of(rows[link.child])
    )
    return [(row, other) for row, other in pairs if other is not None]


def _join(link: Link, kind: str, *, reverse: bool) -> list[Any]:
    """Join the two models, the second one under another name."""
    child, field, parent = link
    if reverse:
        other = child.alias()
        on = getattr(other, field.name) == field.rel_field
        columns = [*columns_of(other, child), *columns_of(parent, parent)]
        return list(parent.select(*columns).join(other, kind, on=on).tuples())
    other = parent.alias()
    on = field == getattr(other, field.rel_field.name)
    columns = [*columns_of(child, child), *columns_of(other, parent)]
    return list(child.select(*columns).join(other, kind, on=on).tuples())


def loaded(link: Link, rows: Rows) -> Iterator[Shape]:
    """Yield what objects show of each other, along a foreign key."""
    child, field, parent = link
    if hasattr(child._meta, "layout"):  # plain peewee does not find a deleted row
        pairs = [(row.key, other.key) for row, other in _referring(link, rows)]
        for title, read in _upwards(link):
            name = f"{link}: the parent, {title}"
            yield Shape(name, partial(_parents, link, read), pairs)
    if hasattr(parent, field.backref or "+"):
        pairs = [(other.key, row.key) for row, other in _met(link, rows)]
        for title, read in _downwards(link):
            name = f"{link}: the back-reference, {title}"
            yield Shape(name, partial(_children, link, read), pairs)


def _upwards(link: Link) -> Iterator[tuple[str, Callable[[], Any]]]:
    child, field, parent = link

    def left_joined() -> Any:
        other = parent.alias()
        on = field == getattr(other, field.rel_field.name)
        query = child.select(child, other)
        return query.join(other, JOIN.LEFT_OUTER, on=on, attr=field.name)

    yield "lazily", child.select
    yield "after a left join", left_joined
    yield "by with_related", lambda: child.select().with_related(Load(field))
    if child is not parent:
        yield "by prefetch", lambda: child.select().prefetch(parent)


def _downwards(link: Link) -> Iterator[tuple[str, Callable[[], Any]]]:
    child, field, parent = link
    back = getattr(parent, field.backref)
    yield "lazily", parent.select
    yield "by with_related", lambda: parent.select().with_related(Load(back))
    if child is not parent:
        for kind in (PREFETCH_TYPE.WHERE, PREFETCH_TYPE.JOIN):
            yield (
                f"by prefetch ({kind})",
                partial(_prefetched, parent, child, kind),
            )


def _prefetched(parent: Any, child: Any, kind: Any) -> Any:
    return parent.select().prefetch(child, prefetch_type=kind)


def _parents(link: Link, read: Callable[[], Any]) -> list[Any]:
    """Return the keys of objects that refer to something, and of what they refer to."""
    name = link.field.name
    pairs = [
        (obj, getattr(obj, name)) for obj in read() if obj.__data__[name] is not None
    ]
    return [tuple(keys_of(pair)) for pair in pairs if pair[1] is not None]


def _children(link: Link, read: Callable[[], Any]) -> list[Any]:
    backref = link.field.backref
    return [
        tuple(keys_of((obj, other)))
        for obj in read()
        for other in getattr(obj, backref)
    ]


def related(field: Any, rows: Rows) -> Iterator[Shape]:
    """Yield what a many-to-many field of the live objects gives."""
    model, target = field.model, field.rel_model
    accessor = model.__dict__[field.name]
    owners, through = live_of(rows[model]), live_of(rows[field.through_model])
    ends = related_ends(accessor, owners, live_of(rows[target]), through)
    pairs = [(owner.key, other.key) for owner, other in ends]

    def read(objects: Any) -> list[Any]:
        return [
            tuple(keys_of((obj, other)))
            for obj in objects
            for other in getattr(obj, field.name)
        ]

    name = f"{model.__name__}.{field.name}"
    yield Shape(name, lambda: read(model.select()), pairs)
    if accessor.src_fk.backref not in {None, "+", "!"} and hasattr(
        target._meta, "layout"
    ):
        yield Shape(
            f"{name}, by prefetch",
            lambda: read(model.select().prefetch(field.through_model, target)),
            pairs,
        )


def related_ends(
    accessor: Any, owners: list[Row], others: list[Row], through: list[Row]
) -> list[tuple[Row, Row]]:
    """Return the rows that a many-to-many field relates, by way of some others."""
    source, dest = accessor.src_fk, accessor.dest_fk
    by_source = {row.values[source.rel_field.name]: row for row in owners}
    by_dest = {row.values[dest.rel_field.name]: row for row in others}
    ends = [
        (by_source.get(row.values[source.name]), by_dest.get(row.values[dest.name]))
        for row in through
    ]
    return [(owner, other) for owner, other in ends if owner and other]
