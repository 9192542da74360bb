"""Upserts, ignored conflicts and get_or_create see live rows only."""

from collections.abc import Callable
from typing import Any

import pytest

from cmcore import DuplicateError
from tests.capture.witness import Witness
from tests.soft_delete_writes.bench import Bench, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Item,
    Unrecorded,
)

KEYED = [kind for kind in KINDS if kind != "none"]
TARGETS: list[Any] = ["code", Item.code, ("code",), [Item.code]]
UPSERTS: dict[str, Callable[[Any, Any], Any]] = {
    "preserve": lambda insert, target: insert.on_conflict(
        conflict_target=target, preserve=[Item.n]
    ),
    "preserve name": lambda insert, target: insert.on_conflict(
        conflict_target=target, preserve="n"
    ),
    "update": lambda insert, target: insert.on_conflict(
        conflict_target=target, update={Item.n: 50}
    ),
    "update computed": lambda insert, target: insert.on_conflict(
        conflict_target=target, update={"n": Item.n + 49}
    ),
    "where": lambda insert, target: insert.on_conflict(
        conflict_target=target, update={Item.n: 50}, where=(Item.n < 40)
    ),
}


@pytest.mark.parametrize("target", TARGETS, ids=["name", "field", "tuple", "list"])
@pytest.mark.parametrize("upsert", UPSERTS.values(), ids=UPSERTS)
@pytest.mark.parametrize("hooked", [False, True])
def test_upserts_see_live_rows_only(
    bench: Bench,
    plugin: Callable[..., Any],
    upsert: Callable[[Any, Any], Any],
    target: Any,
    hooked: bool,
) -> None:
    """A deleted twin is neither updated nor in the way; a live one is updated."""
    made(Item, 1)
    Item.delete().execute()
    gone = bench.rows(Item)
    bench.forget()
    if hooked:
        plugin(Witness())
    insert = Item.insert(code="a", n=1)
    assert upsert(insert, target).as_rowcount().execute() == 1
    assert bench.live(Item, "n") == [1]
    assert upsert(Item.insert(code="a", n=50), target).as_rowcount().execute() == 1
    assert bench.live(Item, "n") == [50]
    assert [row for row in bench.rows(Item) if row["deleted_at"]] == gone
    assert [(e.action, e.old and e.old["n"]) for e in bench.entries(Item)] == [
        ("create", None),
        ("update", 1),
    ]


@pytest.mark.parametrize("kind", KEYED)
@pytest.mark.parametrize("hooked", [False, True])
def test_an_upsert_of_a_deleted_key_counts_0(
    bench: Bench, plugin: Callable[..., Any], kind: str, hooked: bool
) -> None:
    """The row is left alone by update and preserve, and by DO NOTHING."""
    model = ITEMS[kind]
    row, live = made(model, 2)
    keys = model._meta.get_primary_keys()
    row.delete_instance()
    before = bench.rows(model)
    bench.forget()
    if hooked:
        plugin(Witness())

    def insert(of: Any) -> Any:
        data = {key.name: getattr(of, key.name) for key in keys}
        return model.insert(code=f"{of.code}{of.code}", n=9, **data)

    for query in (
        insert(row).on_conflict(conflict_target=keys, preserve=[model.n]),
        insert(row).on_conflict(conflict_target=keys, update={model.n: 9}),
        insert(row).on_conflict_ignore(),
        insert(row).on_conflict("ignore"),
    ):
        assert query.as_rowcount().execute() == 0
    assert bench.rows(model) == before
    assert bench.entries(model) == []
    query = insert(live).on_conflict(conflict_target=keys, preserve=[model.n])
    assert query.as_rowcount().execute() == 1
    assert bench.actions(model) == ["update"]


def test_an_upsert_of_many_rows_sorts_them_out(bench: Bench) -> None:
    """New, live, equal and deleted keys in one statement, each as it should be."""
    rows = made(Item, 4)
    rows[3].delete_instance()
    bench.forget()
    data = [
        {"id": 1, "code": "a", "n": 0},
        {"id": 2, "code": "b", "n": 20},
        {"id": 4, "code": "x", "n": 40},
        {"id": 5, "code": "e", "n": 50},
    ]
    upsert = Item.insert_many(data).on_conflict(
        conflict_target=[Item.id], preserve=[Item.n]
    )
    upsert.execute()
    assert bench.live(Item, "n") == [0, 2, 20, 50]
    assert sorted((e.action, e.key) for e in bench.entries(Item)) == [
        ("create", "5"),
        ("update", "2"),
    ]


@pytest.mark.parametrize("hooked", [False, True])
def test_an_upsert_that_moves_the_key_knows_the_live_row(
    bench: Bench, plugin: Callable[..., Any], hooked: bool
) -> None:
    """The entry is the update of the live row, with deleted twins on both sides."""
    for key in (1, 5):
        Item.insert(id=key, code="a").execute()
        Item.delete().execute()
    Item.insert(id=2, code="a", n=1).execute()
    bench.forget()
    if hooked:
        plugin(Witness())
    Item.insert(id=9, code="a", n=2).on_conflict(
        conflict_target=[Item.code], preserve=[Item.id, Item.n]
    ).execute()
    assert sorted(row["id"] for row in bench.rows(Item)) == [1, 5, 9]
    assert [(e.action, e.key, e.old, e.new) for e in bench.entries(Item)] == [
        ("update", "2", {"id": 2, "n": 1}, {"id": 9, "n": 2})
    ]


@pytest.mark.parametrize("model", [Item, Unrecorded])
def test_get_or_create_makes_a_new_row(bench: Bench, model: Any) -> None:
    """A deleted row is neither found nor brought back."""
    first, created = model.get_or_create(code="a")
    assert created
    first.delete_instance()
    second, created = model.get_or_create(code="a")
    assert created
    assert second != first
    assert model.get_or_create(code="a") == (second, False)
    assert [row["id"] for row in bench.rows(model)] == [first.id, second.id]


def test_get_or_create_of_a_deleted_key_says_to_restore(bench: Bench) -> None:
    """A key is no value that a new row could have."""
    (row,) = made(Item, 1)
    row.delete_instance()
    with pytest.raises(DuplicateError, match="restore_instance"):
        Item.get_or_create(id=row.id, defaults={"code": "z"})


def test_ignored_conflicts_are_those_with_live_rows(bench: Bench) -> None:
    """`on_conflict_ignore` inserts beside a deleted twin, and not beside a live one."""
    made(Item, 1)
    Item.delete().execute()
    for _ in range(2):
        Item.insert(code="a", n=8).on_conflict_ignore().execute()
    assert [row["n"] for row in bench.rows(Item)] == [0, 8]
