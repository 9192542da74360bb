"""Queries made of queries: sub-selects, compounds, CTEs, and further joins."""

from typing import Any

import peewee
from peewee import JOIN, SQL, fn

from tests.soft_delete.shapes_rows import Shape, listed


def correlated(m: Any) -> Any:
    """Count notes for each person in the list of columns."""
    count = m.Note.select(fn.COUNT(m.Note.id)).where(m.Note.author == m.Person.id)
    return listed(m.Person.select(m.Person.id, count.alias("n")))


def correlated_alias(m: Any) -> Any:
    """Keep the persons who have staff that is not of their age."""
    other = m.Person.alias()
    staff = other.select(other.id).where(
        (other.boss == m.Person.id) & (other.age != m.Person.age)
    )
    return list(m.Person.select().where(fn.EXISTS(staff)))


def joined_subquery(m: Any) -> Any:
    """Join a sub-select that joins."""
    sub = m.Note.select(m.Note.id, m.Person.name.alias("who"))
    sub = sub.join(m.Person, on=m.Note.author == m.Person.id).alias("sub")
    query = m.Note.select(m.Note.id, sub.c.who)
    return listed(query.join(sub, on=sub.c.id == m.Note.id))


def from_subquery(m: Any) -> Any:
    """Select from a sub-select in the place of the table."""
    sub = m.Person.select(m.Person.id, m.Person.age).alias("sub")
    return listed(m.Person.select(sub.c.id, sub.c.age).from_(sub))


def from_two(m: Any) -> Any:
    """Name several sources in FROM."""
    query = m.Person.select(m.Person.id, m.Team.id).from_(m.Person, m.Team)
    return listed(query.where(m.Person.team == m.Team.id))


def from_model_and_subquery(m: Any) -> Any:
    """Name a model and a sub-select in FROM."""
    sub = m.Team.select(m.Team.id).alias("sub")
    query = m.Person.select(m.Person.id, sub.c.id).from_(m.Person, sub)
    return listed(query.where(m.Person.team == sub.c.id))


def from_aliases(m: Any) -> Any:
    """Name two aliases of a model in FROM."""
    a, b = m.Person.alias(), m.Person.alias()
    query = m.Person.select(a.id, b.id).from_(a, b)
    return listed(query.where(a.boss == b.id))


def from_join(m: Any) -> Any:
    """Name a join that was built by hand."""
    tree = peewee.Join(m.Person, m.Team, JOIN.LEFT_OUTER, on=m.Person.team == m.Team.id)
    return listed(m.Person.select(m.Person.id, m.Team.id).from_(tree))


def cte(m: Any) -> Any:
    """Join a common table expression."""
    named = m.Person.select(m.Person.id, m.Person.team).cte("named")
    query = m.Team.select(m.Team.id, named.c.id)
    query = query.join(named, on=named.c.team_id == m.Team.id)
    return listed(query.with_cte(named))


def cte_alone(m: Any) -> Any:
    """Select from a common table expression alone."""
    named = m.Person.select(m.Person.id, m.Person.age).cte("named", columns=("i", "a"))
    return listed(named.select_from(named.c.i, named.c.a))


def recursive(m: Any) -> Any:
    """Walk down from those without a boss."""
    level = peewee.Value(1).alias("level")
    base = m.Person.select(m.Person.id, level).where(m.Person.age > 1)
    base = base.cte("tree", recursive=True, columns=("id", "level"))
    below = m.Person.alias("below")
    deeper = below.select(below.id, base.c.level + 1)
    deeper = deeper.join(base, on=below.boss == base.c.id)
    tree = base.union_all(deeper)
    return listed(tree.select_from(tree.c.id, tree.c.level))


def natural(m: Any) -> Any:
    """Join on the columns that both have."""
    notes = m.Note.select(m.Note.id).alias("notes")
    tree = peewee.Join(notes, m.Person, JOIN.NATURAL)
    tree = peewee.Join(tree, m.Team.alias("team"), JOIN.CROSS)
    return listed(m.Person.select(m.Person.id).from_(tree))


def cross(m: Any) -> Any:
    """Pair every tag with every skill."""
    query = m.Tag.select(m.Tag.id, m.Skill.id)
    return listed(query.join(m.Skill, JOIN.CROSS))


def cross_then_left(m: Any) -> Any:
    """Pair, and look for what may be absent."""
    query = m.Tag.select(m.Tag.id, m.Skill.id, m.Person.id).join(m.Skill, JOIN.CROSS)
    is_same = m.Person.id == m.Skill.id
    return listed(query.join(m.Person, JOIN.LEFT_OUTER, on=is_same))


