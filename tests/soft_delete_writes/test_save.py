"""Objects that are older than the deletion of their row, and the two columns."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import DuplicateError, ProtectedRowError, StaleDeletedError, User
from tests.soft_delete_writes.bench import MARKS, Bench, acting, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Acted,
    Derived,
    Dirty,
    Item,
    Unrecorded,
)

KEYED = [kind for kind in KINDS if kind != "none"]


@pytest.mark.parametrize("kind", KEYED)
@pytest.mark.parametrize("form", ["autocommit", "transaction"])
def test_a_stale_object_is_not_saved(bench: Bench, kind: str, form: str) -> None:
    """`save()` says who deleted the row and when; nothing changes."""
    model = ITEMS[kind]
    (row,) = made(model, 1)
    stale = model.get()
    with acting("alice"):
        row.delete_instance()
    before = bench.rows(model)
    bench.forget()
    stale.n = 99
    with bench.in_transaction(form):
        for options in ({}, {"only": [model.n]}, {"only": ["n"]}):
            with pytest.raises(StaleDeletedError) as caught:
                stale.save(**options)
        error = caught.value
        assert model.select().count() == 0  # the transaction is usable
    assert (error.model, error.key) == (model, row._pk)
    assert (error.deleted_at, error.deleted_by) == (row.deleted_at, "alice")
    assert "alice" in str(error)
    assert bench.rows(model) == before
    assert bench.entries(model) == []
    assert (stale.n, stale.deleted_at) == (99, None)


@pytest.mark.parametrize("model", [Dirty, Acted, Derived])
def test_other_models_refuse_stale_objects_too(bench: Bench, model: Any) -> None:
    """`only_save_dirty`, plain user ids and inheritance make no difference."""
    row = model.create(name="a", **({"id": "k"} if model is Derived else {}))
    stale = model.get()
    assert stale.save() in (1, False)
    row.delete_instance()
    stale.name = "b"
    with pytest.raises(StaleDeletedError):
        stale.save()
    assert [r["name"] for r in bench.rows(model)] == ["a"]


def test_without_a_trail_stale_objects_are_refused_too(bench: Bench) -> None:
    """`Meta.audit = False` and a blocked trail make no difference."""
    row = Unrecorded.create(code="a")
    stale = Unrecorded.get()
    row.delete_instance()
    stale.code = "b"
    with pytest.raises(StaleDeletedError):
        stale.save()
    assert [r["code"] for r in bench.rows(Unrecorded)] == ["a"]


def test_the_object_that_was_deleted_itself_is_not_saved(bench: Bench) -> None:
    """`obj.delete_instance()` and then `obj.save()` does not bring the row back."""
    (row,) = made(Item, 1)
    row.delete_instance()
    row.n = 5
    with pytest.raises(StaleDeletedError):
        row.save()
    assert row.is_deleted
    row.restore_instance()
    assert row.save() == 1
    assert [(r["n"], r["deleted_at"]) for r in bench.rows(Item)] == [(5, None)]


def test_after_a_restore_elsewhere_the_object_is_saved(bench: Bench) -> None:
    """What counts is the row: an old copy, live or deleted, is saved again."""
    (row,) = made(Item, 1)
    live = Item.get()
    row.delete_instance()
    deleted = Item.with_deleted().get()
    Item.restore().execute()
    for n, copy in enumerate((live, deleted, row), 10):
        copy.n = n
        assert copy.save() == 1
        assert [(r["n"], r["deleted_at"]) for r in bench.rows(Item)] == [(n, None)]


def test_a_row_that_is_gone_gives_0_as_in_peewee(bench: Bench) -> None:
    """Without any row there is nothing stale."""
    (row,) = made(Item, 1)
    stale = Item.get()
    row.purge_instance()
    stale.n = 3
    assert stale.save() == 0
    assert row.delete_instance() == row.restore_instance() == row.purge_instance() == 0


@pytest.mark.parametrize("kind", KEYED)
def test_forcing_an_insert_says_to_restore(bench: Bench, kind: str) -> None:
    """`save(force_insert=True)` with the key of a deleted row is a duplicate."""
    model = ITEMS[kind]
    (row,) = made(model, 1)
    copy = model.get()
    row.delete_instance()
    with pytest.raises(DuplicateError, match="restore_instance"):
        copy.save(force_insert=True)
    assert len(bench.rows(model)) == 1


Naming = Callable[[Any, Any], Any]


def _set_item(row: Any, column: Any) -> None:
    Item[row.id] = {column: None}


WAYS: dict[str, Naming] = {
    "update": lambda _, column: Item.update({column: None}).execute(),
    "update deleted": lambda _, c: Item.update_with_deleted({c: None}).execute(),
    "upsert": lambda _, column: (
        Item.insert(code="a")
        .on_conflict(conflict_target=[Item.code], update={column: None})
        .execute()
    ),
    "preserve": lambda _, column: (
        Item.insert(code="a", deleted_at=None)
        .on_conflict(conflict_target=[Item.code], preserve=[column])
        .execute()
    ),
    "preserve one": lambda _, column: (
        Item.insert(code="a", deleted_at=None)
        .on_conflict(conflict_target="code", preserve=column)
        .execute()
    ),
    "bulk": lambda row, column: Item.bulk_update([row], [column]),
    "by id": lambda row, column: Item.set_by_id(row.id, {column: None}),
    "item": _set_item,
    "only": lambda row, column: row.save(only=[column]),
}
COLUMNS = ("deleted_at", "deleted_by", Item.deleted_at, Item.deleted_by)


def namings() -> list[Any]:
    """Return each way of naming one of the two columns in a write."""
    found = [
        pytest.param(way, column, id=f"{name}-{i}")
        for name, way in WAYS.items()
        for i, column in enumerate(COLUMNS)
    ]
    by_keyword: Naming = lambda _, c: Item.update(**{c: None}).execute()  # noqa: E731
    found.append(pytest.param(by_keyword, "deleted_by_id", id="raw id"))
    for name, value in (("deleted_at", "2030-01-01 00:00+00"), ("deleted_by", "bob")):

        def assigned(row: Any, column: Any, value: str = value) -> Any:
            setattr(row, column, value)
            return row.save()

        found.append(pytest.param(assigned, name, id=f"assigned-{name}"))
    return found


@pytest.mark.parametrize(("way", "column"), namings())
def test_only_delete_and_restore_write_the_two_columns(
    bench: Bench, way: Naming, column: Any
) -> None:
    """Naming them in any other write raises `ProtectedRowError`, before it."""
    (row,) = made(Item, 1)
    before = bench.rows(Item)
    bench.forget()
    with pytest.raises(ProtectedRowError) as caught:
        way(row, column)
    assert (caught.value.table, caught.value.column) in {
        ("soft_integer_items", name) for name in MARKS
    }
    assert "restore" in str(caught.value)
    assert bench.rows(Item) == before
    assert bench.entries(Item) == []


AT = datetime(2030, 1, 1, tzinfo=UTC)
GIVEN: list[dict[str, Any]] = [{"deleted_at": AT}, {"deleted_by": "bob"}]
NAMES = [Item.code, Item.deleted_at]
BORN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "create": lambda given: Item.create(code="b", **given),
    "get_or_create": lambda given: Item.get_or_create(code="b", defaults=given),
    "save": lambda given: Item(code="b", **given).save(),
    "force_insert": lambda given: Item(code="b", **given).save(force_insert=True),
    "insert": lambda given: Item.insert(code="b", **given).execute(),
    "insert fields": lambda given: Item.insert(
        {Item._meta.fields[name]: value for name, value in given.items()}
    ).execute(),
    "upsert": lambda given: (
        Item.insert(code="b", **given).on_conflict_ignore().execute()
    ),
    "insert_many": lambda given: Item.insert_many(
        [{"code": "b"}, {"code": "c", **given}]
    ).execute(),
    "a generator": lambda given: Item.insert_many(
        {"code": code, **given} for code in "bc"
    ).execute(),
    "tuples": lambda _: Item.insert_many([("b", None), ("c", AT)], NAMES).execute(),
    "whole tuples": lambda _: Item.insert_many([("b", 0, AT, None)]).execute(),
    "bulk_create": lambda given: Item.bulk_create(
        [Item(code="b"), Item(code="c", **given)]
    ),
    "insert_from": lambda _: Item.insert_from(
        Item.select(peewee.Value("b"), peewee.Value(AT)), NAMES
    ).execute(),
}


@pytest.mark.parametrize("given", GIVEN, ids=MARKS)
@pytest.mark.parametrize("way", BORN.values(), ids=BORN)
@pytest.mark.parametrize("audited", [True, False])
def test_no_row_is_born_deleted(
    bench: Bench,
    way: Callable[[dict[str, Any]], Any],
    given: dict[str, Any],
    audited: bool,
) -> None:
    """On no way of inserting, with or without the trail; nothing is inserted then."""
    made(Item, 1)
    before = bench.rows(Item)
    if not audited:
        cmcore.plugins.block("audit")
    try:
        with pytest.raises(ProtectedRowError, match="restore"):
            way(given)
    finally:
        cmcore.plugins.unblock("audit")
    assert bench.rows(Item) == before


def test_none_may_be_inserted(bench: Bench) -> None:
    """As fixtures and bulk inserts do that name every column."""
    nothing: dict[str, Any] = dict.fromkeys(MARKS)
    Item.create(code="a", **nothing)
    Item.insert_many([{"code": "b", **nothing}, ("c", 0, None, None)]).execute()
    Item.bulk_create([Item(code="d")])
    assert Item.select().count() == 4


@pytest.mark.parametrize("kind", KEYED)
def test_the_copy_of_a_deleted_object_is_live(bench: Bench, kind: str) -> None:
    """Under another key; under the same one it says to restore."""
    model = ITEMS[kind]
    (row,) = made(model, 1)
    row.delete_instance()
    with pytest.raises(DuplicateError, match="restore_instance"):
        row.save(force_insert=True)
    assert row.is_deleted
    name, key = model._meta.get_primary_keys()[0].name, row._pk
    setattr(row, name, {"integer": 9, "uuid": uuid.uuid4()}.get(kind, "other"))
    row.save(force_insert=True)
    assert (row.is_deleted, row.deleted_by) == (False, None)
    assert [live._pk for live in model.select()] == [row._pk] != [key]


def test_the_user_system_stays(bench: Bench) -> None:
    """Deleting, purging or renaming it is refused, whatever refers to it."""
    cmcore.Customer.create(name="Ann", email="ann@a.org")
    system = User.get_by_id("system")
    assert system.restore_instance() == 0
    calls: list[Callable[[], Any]] = [
        system.delete_instance,
        lambda: system.delete_instance(recursive=True),
        system.purge_instance,
        User.delete().execute,
        User.purge(include_live=True).execute,
        User.purge(include_live=True).where(User.id == "system").execute,
        lambda: User.delete_by_id("system"),
        lambda: User.update(id="other").where(User.id == "system").execute(),
        lambda: User.update_with_deleted(id="other").execute(),
    ]
    for call in calls:
        with bench.db.atomic(), pytest.raises(ProtectedRowError):
            call()
    assert bench.live(User, "id") == ["alice", "bob", "system"]
    assert User.delete().where(User.id != "system").execute() == 2
    assert User.purge().execute() == 2
    assert bench.live(User, "id") == ["system"]


def test_updates_leave_deleted_rows_alone(bench: Bench) -> None:
    """update, bulk_update and set_by_id pass them by; update_with_deleted does not."""
    live, gone = made(Item, 2)
    gone.delete_instance()
    assert Item.update(n=Item.n + 10).execute() == 1
    live.n, gone.n = 20, 20
    assert Item.bulk_update([live, gone], [Item.n]) == 1
    assert Item.set_by_id(gone.id, {"n": 5}) == 0
    assert [r["n"] for r in bench.rows(Item)] == [20, 1]
    assert Item.update_with_deleted(n=7).execute() == 2
    assert [r["n"] for r in bench.rows(Item)] == [7, 7]
    assert bench.actions(Item)[-2:] == ["update", "update"]
