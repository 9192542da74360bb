"""Who and when: set once, moved by every write that changes something, by no other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import AuditLog
from tests import models
from tests.capture.bench import Bench
from tests.capture.witness import Witness
from tests.conftest import MakeUrl, connected

LONG_AGO = datetime(2001, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
USERS = [model for model in models.STAMPED if model is not models.Stamped]


def aged(model: Any, **values: Any) -> Any:
    """Make a row that was created long ago; return it as it stands."""
    model.create(name="row", n=1, **values)
    table = model._meta.table_name
    old = model.created_at.db_value(LONG_AGO)
    mark = model._meta.database.param
    model._meta.database.execute_sql(
        f'UPDATE "{table}" SET created_at = {mark}, updated_at = {mark}',  # noqa: S608
        (old, old),
    )
    return model.get()


def _save(m: Any, n: Any) -> None:
    row = m.get()
    row.n = n
    row.save()


def _save_only(m: Any, n: Any) -> None:
    row = m.get()
    row.n = n
    row.save(only=[m.n])


def _bulk_update(m: Any, n: Any) -> None:
    row = m.get()
    row.n = n
    m.bulk_update([row], [m.n])


def _keyed(m: Any, n: Any) -> None:
    m[m.get()._pk] = {"n": n}


def _upsert(m: Any, n: Any, **conflict: Any) -> None:
    query = m.insert(name="row", n=n)
    query.on_conflict(conflict_target=[m.name], **conflict).execute()


def _update_from(m: Any, n: Any) -> None:
    other = m.alias()
    source = other.select(other.name, peewee.Value(n).cast("INTEGER").alias("m"))
    source = source.alias("src")
    query = m.update(n=source.c.m).from_(source)
    query.where(m.name == source.c.name).execute()


PATHS: dict[str, Callable[[Any, Any], Any]] = {
    "save": _save,
    "save_only": _save_only,
    "update": lambda m, n: m.update(n=n).execute(),
    "update_by_field": lambda m, n: m.update({m.n: n}).where(m.name == "row").execute(),
    "update_expression": lambda m, n: m.update(
        n=peewee.Case(None, [(m.n.is_null(), n)], n)
    ).execute(),
    "update_from": _update_from,
    "update_returning": lambda m, n: list(m.update(n=n).returning(m).execute()),
    "set_by_id": lambda m, n: m.set_by_id(m.get()._pk, {"n": n}),
    "set_item": _keyed,
    "bulk_update": _bulk_update,
    "upsert_update": lambda m, n: _upsert(m, 99, update={m.n: n}),
    "upsert_by_name": lambda m, n: _upsert(m, 99, update={"n": n}),
    "upsert_preserve": lambda m, n: _upsert(m, n, preserve=[m.n]),
    "upsert_all": lambda m, n: _upsert(m, n, preserve=[m.n, m.updated_at]),
    "upsert_excluded": lambda m, n: _upsert(m, n, update={m.n: peewee.EXCLUDED.n}),
    "upsert_from_many": lambda m, n: (
        m.insert_many([{"name": "row", "n": n}])
        .on_conflict(conflict_target=[m.name], preserve=["n"])
        .execute()
    ),
}


UNTYPED = ("update_expression", "bulk_update")
"""Paths on which peewee gives PostgreSQL a NULL without a type, which it refuses."""


@pytest.mark.parametrize("model", models.STAMPED)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_change_moves_updated_at(
    bench: Bench, model: Any, path: str, recorded: bool
) -> None:
    """Every path moves updated_at and updated_by of what it changes, audited or not."""
    aged(model)
    start = datetime.now(UTC)
    if not recorded:
        cmcore.plugins.block("audit")
    try:
        with cmcore.acting_as("alice"):
            PATHS[path](model, 2)
    finally:
        cmcore.plugins.unblock("audit")
    row = model.get()
    assert row.n == 2
    assert row.created_at == LONG_AGO
    assert start <= row.updated_at <= datetime.now(UTC)
    if model is not models.Stamped:
        assert row.__data__["created_by"] == "system"
        assert row.__data__["updated_by"] == "alice"
    if recorded:
        entry = bench.entries(model)[-1]
        assert entry.new is not None
        assert entry.new["updated_at"] == row.updated_at
        assert entry.new["n"] == 2


@pytest.mark.parametrize("model", models.STAMPED)
@pytest.mark.parametrize(
    ("path", "value"),
    [(path, 1) for path in PATHS]
    + [(path, None) for path in PATHS if path not in UNTYPED],
)
def test_no_change_leaves_updated_at_alone(
    bench: Bench, model: Any, path: str, value: int | None
) -> None:
    """A write that changes nothing moves no stamp and leaves no entry."""
    aged(model)
    model._meta.database.execute_sql(
        f'UPDATE "{model._meta.table_name}" SET n = {value or "NULL"}'  # noqa: S608
    )
    before = list(model.select().dicts())
    with cmcore.acting_as("alice"):
        PATHS[path](model, value)
    assert list(model.select().dicts()) == before
    assert [entry.action for entry in bench.entries(model)] == ["create"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [1, 2])
@pytest.mark.parametrize("hooks", [True, False])
def test_stamps_with_hooks_and_on_older_postgresql(  # noqa: PLR0913, PLR0917
    bench: Bench,
    path: str,
    value: int,
    hooks: bool,
    plugin: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hooks, and servers without OLD and NEW, change nothing about the stamps."""
    model = models.Audited
    aged(model)
    if bench.engine == "postgresql":
        monkeypatch.setattr(bench.db, "server_version", 150_000)
    witness = plugin(Witness()) if hooks else None
    with cmcore.acting_as("alice"):
        PATHS[path](model, value)
    row = model.get()
    assert (row.n, row.updated_at > LONG_AGO) == (value, value == 2)
    assert row.__data__["updated_by"] == ("alice" if value == 2 else "system")
    assert len(bench.entries(model)) == value
    if witness is not None:
        told = [dict(change.new) for _, change in witness.after if change.new]
        assert [values["n"] for values in told] == [2] * (value - 1)