def full_then_inner(m: Any) -> Any:
    """Join a full join with a third table."""
    query = m.Note.select(m.Note.id, m.Person.id, m.Team.id)
    query = query.join(m.Person, JOIN.FULL, on=m.Note.author == m.Person.id)
    return listed(query.join(m.Team, on=m.Person.team == m.Team.id))


def full_with_inner_below(m: Any) -> Any:
    """Let a full join have an inner join on its left."""
    query = m.Note.select(m.Note.id, m.Person.id, m.Team.id)
    query = query.join(m.Person, on=m.Note.author == m.Person.id)
    return listed(query.join(m.Team, JOIN.FULL, on=m.Person.team == m.Team.id))


def right_after_left(m: Any) -> Any:
    """Mix the two outer joins."""
    query = m.Note.select(m.Note.id, m.Person.id, m.Team.id)
    query = query.join(m.Person, JOIN.LEFT_OUTER, on=m.Note.author == m.Person.id)
    query = query.join(m.Team, JOIN.RIGHT_OUTER, on=m.Person.team == m.Team.id)
    return listed(query.where((m.Team.id > 1) | (m.Note.id > 2)))


def lower_case_join(m: Any) -> Any:
    """Write the kind of a join by hand."""
    query = m.Note.select(m.Note.id, m.Person.id)
    is_author = m.Note.author == m.Person.id
    return listed(query.join(m.Person, "right outer join", on=is_author))


def through_two_parents(m: Any) -> Any:
    """Join two foreign keys to one table."""
    reader = m.Person.alias("reader")
    query = m.Note.select(m.Note.id, m.Person.id, reader.id)
    query = query.join(m.Person, on=m.Note.author == m.Person.id).switch(m.Note)
    return listed(query.join(reader, JOIN.LEFT_OUTER, on=m.Note.reader == reader.id))


def join_from(m: Any) -> Any:
    """Say from which source to join."""
    query = m.Person.select(m.Person.id, m.Team.id, m.City.id)
    query = query.join_from(m.Person, m.Team, JOIN.LEFT_OUTER)
    return listed(query.join_from(m.Person, m.City))


def outer_condition(m: Any) -> Any:
    """Join on more than the key."""
    is_young = (m.Note.author == m.Person.id) & (m.Person.age < 4)
    query = m.Note.select(m.Note.id, m.Person.id)
    return listed(query.join(m.Person, JOIN.LEFT_OUTER, on=is_young))


def sql_in_on(m: Any) -> Any:
    """Join on a fragment of SQL with OR."""
    person = m.Person.alias("p")
    text = SQL("t1.author_id = p.id OR t1.reader_id = p.id")
    return listed(m.Note.select(m.Note.id, person.id).join(person, on=text))


def compound_joined(m: Any) -> Any:
    """Join a union."""
    either = m.Person.select(m.Person.id).where(m.Person.age < 3)
    either = either | m.Person.select(m.Person.id).where(m.Person.age > 3)
    sub = either.alias("either")
    query = m.Note.select(m.Note.id, sub.c.id)
    return listed(query.join(sub, on=m.Note.author == sub.c.id))


def tags_and_people(m: Any, how: str) -> Any:
    """Join the three tables of a many-to-many relation."""
    query = m.Tag.select(m.Tag.id, m.Person.id)
    return listed(query.join(m.PersonTag, how).join(m.Person, how))


def skills_and_people(m: Any, how: str) -> Any:
    """Join the three tables of a relation whose rows are marked themselves."""
    query = m.Person.select(m.Person.id, m.PersonSkill.level, m.Skill.id)
    return listed(query.join(m.PersonSkill, how).join(m.Skill, how))


def young(m: Any) -> Any:
    """Select the keys of the young."""
    return m.Person.select(m.Person.id).where(m.Person.age < 4)


