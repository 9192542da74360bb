"""Following a reference from an object: the row that is there, deleted or not."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest
from peewee import JOIN, PREFETCH_TYPE, Load

import cmcore
from tests.soft_delete.bench import Bench
from tests.soft_delete.models import SOFT

Note, Person, Team = SOFT.Note, SOFT.Person, SOFT.Team
BACKREF = SOFT.PersonTag.person.backref
STRATEGIES = (PREFETCH_TYPE.WHERE, PREFETCH_TYPE.JOIN)


def left_joined() -> Any:
    """Select both sides of a left join."""
    return Note.select(Note, Person).join(Person, JOIN.LEFT_OUTER, on=Note.author)


def left_joined_alias() -> Any:
    """Select an alias on the right side."""
    who = Person.alias()
    query = Note.select(Note, who)
    return query.join(who, JOIN.LEFT_OUTER, on=Note.author == who.id, attr="author")


WAYS: dict[str, Callable[[], Any]] = {
    "lazily": Note.select,
    "lazily, of a few columns": lambda: Note.select(Note.id, Note.author),
    "lazily, from an alias": lambda: Note.alias().select(),
    "by get": lambda: [Note.get_by_id(note.id) for note in Note.select()],
    "after a left join": left_joined,
    "after a left join that is not selected": lambda: Note.select().join(
        Person, JOIN.LEFT_OUTER, on=Note.author
    ),
    "after a left join of an alias": left_joined_alias,
    "after a union": lambda: Note.select() | Note.select(),
    "by prefetch of an alias": lambda: Note.select().prefetch(Person.alias()),
    "by prefetch of a tuple": lambda: Note.select().prefetch((Person, Note)),
    "by prefetch, past children": lambda: Note.select().prefetch(
        Person, SOFT.Seat, (SOFT.PersonSkill, Person)
    ),
    **{
        f"by {strategy} prefetch": lambda s=strategy: Note.select().prefetch(  # type: ignore[misc]
            Person.select(), prefetch_type=s
        )
        for strategy in STRATEGIES
    },
    **{
        f"by {strategy} prefetch of the module": lambda s=strategy: peewee.prefetch(  # type: ignore[misc]
            Note.select(), Person.select(), prefetch_type=s
        )
        for strategy in STRATEGIES
    },
    **{
        f"by {strategy} with_related": lambda s=strategy: Note.select().with_related(  # type: ignore[misc]
            Load(Note.author, strategy=s)
        )
        for strategy in (*STRATEGIES, PREFETCH_TYPE.MATERIALIZE)
    },
    "by with_related of a field": lambda: Note.select().with_related(Note.author),
    "by with_related of a union": lambda: (Note.select() | Note.select()).with_related(
        Note.author
    ),
}
AT_ONCE = [name for name in WAYS if "prefetch" in name or "related" in name]


def authors(pair: Bench) -> dict[int, tuple[int, bool]]:
    """Return who wrote each live note, and whether that row is deleted."""
    rows = pair.db.execute_sql(
        "SELECT n.id, p.id, p.deleted_at IS NOT NULL FROM leak_note n "
        "JOIN leak_person p ON p.id = n.author_id WHERE n.deleted_at IS NULL"
    ).fetchall()
    found = {note: (author, bool(deleted)) for note, author, deleted in rows}
    assert {True, False} == {deleted for _, deleted in found.values()}
    return found


@pytest.mark.parametrize("name", WAYS)
def test_a_deleted_parent_is_found(pair: Bench, name: str) -> None:
    """Every way gives the same object, which says that it is deleted."""
    notes = list(WAYS[name]())
    found = {note.id: (note.author.id, note.author.is_deleted) for note in notes}
    assert found == authors(pair)


@pytest.mark.parametrize(
    "name", [n for n in AT_ONCE if "module" not in n and "union" not in n]
)
def test_a_deleted_parent_costs_no_query_of_its_own(
    pair: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded at once holds deleted parents as well."""
    notes = list(WAYS[name]())
    sent: list[str] = []
    monkeypatch.setattr(pair.db, "execute_sql", lambda sql, *_: sent.append(sql))
    assert all(note.author.id for note in notes)
    assert sent == []


def test_a_level_further_deleted_parents_are_found(pair: Bench) -> None:
    """`then()` finds the deleted team of a deleted author, and his live staff."""
    load = Load(Note.author).then(Person.team, Load(Person.staff))
    found = {
        (note.id, note.author.team and note.author.team.id, person.id)
        for note in Note.select().with_related(load)
        for person in note.author.staff
    }
    rows = pair.db.execute_sql(
        "SELECT n.id, a.team_id, s.id FROM leak_note n "
        "JOIN leak_person a ON a.id = n.author_id "
        "JOIN leak_person s ON s.boss_id = a.id AND s.deleted_at IS NULL "
        "WHERE n.deleted_at IS NULL"
    )
    assert found == set(rows.fetchall())