@pytest.mark.parametrize("model", models.STAMPED)
def test_only_the_rows_that_change_are_stamped(bench: Bench, model: Any) -> None:
    """One update stamps the rows whose value differs, and no other."""
    for name, n in (("a", 1), ("b", 2), ("c", None)):
        model.create(name=name, n=n)
    before = {row.name: row.updated_at for row in model.select()}
    model.update(n=2).execute()
    after = {row.name: row.updated_at for row in model.select()}
    assert after["b"] == before["b"]
    assert after["a"] == after["c"] > before["a"]
    assert [entry.action for entry in bench.entries()] == ["create"] * 3 + [
        "update"
    ] * 2


CREATIONS: dict[str, Callable[..., Any]] = {
    "create": lambda m, **v: m.create(name="row", **v),
    "save": lambda m, **v: m(name="row", **v).save(force_insert=True),
    "insert": lambda m, **v: m.insert(name="row", **v).execute(),
    "insert_many": lambda m, **v: m.insert_many([{"name": "row", **v}]).execute(),
    "insert_tuples": lambda m, **v: m.insert_many(
        [("row", *v.values())], fields=["name", *v]
    ).execute(),
    "insert_fields": lambda m, **v: m.insert(
        {m.name: "row", **{getattr(m, k): x for k, x in v.items()}}
    ).execute(),
    "bulk_create": lambda m, **v: m.bulk_create([m(name="row", **v)]),
    "get_or_create": lambda m, **v: m.get_or_create(name="row", defaults={"n": 3, **v}),
    "upsert": lambda m, **v: (
        m.insert(name="row", **v)
        .on_conflict(conflict_target=[m.name], preserve=[m.n])
        .execute()
    ),
    "ignore": lambda m, **v: m.insert(name="row", **v).on_conflict_ignore().execute(),
}


@pytest.mark.parametrize("model", models.STAMPED)
@pytest.mark.parametrize("path", CREATIONS)
def test_creation_sets_all_stamps(bench: Bench, model: Any, path: str) -> None:
    """Every way to create a row says who and when, equal for created and updated."""
    start = datetime.now(UTC)
    with cmcore.acting_as("alice"):
        CREATIONS[path](model)
    row = model.get()
    assert start <= row.created_at == row.updated_at <= datetime.now(UTC)
    if model is not models.Stamped:
        assert row.__data__["created_by"] == row.__data__["updated_by"] == "alice"
    entry = bench.entries(model)[-1]
    assert entry.new is not None
    assert entry.new["created_at"] == row.created_at


@pytest.mark.parametrize("model", USERS)
@pytest.mark.parametrize("path", CREATIONS)
@pytest.mark.parametrize("given", [True, False])
def test_given_stamps_are_kept(
    bench: Bench, model: Any, path: str, given: bool
) -> None:
    """created_at and created_by given at creation are kept; None is not given."""
    values = {
        "created_at": LONG_AGO if given else None,
        "created_by": "bob" if given else None,
    }
    with cmcore.acting_as("alice"):
        CREATIONS[path](model, **values)
    row = model.get()
    assert row.__data__["created_by"] == ("bob" if given else "alice")
    assert (row.created_at == LONG_AGO) is given
    assert row.created_at is not None


def test_insert_from_is_stamped(bench: Bench) -> None:
    """INSERT … SELECT gets the stamps that its columns do not give."""
    model = models.Audited
    aged(model)
    with cmcore.acting_as("alice"):
        copied = model.select(model.name.concat("2"), model.n)
        model.insert_from(copied, [model.name, model.n]).execute()
        kept = model.select(model.name.concat("3"), model.created_at)
        kept = kept.where(model.name == "row")
        model.insert_from(kept, ["name", "created_at"]).execute()
    rows = {row.name: row for row in model.select()}
    assert rows["row2"].__data__["created_by"] == "alice"
    assert rows["row2"].created_at > LONG_AGO
    assert rows["row3"].created_at == LONG_AGO
    assert rows["row3"].updated_at > LONG_AGO


