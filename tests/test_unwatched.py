"""With `Meta.audit = False` and no plugin a model sends what peewee.Model sends."""

import logging
from typing import Any

import peewee
import pytest

import cmcore
from tests.conftest import MakeUrl, connected


def models(base: type[peewee.Model]) -> Any:
    """Make a parent and a child, with rules that can be broken."""
    metaclass: Any = type(base)
    audit = {"audit": False} if base is cmcore.Model else {}
    parent = metaclass(
        "Parent",
        (base,),
        {
            "code": peewee.CharField(max_length=5, unique=True),
            "n": peewee.IntegerField(default=0, constraints=[peewee.Check("n >= 0")]),
            "Meta": type("Meta", (), {"table_name": "unwatched_parents", **audit}),
        },
    )
    child = metaclass(
        "Child",
        (base,),
        {
            "first": peewee.ForeignKeyField(parent, null=True, backref="children"),
            "Meta": type("Meta", (), {"table_name": "unwatched_children", **audit}),
        },
    )
    return parent, child


PLAIN, UNWATCHED = models(peewee.Model), models(cmcore.Model)


def writes(parent: Any, child: Any) -> list[Any]:
    """Return writes of every kind, among them those that the database refuses."""
    key = parent.id
    return [
        lambda: parent.create(code="a").id,
        lambda: parent.insert_many([{"code": "b"}, {"code": "c", "n": 2}]).execute(),
        lambda: child.create(first=1).first_id,
        lambda: parent.update(n=parent.n + 1).where(parent.n > 1).execute(),
        lambda: parent.bulk_create([parent(code="x"), parent(code="y")], batch_size=1),
        lambda: parent.get_or_create(code="z")[1],
        lambda: parent.get_or_create(code="z")[1],
        lambda: (
            parent.insert(code="a", n=7)
            .on_conflict(conflict_target=[parent.code], preserve=[parent.n])
            .execute()
        ),
        lambda: [row.n for row in parent.update(n=3).where(key == 2).returning(parent)],
        lambda: parent.create(code="a"),
        lambda: parent.insert_many([{"code": "q"}, {"code": "a"}]).execute(),
        lambda: parent.bulk_create([parent(code="q"), parent(code="a")]),
        lambda: parent.update(code="a").where(key == 2).execute(),
        lambda: parent.update(n=-1).where(key == 2).execute(),
        lambda: parent.update(code=None).where(key == 2).execute(),
        lambda: child.create(first=99),
        lambda: child.update(first=99).execute(),
        lambda: parent.delete().execute(),
        lambda: parent.update(id=50).where(key == 1).execute(),
        lambda: parent.get_by_id(1).delete_instance(recursive=True),
        lambda: parent.delete_by_id(2),
    ]


def sent(
    db: peewee.Database, pair: Any, caplog: pytest.LogCaptureFixture
) -> tuple[list[Any], list[Any]]:
    """Write everything; return what came back, and every statement."""
    outcomes: list[Any] = []
    caplog.clear()
    with db.bind_ctx(pair), caplog.at_level(logging.DEBUG):
        db.create_tables(pair)
        for write in writes(*pair):
            try:
                got = write()
            except peewee.IntegrityError:
                outcomes.append("refused")
            else:
                outcomes.append(list(got) if isinstance(got, list) else repr(got)[:40])
        db.drop_tables(pair)
    seen = [r.msg for r in caplog.records if r.name in {"peewee", "cmcore.sql"}]
    return outcomes, seen


def test_the_same_statements_are_sent(
    empty_database: peewee.Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Text, parameters and number are equal, after an error too."""
    plain = sent(empty_database, PLAIN, caplog)
    unwatched = sent(empty_database, UNWATCHED, caplog)
    assert unwatched[1] == plain[1]
    assert [o == "refused" for o in unwatched[0]] == [o == "refused" for o in plain[0]]
    assert plain[0].count("refused") == 10


def test_its_errors_are_typed_without_asking(empty_database: peewee.Database) -> None:
    """The type is right; column and value are named where there is no doubt."""
    parent, child = UNWATCHED
    empty_database.create_tables(UNWATCHED)
    assert parent.create(code="a").id == 1
    child.create(first=1)
    with pytest.raises(cmcore.DuplicateError) as duplicate:
        parent.create(code="a")
    assert (duplicate.value.fields, duplicate.value.key) == (("code",), None)
    for query in (child.insert(first=99), child.update(first=99)):
        with pytest.raises(cmcore.MissingReferenceError) as missing:
            query.execute()
        assert (missing.value.column, missing.value.value) == ("first_id", 99)
    for query in (parent.delete(), parent.update(id=9)):
        with pytest.raises(cmcore.StillReferencedError):
            query.execute()


@pytest.mark.postgresql
@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_both_drivers_refuse_a_nul_alike(make_url: MakeUrl, driver: str) -> None:
    """PostgreSQL stores no U+0000; the error names the column, whoever found it."""
    url = make_url("postgresql").replace("postgresql:", f"postgresql+{driver}:", 1)
    with connected(url) as db:
        db.create_tables(UNWATCHED)
        with pytest.raises(cmcore.InvalidValueError) as invalid:
            UNWATCHED[0].create(code="a\0")
    assert (invalid.value.column, invalid.value.value) == ("code", "a\0")
