"""The ways to the deleted rows, and how far each of them reaches."""

import threading
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from typing import Any

import peewee
import pytest
from peewee import JOIN, Load, fn

from cmcore import AuditLog, Customer, User, acting_as
from cmcore.models.live import Show
from tests.soft_delete.bench import Bench
from tests.soft_delete.models import SOFT
from tests.soft_delete.shapes_rows import listed

Note, Person, Team = SOFT.Note, SOFT.Person, SOFT.Team


def raw(pair: Bench, sql: str) -> list[Any]:
    """Return the rows of a statement as tuples, sorted."""
    return sorted(map(tuple, pair.db.execute_sql(sql).fetchall()), key=repr)


def rows(query: Any) -> list[Any]:
    """Return the rows of a query as tuples, sorted."""
    return sorted(listed(query), key=repr)


LEFT = JOIN.LEFT_OUTER
ALL = "SELECT id FROM leak_person"
ONLY = f"{ALL} WHERE deleted_at IS NOT NULL"
PAIRS = (
    "SELECT n.id, p.id FROM (SELECT * FROM leak_note{0}) n "
    "{kind} JOIN (SELECT * FROM leak_person{1}) p ON p.id = n.author_id"
)
TRIPLES = (
    "SELECT s.id, n.id, t.id "
    "FROM (SELECT * FROM leak_skill WHERE deleted_at IS NOT NULL) s {between} "
    "(SELECT * FROM leak_note WHERE deleted_at IS NULL) n "
    "RIGHT JOIN (SELECT * FROM leak_team WHERE deleted_at IS NULL) t "
    "ON t.id = n.reader_id"
)
LIVE = " WHERE deleted_at IS NULL"
NOTES = "SELECT id FROM leak_note"


def pairs(of_note: str, of_person: str, kind: str = "") -> str:
    """Return the SQL of a join in which each side is filtered."""
    return PAIRS.format(of_note, of_person, kind=kind)


def joined(query: Any, how: str = JOIN.INNER) -> Any:
    """Join the author to a select of notes."""
    return query.select(Note.id, Person.id).join(Person, how, on=Note.author)


def of_alias() -> Any:
    """Select all from an alias."""
    person = Person.alias()
    return person.with_deleted(person.id)


def of_cte() -> Any:
    """Select from a common table expression that sees deleted rows."""
    named = Person.with_deleted(Person.id).cte("named")
    return named.select_from(named.c.id)


