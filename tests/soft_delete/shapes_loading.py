"""Loading related rows, many-to-many, writes that read, and queries of plain peewee."""

from typing import Any

import peewee
from peewee import JOIN, PREFETCH_TYPE, Load, fn

from tests.soft_delete.shapes_rows import Shape, listed


def keyed(parents: Any, name: str) -> list[Any]:
    """Return each object's key with those of a list that hangs on it."""
    return [(p.id, sorted(c.id for c in getattr(p, name))) for p in parents]


def prefetched(m: Any, strategy: Any) -> Any:
    """Fetch members and their notes by the method."""
    teams = m.Team.select().prefetch(m.Person, m.Note, prefetch_type=strategy)
    return [
        (t.id, keyed(t.members, "notes"), keyed(t.members, "read_notes"))
        for t in sorted(teams, key=lambda t: int(t.id))
    ]


def prefetched_by_function(m: Any, strategy: Any) -> Any:
    """Fetch members by the function of the module."""
    teams = peewee.prefetch(
        m.Team.select(), m.Person.select(), m.Note, prefetch_type=strategy
    )
    return [(t.id, keyed(t.members, "notes")) for t in teams]


def prefetched_to(m: Any) -> Any:
    """Name the query to which another one belongs, past one in between."""
    boss = m.Person.alias()
    teams = m.Team.select().prefetch(m.Person, (m.Note, m.Person), (boss, m.Person))
    return [(t.id, keyed(t.members, "notes"), keyed(t.members, "staff")) for t in teams]


def related(m: Any, strategy: Any) -> Any:
    """Load members and their notes."""
    load = Load(m.Team.members, strategy=strategy)
    teams = m.Team.select().with_related(load.then(Load(m.Person.notes)))
    return [(t.id, keyed(t.members, "notes")) for t in teams]


def related_per_parent(m: Any) -> Any:
    """Load the two newest notes of each person."""
    newest = m.Note.select().order_by(m.Note.id.desc())
    load = Load(m.Person.notes, newest, per_parent=2)
    return keyed(m.Person.select().with_related(load), "notes")


def related_narrowed(m: Any) -> Any:
    """Load what a query chooses."""
    old = m.Person.select().where((m.Person.age > 2) | (m.Person.name == "person-1"))
    return keyed(m.Team.select().with_related(Load(m.Team.members, old)), "members")


def counted_skills(m: Any) -> Any:
    """Count and order what a many-to-many field gives."""
    return [
        (p.id, p.skills.count(), tuple(s.id for s in p.skills.order_by(m.Skill.id)))
        for p in m.Person.select()
    ]


LOADING: dict[str, Shape] = {
    **{
        f"prefetch ({name})": lambda m, s=strategy: prefetched(m, s)  # type: ignore[misc]
        for name, strategy in (
            ("WHERE", PREFETCH_TYPE.WHERE),
            ("JOIN", PREFETCH_TYPE.JOIN),
        )
    },
    "prefetch function (WHERE)": lambda m: prefetched_by_function(
        m, PREFETCH_TYPE.WHERE
    ),
    "prefetch function (JOIN)": lambda m: prefetched_by_function(m, PREFETCH_TYPE.JOIN),
    "prefetch with a target": prefetched_to,
    "with_related (WHERE)": lambda m: related(m, PREFETCH_TYPE.WHERE),
    "with_related (JOIN)": lambda m: related(m, PREFETCH_TYPE.JOIN),
    "with_related (MATERIALIZE)": lambda m: related(m, PREFETCH_TYPE.MATERIALIZE),
    "with_related per parent": related_per_parent,
    "with_related narrowed": related_narrowed,
    "many-to-many": lambda m: keyed(m.Person.select(), "tags"),
    "many-to-many backwards": lambda m: keyed(m.Tag.select(), "people"),
    "many-to-many, marked through": lambda m: keyed(m.Person.select(), "skills"),
    "many-to-many backwards, marked through": lambda m: keyed(
        m.Skill.select(), "people"
    ),
    "many-to-many counted": counted_skills,
}


def rolled_back(m: Any, write: Any, read: Any) -> Any:
    """Write, read what is there, and undo it."""
    with m.Note._meta.database.atomic() as transaction:
        count = write(m)
        rows = read(m)
        transaction.rollback()
    return count, rows


def posts(m: Any) -> Any:
    """Return the rows of the plain table."""
    return listed(m.Post.select(m.Post.id, m.Post.title, m.Post.person))


def notes(m: Any) -> Any:
    """Return the rows of a marked table."""
    return listed(m.Note.select(m.Note.id, m.Note.text, m.Note.author))


def updated_from(m: Any) -> Any:
    """Take values from another table."""
    update = m.Note.update(text=m.Person.name).from_(m.Person)
    return update.where(m.Note.author == m.Person.id).execute()


def updated_from_join(m: Any) -> Any:
    """Take values from a join."""
    joined = peewee.Join(m.Person, m.Team, on=m.Person.team == m.Team.id)
    update = m.Note.update(text=m.Team.name).from_(joined)
    return update.where(m.Note.author == m.Person.id).execute()


def plain_updated_from(m: Any) -> Any:
    """Let plain peewee take values from a marked table."""
    update = m.Post.update(title=m.Person.name).from_(m.Person)
    return update.where(m.Post.person == m.Person.id).execute()


