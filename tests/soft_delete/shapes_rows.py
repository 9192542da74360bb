"""Reading one table, and joining two or three: each shape on a family of models."""

from collections.abc import Callable
from functools import partial
from typing import Any

import peewee
from peewee import JOIN, SQL, fn

Shape = Callable[[Any], Any]


def listed(query: Any) -> list[Any]:
    """Return the rows of a query as tuples."""
    return list(query.tuples())


def attempt(read: Callable[[], Any]) -> Any:
    """Return what is read, or that there is no such row."""
    try:
        return read()
    except peewee.DoesNotExist:
        return "none"


def each_key(m: Any, read: Callable[[Any], Any]) -> list[Any]:
    """Return what is read for each key of a person that may be."""
    return [attempt(partial(read, k)) for k in range(1, 25)]


def exists(m: Any, key: int) -> bool:
    """Tell whether a person exists."""
    found: bool = m.Person.select().where(m.Person.id == key).exists()
    return found


def named_window(m: Any) -> Any:
    """Number persons in a window that has a name."""
    window = peewee.Window(partition_by=[m.Person.age], order_by=[m.Person.id])
    number = fn.ROW_NUMBER().over(window)
    return listed(m.Person.select(m.Person.id, number).window(window))


def where_on_alias(m: Any) -> Any:
    """Narrow a select from an alias."""
    person = m.Person.alias()
    return list(person.select().where((person.age == 2) | (person.age == 3)))


def found_or_created(m: Any) -> Any:
    """Ask for tags by name: made where the only one is deleted."""
    with m.Tag._meta.database.atomic() as transaction:
        answers = [
            m.Tag.get_or_create(name=f"tag-{n}", defaults={"id": 100 + n})
            for n in range(1, 10)
        ]
        transaction.rollback()
    return [(tag.id, made) for tag, made in answers]


SINGLE: dict[str, Shape] = {
    "select": lambda m: list(m.Person.select()),
    "select columns": lambda m: listed(m.Person.select(m.Person.name, m.Person.age)),
    "dicts": lambda m: list(m.Person.select().dicts()),
    "namedtuples": lambda m: [tuple(r) for r in m.Person.select().namedtuples()],
    "objects": lambda m: list(m.Person.select().objects()),
    "iterator": lambda m: list(m.Person.select().iterator()),
    "iteration over the class": lambda m: list(m.Person),
    "get": lambda m: each_key(m, lambda k: m.Person.get(m.Person.id == k)),
    "get_by_id": lambda m: each_key(m, m.Person.get_by_id),
    "get_or_none": lambda m: each_key(m, lambda k: m.Person.get_or_none(id=k)),
    "item": lambda m: each_key(m, lambda k: m.Person[k]),
    "in": lambda m: [k in m.Person for k in range(1, 25)],
    "len of the class": lambda m: len(m.Person),
    "len of a query": lambda m: len(m.Person.select()),
    "count": lambda m: m.Person.select().where(m.Person.age > 1).count(),
    "count of distinct": lambda m: (
        m.Person.select(m.Person.name, m.Person.age).distinct().count()
    ),
    "count with a limit": lambda m: m.Person.select().limit(20).count(),
    "exists": lambda m: each_key(m, lambda k: exists(m, k)),
    "slice": lambda m: tuple(m.Person.select().order_by(m.Person.id)[:5]),
    "first": lambda m: m.Person.select().order_by(m.Person.id.desc()).first(n=5),
    "scalar": lambda m: m.Person.select(fn.SUM(m.Person.id)).scalar(),
    "scalars": lambda m: list(m.Person.select(m.Person.id).scalars()),
    "paginate": lambda m: tuple(m.Person.select().order_by(m.Person.id).paginate(2, 4)),
    "filter": lambda m: list(m.Person.filter(age__gte=2)),
    "filter over a parent": lambda m: list(m.Note.filter(author__age__gte=2)),
    "filter over two parents": lambda m: list(
        m.Note.filter(author__team__name__ilike="team%")
    ),
    "filter over children": lambda m: list(m.Team.filter(members__age__gt=1)),
    "filter with DQ": lambda m: list(
        m.Note.filter(peewee.DQ(author__age=2) | peewee.DQ(author__age=3))
    ),
    "where with OR": lambda m: list(
        m.Person.select().where((m.Person.age == 2) | (m.Person.name == "person-3"))
    ),
    "orwhere": lambda m: list(
        m.Person.select().where(m.Person.age == 2).orwhere(m.Person.age == 3)
    ),
    "SQL with OR": lambda m: list(
        m.Person.select().where(SQL("age = 2 OR age = 3 OR age = 4"))
    ),
    "SQL and orwhere": lambda m: list(
        m.Person.select().where(SQL("1 = 1")).orwhere(SQL("age = 2 OR age > 2"))
    ),
    "negated": lambda m: list(m.Person.select().where(~(m.Person.age == 2))),
    "function as condition": lambda m: list(
        m.Person.select().where(fn.COALESCE(m.Person.age, 0) < 4)
    ),
    "composite key": lambda m: list(m.Seat.select()),
    "composite key by id": lambda m: [
        attempt(partial(m.Seat.get_by_id, (r, n)))
        for r in range(1, 6)
        for n in range(1, 15)
    ],
    "group by": lambda m: listed(
        m.Person.select(m.Person.age, fn.COUNT(m.Person.id)).group_by(m.Person.age)
    ),
    "having": lambda m: listed(
        m.Person.select(m.Person.age, fn.COUNT(m.Person.id))
        .group_by(m.Person.age)
        .having(fn.COUNT(m.Person.id) > 1)
    ),
    "distinct": lambda m: listed(
        m.Person.select(m.Person.name, m.Person.age).distinct()
    ),
    "window": lambda m: listed(
        m.Person.select(
            m.Person.id,
            fn.RANK().over(partition_by=[m.Person.age], order_by=[m.Person.id]),
        )
    ),
    "named window": named_window,
    "clone": lambda m: list(m.Person.select().clone()),
    "where added to a clone": lambda m: list(
        m.Person.select().clone().where(m.Person.age > 1)
    ),
    "select again": lambda m: listed(m.Person.select().select(m.Person.name)),
    "select_extend": lambda m: listed(
        m.Person.select(m.Person.id).select_extend(m.Person.name)
    ),
    "columns": lambda m: listed(m.Person.select().columns(m.Person.id)),
    "alias": lambda m: list(m.Person.alias().select()),
    "named alias": lambda m: list(m.Person.alias("p").select()),
    "where on an alias": where_on_alias,
    "back-reference": lambda m: [list(t.members) for t in m.Team.select()],
    "narrowed back-reference": lambda m: [
        list(t.members.where(m.Person.age > 1)) for t in m.Team.select()
    ],
    "self back-reference": lambda m: [list(p.staff) for p in m.Person.select()],
    "count of a back-reference": lambda m: [
        t.members.count() for t in m.Team.select().order_by(m.Team.id)
    ],
    "one of two back-references": lambda m: [
        list(p.read_notes) for p in m.Person.select()
    ],
    "get_or_create finds": found_or_created,
    "case": lambda m: listed(
        m.Person.select(m.Person.id, peewee.Case(None, [(m.Person.age > 2, 1)], 0))
    ),
}