def test_replace_is_stamped(sqlite: Bench) -> None:
    """A row that REPLACE puts in is a new one."""
    model = models.Stamped
    aged(model)
    model.replace(name="row", n=8).execute()
    row = model.get()
    assert row.created_at == row.updated_at > LONG_AGO
    assert [e.action for e in sqlite.entries()] == ["create", "delete", "create"]


@pytest.mark.parametrize("model", models.STAMPED)
def test_the_object_shows_its_stamps(bench: Bench, model: Any) -> None:
    """After save() and create() the object has the stamps of its row."""
    row = model.create(name="row")
    assert row.__data__.items() <= model.get().__data__.items()
    assert row.__data__.keys() >= {field.name for field in model._meta.layout.stamps}
    row = model.get()
    seen = row.updated_at
    row.n = 5
    row.save()
    assert row.updated_at > seen
    assert row.__data__ == model.get().__data__
    row.save()
    assert row.__data__ == model.get().__data__
    changed = row.updated_at
    row.save(only=[model.name])
    assert row.updated_at == model.get().updated_at == changed


@pytest.mark.parametrize("model", models.STAMPED)
def test_a_stale_object_cannot_turn_the_stamps_back(bench: Bench, model: Any) -> None:
    """save() of an object that was read earlier does not write its old stamps."""
    model.create(name="row")
    stale = model.get()
    model.update(n=6).execute()
    moved = model.get().updated_at
    stale.name = "renamed"
    stale.save()
    row = model.get()
    assert row.updated_at > moved
    assert row.created_at < moved


def test_an_expression_that_changes_nothing(bench: Bench) -> None:
    """The database itself decides whether an expression changes a row."""
    model = models.Audited
    aged(model)
    model.update(n=model.n * 1, name=peewee.fn.LOWER(model.name)).execute()
    assert model.get().updated_at == LONG_AGO
    model.update(n=model.n + 0.0 if bench.engine == "sqlite" else model.n).execute()
    assert model.get().updated_at == LONG_AGO
    model.update(name=peewee.fn.UPPER(model.name)).execute()
    assert model.get().updated_at > LONG_AGO


def test_actors_of_a_trail_only_database(engine: str, make_url: MakeUrl) -> None:
    """ActorMixin takes user ids as given, where there is no table of users."""
    with connected(make_url(engine)) as db:
        cmcore.migrate(db, trail_only=True)
        model = models.Acted
        db.create_tables([model])
        with cmcore.acting_as("user-4711"):
            row = model.create(name="a")
        with cmcore.acting_as("somebody else"):
            model.update(n=5).execute()
        row = model.get()
        assert (row.created_by, row.updated_by) == ("user-4711", "somebody else")
        trail = [entry.__data__["user"] for entry in row.history()]
        assert trail == ["somebody else", "user-4711"]
        model.create(name="b")
        assert model.get(model.name == "b").created_by == "system"
        assert AuditLog.select().count() == 3


def test_a_mixin_may_stand_anywhere(bench: Bench) -> None:
    """Mixins give the same columns in any order, with or without an own base model."""

    class First(cmcore.AuditMixin, cmcore.Model):
        name = peewee.CharField()

    class Last(cmcore.Model, cmcore.AuditMixin):  # type: ignore[misc,metaclass]
        name = peewee.CharField()

    class Alone(cmcore.AuditMixin):
        name = peewee.CharField()

    class Behind(models.ApplicationModel, cmcore.AuditMixin):
        name = peewee.CharField()

    models_of_all_orders: tuple[Any, ...] = (First, Last, Alone)
    for model in models_of_all_orders:
        assert model._meta.sorted_field_names[-4:] == [
            "created_at",
            "updated_at",
            "created_by",
            "updated_by",
        ]
        assert isinstance(model._meta.primary_key, peewee.AutoField)
        assert model._meta.database is bench.db
    assert Behind._meta.fields["id"].primary_key
    assert set(Behind._meta.fields) >= {"iban", "name", "created_by"}
    assert Behind._meta.audit_mask == ("iban",)


def test_clock_of_one_statement(bench: Bench) -> None:
    """All rows of one statement get one moment, which is the entry's."""
    model = models.Stamped
    model.insert_many([{"name": str(i)} for i in range(20)]).execute()
    moments = {row.created_at for row in model.select()}
    assert moments == {entry.at for entry in bench.entries()}
    assert len(moments) == 1
    assert timedelta(0) <= datetime.now(UTC) - moments.pop() < timedelta(minutes=1)