def inserted_from(m: Any) -> Any:
    """Copy rows by INSERT … SELECT."""
    rows = m.Person.select(m.Person.id + 100, m.Person.name, m.Person.id)
    fields = [m.Note.id, m.Note.text, m.Note.author]
    m.Note.insert_from(rows, fields).execute()
    return None


def plain_inserted_from(m: Any) -> Any:
    """Let plain peewee copy rows."""
    rows = m.Person.select(m.Person.id + 100, m.Person.name, m.Person.id)
    m.Post.insert_from(rows, [m.Post.id, m.Post.title, m.Post.person]).execute()
    return None


def deleted_by_subselect(m: Any) -> Any:
    """Delete what refers to some rows."""
    old = m.Person.select(m.Person.id).where(m.Person.age > 2)
    return m.Note.delete().where(m.Note.author.in_(old)).execute()


def plain_deleted_by_subselect(m: Any) -> Any:
    """Delete plain rows that refer to some rows."""
    return m.Post.delete().where(m.Post.person.in_(m.Person.select())).execute()


WRITING: dict[str, Shape] = {
    "update": lambda m: rolled_back(
        m, lambda m: m.Note.update(text="x").execute(), notes
    ),
    "update with OR": lambda m: rolled_back(
        m,
        lambda m: (
            m.Note.update(text="x")
            .where(m.Note.text == "note-1")
            .orwhere(m.Note.text == "note-2")
            .execute()
        ),
        notes,
    ),
    "update by a sub-select": lambda m: rolled_back(
        m,
        lambda m: m.Post.update(title=m.Person.select(fn.COUNT(m.Person.id))).execute(),
        posts,
    ),
    "UPDATE FROM": lambda m: rolled_back(m, updated_from, notes),
    "UPDATE FROM a join": lambda m: rolled_back(m, updated_from_join, notes),
    "UPDATE FROM in plain peewee": lambda m: rolled_back(m, plain_updated_from, posts),
    "INSERT FROM": lambda m: rolled_back(m, inserted_from, notes),
    "INSERT FROM in plain peewee": lambda m: rolled_back(m, plain_inserted_from, posts),
    "DELETE by a sub-select": lambda m: rolled_back(m, deleted_by_subselect, notes),
    "DELETE in plain peewee": lambda m: rolled_back(
        m, plain_deleted_by_subselect, posts
    ),
}


def plain_join(m: Any, how: str) -> Any:
    """Begin a join with a plain model."""
    query = m.Post.select(m.Post.id, m.Person.id, m.Team.id)
    query = query.join(m.Person, how, on=m.Post.person == m.Person.id)
    return listed(query.join(m.Team, how, on=m.Person.team == m.Team.id))


def plain_alias_join(m: Any) -> Any:
    """Join an alias of a marked model to a plain one."""
    person = m.Person.alias("who")
    query = m.Post.select(m.Post.id, person.name)
    return listed(query.join(person, JOIN.LEFT_OUTER, on=m.Post.person == person.id))


def marked_first(m: Any) -> Any:
    """Begin a join with a marked model."""
    query = m.Person.select(m.Person.id, m.Post.id)
    return listed(query.join(m.Post, JOIN.LEFT_OUTER))


def bare_select(m: Any) -> Any:
    """Select without a model."""
    query = peewee.Select([m.Person], [m.Person.id, m.Person.age])
    return listed(query.bind(m.Person._meta.database))


def table_select(m: Any) -> Any:
    """Select from the table of a model."""
    table = m.Person._meta.table
    return listed(table.select(table.id, table.name))


def table_alias(m: Any) -> Any:
    """Join aliases of the table of a model."""
    a, b = m.Person._meta.table.alias("a"), m.Person._meta.table.alias("b")
    query = a.select(a.id, b.id).join(b, JOIN.LEFT_OUTER, on=a.boss_id == b.id)
    return listed(query)


def table_joined(m: Any) -> Any:
    """Join the table of a model to a select of another one."""
    table = m.Person._meta.table.alias("who")
    query = m.Note.select(m.Note.id, table.name)
    return listed(query.join(table, JOIN.LEFT_OUTER, on=m.Note.author == table.id))


PLAIN: dict[str, Shape] = {
    "plain model first": lambda m: plain_join(m, JOIN.INNER),
    "plain model first, left": lambda m: plain_join(m, JOIN.LEFT_OUTER),
    "plain model first, right": lambda m: plain_join(m, JOIN.RIGHT_OUTER),
    "plain model first, full": lambda m: plain_join(m, JOIN.FULL),
    "plain model and an alias": plain_alias_join,
    "plain model last": marked_first,
    "plain IN": lambda m: list(
        m.Post.select().where(m.Post.person.in_(m.Person.select()))
    ),
    "plain many-to-many": lambda m: keyed(m.Album.select(), "people"),
    "plain many-to-many backwards": lambda m: keyed(m.Person.select(), "albums"),
    "plain prefetch": lambda m: keyed(
        m.Person.select().prefetch(m.Post.select()), "posts"
    ),
    "bare select": bare_select,
    "table": table_select,
    "aliases of a table": table_alias,
    "table in a join": table_joined,
}