COMPOSED: dict[str, Shape] = {
    "IN": lambda m: list(m.Note.select().where(m.Note.author.in_(young(m)))),
    "NOT IN": lambda m: list(m.Note.select().where(m.Note.author.not_in(young(m)))),
    "IN the default select": lambda m: list(
        m.Note.select().where(m.Note.author.in_(m.Person.select()))
    ),
    "IN itself": lambda m: list(m.Person.select().where(m.Person.id.in_(young(m)))),
    "EXISTS": lambda m: list(
        m.Person.select().where(
            fn.EXISTS(m.Note.select().where(m.Note.author == m.Person.id))
        )
    ),
    "NOT EXISTS": lambda m: list(
        m.Person.select().where(
            ~fn.EXISTS(m.Note.select().where(m.Note.author == m.Person.id))
        )
    ),
    "correlated column": correlated,
    "correlated alias": correlated_alias,
    "scalar in where": lambda m: list(
        m.Person.select().where(m.Person.age == m.Person.select(fn.MIN(m.Person.age)))
    ),
    "sub-select joined": joined_subquery,
    "sub-select as source": from_subquery,
    "sub-select of a sub-select": lambda m: listed(
        m.Person.select(m.Person.id).select_from(SQL("COUNT(*)"))
    ),
    "two sources": from_two,
    "a source and a sub-select": from_model_and_subquery,
    "two aliases as sources": from_aliases,
    "a join as source": from_join,
    "UNION": lambda m: list(young(m) | m.Person.select(m.Person.id)),
    "UNION ALL": lambda m: list(young(m) + m.Person.select(m.Person.id)),
    "INTERSECT": lambda m: list(m.Person.select(m.Person.id) & young(m)),
    "EXCEPT": lambda m: list(m.Person.select(m.Person.id) - young(m)),
    "EXCEPT of another table": lambda m: listed(
        m.Person.select(m.Person.id) - m.Note.select(m.Note.author)
    ),
    "union of unions": lambda m: listed(
        (young(m) | m.Team.select(m.Team.id)) | (young(m) & m.Tag.select(m.Tag.id))
    ),
    "union with a limit": lambda m: tuple(
        (young(m) | m.Person.select(m.Person.id)).order_by(SQL("1")).limit(7).tuples()
    ),
    "count of a union": lambda m: (young(m) | m.Team.select(m.Team.id)).count(),
    "IN a union": lambda m: list(
        m.Note.select().where(m.Note.author.in_(young(m) | m.Team.select(m.Team.id)))
    ),
    "union joined": compound_joined,
    "CTE": cte,
    "CTE alone": cte_alone,
    "recursive CTE": recursive,
    "natural join": natural,
    "cross join": cross,
    "cross join, then left": cross_then_left,
    "full join, then inner": full_then_inner,
    "inner join below a full one": full_with_inner_below,
    "right join after left": right_after_left,
    "join in lower case": lower_case_join,
    "two foreign keys": through_two_parents,
    "join_from": join_from,
    "left join on more": outer_condition,
    "join on SQL with OR": sql_in_on,
    "many-to-many joined": lambda m: tags_and_people(m, JOIN.INNER),
    "many-to-many left joined": lambda m: tags_and_people(m, JOIN.LEFT_OUTER),
    "marked many-to-many joined": lambda m: skills_and_people(m, JOIN.INNER),
    "marked many-to-many left joined": lambda m: skills_and_people(m, JOIN.LEFT_OUTER),
    "group by a key": lambda m: listed(
        m.Person.select(m.Person, fn.COUNT(m.Note.id))
        .join(m.Note, JOIN.LEFT_OUTER, on=m.Note.author == m.Person.id)
        .group_by(m.Person.id)
    ),
    "group by a model": lambda m: listed(
        m.Team.select(m.Team, fn.COUNT(m.Person.id))
        .join(m.Person, JOIN.LEFT_OUTER)
        .group_by(m.Team)
    ),
}


def distinct_on(m: Any) -> Any:
    """Take the oldest note of each author."""
    query = m.Note.select(m.Note.author, m.Note.id).distinct(m.Note.author)
    return listed(query.order_by(m.Note.author, m.Note.id))


def locked(m: Any, **options: Any) -> Any:
    """Lock the rows that are read."""
    with m.Note._meta.database.atomic():
        query = m.Note.select(m.Note.id, m.Person.id)
        query = query.join(m.Person, on=m.Note.author == m.Person.id)
        return listed(query.for_update(**options))


def lateral(m: Any, how: str | None) -> Any:
    """Join the newest note of each person."""
    newest = m.Note.select(m.Note.id).where(m.Note.author == m.Person.id)
    newest = newest.order_by(m.Note.id.desc()).limit(1).alias("newest")
    if how is None:  # which kind of join it is, the sub-select says
        newest, how = newest.lateral(), JOIN.LEFT_OUTER
    return listed(m.Person.select(m.Person.id, newest.c.id).join(newest, how))


POSTGRESQL: dict[str, Shape] = {
    "DISTINCT ON": distinct_on,
    "FOR UPDATE": locked,
    "FOR UPDATE OF a model": lambda m: locked(m, of=m.Note),
    "FOR UPDATE OF a joined model": lambda m: locked(m, of=m.Person, nowait=True),
    "LATERAL": lambda m: lateral(m, JOIN.LATERAL),
    "lateral sub-select": lambda m: lateral(m, None),
    "LEFT LATERAL": lambda m: lateral(m, JOIN.LEFT_LATERAL),
}