def parents(m: Any, how: str) -> Any:
    """Join along a foreign key."""
    query = m.Note.select(m.Note.id, m.Person.id)
    return listed(query.join(m.Person, how, on=m.Note.author == m.Person.id))


def children(m: Any, how: str) -> Any:
    """Join against a foreign key."""
    query = m.Team.select(m.Team.id, m.Person.id)
    return listed(query.join(m.Person, how, on=m.Person.team == m.Team.id))


def aliased(m: Any, how: str) -> Any:
    """Join a table with itself."""
    boss = m.Person.alias()
    query = m.Person.select(m.Person.id, boss.id)
    return listed(query.join(boss, how, on=m.Person.boss == boss.id))


def two_aliases(m: Any, how: str) -> Any:
    """Join two other names of one table."""
    a, b = m.Person.alias("a"), m.Person.alias("b")
    return listed(a.select(a.id, b.id).join(b, how, on=a.boss == b.id))


def chain(m: Any, how: str) -> Any:
    """Join three tables."""
    query = m.Note.select(m.Note.id, m.Person.id, m.Team.id)
    query = query.join(m.Person, how, on=m.Note.author == m.Person.id)
    return listed(query.join(m.Team, how, on=m.Person.team == m.Team.id))


def with_or(m: Any, how: str) -> Any:
    """Filter a join with OR."""
    query = m.Note.select(m.Note.id, m.Person.id)
    query = query.join(m.Person, how, on=m.Note.author == m.Person.id)
    is_either = (m.Person.age == 2) | (m.Note.text == "note-3")
    return listed(query.where(is_either).orwhere(m.Note.text == "note-4"))


def unrelated(m: Any, how: str) -> Any:
    """A table without soft delete on the left."""
    query = m.City.select(m.City.id, m.Person.id)
    return listed(query.join(m.Person, how, on=m.Person.city == m.City.id))


def counted(m: Any, how: str) -> Any:
    """Count children."""
    query = m.Person.select(m.Person.id, fn.COUNT(m.Note.id))
    query = query.join(m.Note, how, on=m.Note.author == m.Person.id)
    return listed(query.group_by(m.Person.id))


def of_subquery(m: Any, how: str) -> Any:
    """Join a sub-select."""
    sub = m.Note.select(m.Note.author, fn.COUNT(m.Note.id).alias("n"))
    sub = sub.group_by(m.Note.author).alias("sub")
    query = m.Person.select(m.Person.id, sub.c.n)
    return listed(query.join(sub, how, on=sub.c.author_id == m.Person.id))


def of_objects(m: Any, how: str) -> Any:
    """Select all columns of both."""
    query = m.Note.select(m.Note, m.Person)
    query = query.join(m.Person, how, on=m.Note.author == m.Person.id)
    return [dict(row) for row in query.dicts()]


KINDS = {
    "inner": JOIN.INNER,
    "left": JOIN.LEFT_OUTER,
    "right": JOIN.RIGHT_OUTER,
    "full": JOIN.FULL_OUTER,
}
JOINED: dict[str, Shape] = {
    f"{kind} join: {read.__name__}": partial(read, how=how)
    for kind, how in KINDS.items()
    for read in (
        parents,
        children,
        aliased,
        two_aliases,
        chain,
        with_or,
        unrelated,
        counted,
        of_subquery,
        of_objects,
    )
}