def test_an_outer_join_asks_once_for_what_is_not_deleted(
    pair: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live parent that fails the join's condition stays None, with one question."""
    is_never = (Note.author == Person.id) & (Person.id < 0)
    query = Note.select(Note, Person)
    query = query.join(Person, JOIN.LEFT_OUTER, on=is_never, attr="author")
    live = {note for note, (_, deleted) in authors(pair).items() if not deleted}
    notes = [note for note in query if note.id in live]
    sent: list[str] = []
    execute = pair.db.execute_sql

    def counted(sql: str, *args: Any) -> Any:
        sent.append(sql)
        return execute(sql, *args)

    monkeypatch.setattr(pair.db, "execute_sql", counted)
    assert [note.author for note in notes] == [None] * len(notes)
    asked = len(sent)
    assert [note.author for note in notes] == [None] * len(notes)
    assert len(sent) == asked == len(notes)


def test_a_row_that_is_nowhere_is_not_found(pair: Bench) -> None:
    """A reference to no row at all raises, and one without lazy loading is a key."""
    note = Note(author=10_000)
    with pytest.raises(Person.DoesNotExist):
        _ = note.author


def test_null_stays_none(pair: Bench) -> None:
    """A reference that is NULL gives None by each way."""
    query = Note.select().where(Note.reader.is_null())
    assert {note.reader for note in query} == {None}
    assert {note.reader for note in query.with_related(Note.reader)} == {None}


def test_plain_peewee_does_not_find_a_deleted_row(pair: Bench) -> None:
    """A foreign key of a plain peewee.Model asks for live rows, as documented."""
    gone = [p.id for p in Person.only_deleted()]
    posts = list(SOFT.Post.select().where(SOFT.Post.person.in_(gone)))
    assert posts
    for post in posts:
        with pytest.raises(Person.DoesNotExist):
            _ = post.person


def related_keys(deleted: Any, name: str) -> list[int]:
    """Return the keys of what a many-to-many field of an object gives."""
    return sorted(row.id for row in getattr(deleted, name))


@pytest.mark.parametrize(
    ("name", "through", "column"),
    [
        ("tags", "leak_tag_leak_person_through", "tag_id"),
        ("skills", "leak_personskill", "skill_id"),
    ],
)
def test_a_deleted_object_has_its_live_relations(
    pair: Bench, name: str, through: str, column: str
) -> None:
    """Back-references and many-to-many of a deleted object show live rows."""
    table = f"leak_{name[:-1]}"
    is_live = "AND x.deleted_at IS NULL" if name == "skills" else ""
    rows = pair.db.execute_sql(
        f"SELECT x.person_id, x.{column} FROM {through} x "  # noqa: S608
        f"JOIN {table} y ON y.id = x.{column} AND y.deleted_at IS NULL "
        f"WHERE 1 = 1 {is_live}"
    ).fetchall()
    gone = list(Person.only_deleted())
    assert {p.id for p in gone} & {person for person, _ in rows}
    for person in gone:
        expected = sorted(key for owner, key in rows if owner == person.id)
        assert related_keys(person, name) == expected


@pytest.mark.parametrize(
    "load",
    [
        lambda: Person.select().prefetch(SOFT.PersonTag, SOFT.Tag),
        lambda: Person.select().prefetch(
            SOFT.PersonTag, SOFT.Tag.select(SOFT.Tag.id, SOFT.Tag.name)
        ),
        lambda: Person.select().prefetch(SOFT.PersonTag),
        lambda: Person.select().with_related(
            Load(getattr(Person, BACKREF)).then(SOFT.PersonTag.tag)
        ),
    ],
)
def test_a_loaded_many_to_many_field_shows_live_rows(
    pair: Bench, load: Callable[[], Any]
) -> None:
    """After a prefetch the field is a list, which leaves deleted rows out as well."""
    by_query = {p.id: related_keys(p, "tags") for p in Person.select()}
    loaded = list(load())
    assert all(isinstance(person.tags, list) for person in loaded)
    assert {p.id: related_keys(p, "tags") for p in loaded} == by_query


def test_a_field_may_be_called_model(
    database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefetching deleted parents does not depend on what the fields are called."""

    class Maker(cmcore.SoftDeleteMixin, cmcore.Model):
        model = peewee.CharField()

    class Car(cmcore.SoftDeleteMixin, cmcore.Model):
        model = peewee.CharField()
        maker = peewee.ForeignKeyField(Maker, backref="cars")

    for each in (Maker, Car):
        each._meta.set_database(database)
    database.create_tables([Maker, Car])
    maker = Maker.create(model="B")
    Car.create(model="A", maker=maker)
    maker.delete_instance()
    (car,) = Car.select().prefetch(Maker)
    monkeypatch.setattr(database, "execute_sql", None)
    assert car.maker.is_deleted