WAYS: dict[str, Any] = {
    "with_deleted": (lambda: Person.with_deleted(Person.id), ALL),
    "only_deleted": (lambda: Person.only_deleted(Person.id), ONLY),
    "with_deleted of an alias": (of_alias, ALL),
    "of a query": (lambda: Person.select(Person.id).with_deleted(), ALL),
    "narrowed with OR": (
        lambda: (
            Person.only_deleted(Person.id)
            .where(Person.age == 2)
            .orwhere(Person.age == 3)
        ),
        f"{ONLY} AND (age = 2 OR age = 3)",
    ),
    "of the root only": (
        lambda: joined(Note.with_deleted()),
        pairs("", LIVE),
    ),
    "of the root only, left": (
        lambda: joined(Note.with_deleted(), LEFT),
        pairs("", LIVE, "LEFT"),
    ),
    "of a joined one": (
        lambda: joined(Note.select()).with_deleted(Person),
        pairs(LIVE, ""),
    ),
    "of a joined one, named before": (
        lambda: joined(Note.select().with_deleted(Person), LEFT),
        pairs(LIVE, "", "LEFT"),
    ),
    "of a joined one, full": (
        lambda: joined(Note.select().with_deleted(Person), JOIN.FULL),
        pairs(LIVE, "", "FULL"),
    ),
    "of all": (lambda: joined(Note.select()).with_deleted(), pairs("", "")),
    "of two": (lambda: joined(Note.select()).with_deleted(Note, Person), pairs("", "")),
    "only, beside live": (
        lambda: joined(Note.only_deleted()),
        pairs(" WHERE deleted_at IS NOT NULL", LIVE),
    ),
    "one step after another": (
        lambda: joined(Note.only_deleted()).with_deleted(Person),
        pairs(" WHERE deleted_at IS NOT NULL", ""),
    ),
    "of a sub-select": (
        lambda: Note.select(Note.id).where(
            Note.author.in_(Person.with_deleted(Person.id))
        ),
        NOTES + LIVE,
    ),
    "not of a sub-select": (
        lambda: Note.with_deleted(Note.id).where(Note.author.in_(Person.select())),
        f"{NOTES} WHERE author_id IN ({ALL}{LIVE})",
    ),
    "of a union": (
        lambda: Person.only_deleted(Person.id) | Person.select(Person.id),
        ALL,
    ),
    "of a CTE": (of_cte, ALL),
    "of a count": (
        lambda: (
            Team.with_deleted(Team.id, fn.COUNT(Person.id))
            .join(Person, LEFT)
            .group_by(Team.id)
        ),
        "SELECT t.id, COUNT(p.id) FROM leak_team t LEFT JOIN leak_person p "
        "ON p.team_id = t.id AND p.deleted_at IS NULL GROUP BY t.id",
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_out_reaches_just_so_far(pair: Bench, name: str) -> None:
    """A query shows deleted rows of the sources that are named, and of no other."""
    query, sql = WAYS[name]
    assert rows(query()) == raw(pair, sql)


def test_one_of_two_aliases_shows_deleted_rows(pair: Bench) -> None:
    """An alias is a source of its own."""
    boss = Person.alias()
    query = Person.select(Person.id, boss.id).join(boss, on=Person.boss == boss.id)
    assert rows(query.with_deleted(boss)) == raw(
        pair,
        "SELECT p.id, b.id FROM leak_person p JOIN leak_person b ON b.id = p.boss_id "
        "WHERE p.deleted_at IS NULL",
    )


def test_a_query_is_not_changed_by_what_is_made_of_it(pair: Bench) -> None:
    """`with_deleted` gives another query; copies are like the original."""
    query = Person.select(Person.id)
    before = query.sql()
    query.with_deleted()
    assert query.sql() == before
    assert rows(query) == raw(pair, ALL + LIVE)
    for twin in (query.clone(), copy(query), deepcopy(query), query.where(True)):
        assert "IS NULL" in twin.sql()[0]
    shown = query.with_deleted(Person)
    for twin in (shown.clone(), copy(shown), shown.order_by(Person.id)):
        assert "IS NULL" not in twin.sql()[0]
    assert query._where is None


def test_eight_threads_render_one_query(pair: Bench) -> None:
    """Rendering writes nothing into the query, so that threads may share it."""
    query = joined(Note.select(), JOIN.FULL).where(Note.id > 3).orwhere(Person.id > 3)
    expected = query.sql()
    ready = threading.Barrier(8)

    def render(_: int) -> set[str]:
        ready.wait()
        return {repr(query.sql()) for _ in range(50)}

    with ThreadPoolExecutor(8) as pool:
        found = set().union(*pool.map(render, range(8)))
    assert found == {repr(expected)}


def test_loading_keeps_the_way_out(pair: Bench) -> None:
    """Sub-queries of prefetch and with_related decide for themselves."""
    expected = raw(
        pair,
        "SELECT t.id, p.id FROM leak_team t JOIN leak_person p ON p.team_id = t.id "
        "WHERE t.deleted_at IS NULL",
    )
    every = Person.with_deleted()
    for teams in (
        Team.select().prefetch(every),
        Team.select().with_related(Load(Team.members, every)),
        Team.select().with_related(Load(Team.members, every, per_parent=50)),
    ):
        found = [(team.id, person.id) for team in teams for person in team.members]
        assert sorted(found, key=repr) == expected


def test_of_several_loaded_children_the_newest_may_be_deleted(pair: Bench) -> None:
    """`per_parent` ranks the rows that the sub-query sees, and gives these."""
    newest = Note.only_deleted().order_by(Note.id.desc())
    load = Load(Person.notes, newest, per_parent=1)
    found = {
        (person.id, note.id)
        for person in Person.select().with_related(load)
        for note in person.notes
    }
    assert found == set(
        raw(
            pair,
            "SELECT p.id, MAX(n.id) FROM leak_person p JOIN leak_note n "
            "ON n.author_id = p.id AND n.deleted_at IS NOT NULL "
            "WHERE p.deleted_at IS NULL GROUP BY p.id",
        )
    )


@pytest.mark.parametrize("between", ["CROSS JOIN", ","])
def test_a_right_join_takes_in_what_is_written_before_it(
    pair: Bench, between: str
) -> None:
    """No parentheses stand around it; behind a comma the engines read it differently.

    Either way the rows are those of filtered sub-selects in the same places.
    """
    right = peewee.Join(Note, Team, JOIN.RIGHT_OUTER, on=Team.id == Note.reader)
    query = Person.select(SOFT.Skill.id, Note.id, Team.id)
    if between == ",":
        query = query.from_(SOFT.Skill, right)
    else:
        query = query.from_(peewee.Join(SOFT.Skill, right, JOIN.CROSS))
    assert rows(query.showing(Show.DELETED, SOFT.Skill)) == raw(
        pair,
        TRIPLES.format(between=between),
    )


def test_the_trail_shows_its_deleted_entries(database: peewee.Database) -> None:
    """Entries marked as deleted are in every select, count, join and history."""
    with acting_as("system"):
        ada = Customer.create(name="Ada", email="a@b.cd")
        ada.name = "Ada L."
        ada.save()
    entry = ada.history().get()
    assert entry.delete_instance() == 1
    assert AuditLog.get_by_id(entry.id).is_deleted
    keys = {e.id for e in AuditLog.select()}
    assert entry.id in keys
    assert len(keys) == AuditLog.select().count() == len(AuditLog)
    for query in (
        ada.history(),
        AuditLog.for_instance(ada),
        AuditLog.for_model(Customer),
        AuditLog.by_user("system"),
        AuditLog.alias().select(),
        AuditLog.with_deleted(),
        AuditLog.only_deleted(),
        User.select(AuditLog.id).join(AuditLog, on=AuditLog.user == User.id),
        User.select(AuditLog.id).join(AuditLog, JOIN.FULL, on=AuditLog.user == User.id),
        AuditLog._meta.table.select(AuditLog.id),
        AuditLog.select() | AuditLog.select(),
    ):
        assert entry.id in {row[0] for row in query.tuples()}
    assert [e.id for e in AuditLog.only_deleted()] == [entry.id]
