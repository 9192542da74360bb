"""Unique values belong to live rows; a key, even a deleted row's, stays taken."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import ConfigurationError, DuplicateError, User
from tests.capture.witness import Witness
from tests.soft_delete_writes.bench import Bench, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Item,
    Pair,
    Root,
    Secretive,
    Unrecorded,
)

KEYED = [kind for kind in KINDS if kind != "none"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_free_after_each_delete(bench: Bench, kind: str) -> None:
    """Five rows in a row have the same code, one of them live."""
    model = ITEMS[kind]
    for i in range(5):
        keys = {"region": "n", "number": i} if kind == "composite" else {}
        model.create(code="a", n=i, **keys)
        model.delete().where(model.code == "a").execute()
    keys = {"region": "n", "number": 9} if kind == "composite" else {}
    model.create(code="a", n=9, **keys)
    assert [row["code"] for row in bench.rows(model)] == ["a"] * 6
    assert [row.n for row in model.select()] == [9]
    assert bench.actions(model) == ["create", "delete"] * 5 + ["create"]


@pytest.mark.parametrize("kind", KEYED)
def test_two_live_rows_collide(bench: Bench, kind: str) -> None:
    """`DuplicateError` names the live row, not the deleted ones with that code."""
    model = ITEMS[kind]
    first, second = made(model, 2)
    first.delete_instance()
    keys = {"region": "s", "number": 1} if kind == "composite" else {}
    holder = model.create(code="a", **keys)
    keys = {"region": "s", "number": 2} if kind == "composite" else {}
    writes: list[Callable[[], Any]] = [
        lambda: model.create(code="a", **keys),
        lambda: model.update(code="a").where(model.code == "b").execute(),
    ]
    for write in writes:
        with pytest.raises(DuplicateError) as caught:
            write()
        assert (caught.value.key, caught.value.fields) == (holder._pk, ("code",))
        assert "restore" not in str(caught.value)
    assert second.code == "b"


def test_a_pair_is_unique_among_live_rows(bench: Bench) -> None:
    """Indexes of several columns hold among live rows too; NULLs never collide."""
    Pair.create(a="x", b=1).delete_instance()
    Pair.create(a="x", b=1)
    with pytest.raises(DuplicateError) as caught:
        Pair.create(a="x", b=1)
    assert (caught.value.fields, caught.value.key) == (("a", "b"), 2)
    Pair.create(a="x", b=None)
    Pair.create(a="x", b=None)
    assert len(bench.rows(Pair)) == 4


def user(**values: Any) -> Any:
    """Create a user with an address."""
    return User.create(email="Ann@a.org", password_hash="!unusable", **values)


def test_an_address_is_free_after_its_user_is_deleted(bench: Bench) -> None:
    """`uq_users_email` and `uq_customers_email` hold among live rows."""
    first = user(full_name="One")
    with pytest.raises(DuplicateError):
        user(full_name="Two")
    first.delete_instance()
    second = user(full_name="Two")
    assert User.get(email="ann@a.org") == second
    with pytest.raises(cmcore.RestoreConflictError) as caught:
        first.restore_instance()
    assert (caught.value.fields, caught.value.key) == (("email",), second.id)
    second.delete_instance()
    assert first.restore_instance() == 1


@pytest.mark.parametrize("kind", KEYED)
@pytest.mark.parametrize("form", ["autocommit", "transaction"])
def test_a_key_stays_taken(bench: Bench, kind: str, form: str) -> None:
    """Creating it again says to restore, whether or not the row can be read."""
    model = ITEMS[kind]
    (row,) = made(model, 1)
    keys = {f.name: getattr(row, f.name) for f in model._meta.get_primary_keys()}
    row.delete_instance()
    before = bench.rows(model)
    with (
        pytest.raises(DuplicateError, match="restore_instance") as caught,
        bench.in_transaction(form),
    ):
        model.create(code="z", **keys)
    if form == "autocommit":
        assert caught.value.key == row._pk
    with pytest.raises(DuplicateError, match="restore_instance"):
        model.insert_many([{"code": "z", **keys}]).execute()
    assert bench.rows(model) == before


@pytest.mark.parametrize("kind", KEYED)
def test_a_replace_does_not_destroy_a_deleted_row(sqlite: Bench, kind: str) -> None:
    """`replace`, `replace_many` and `on_conflict_replace` say to restore."""
    model = ITEMS[kind]
    row, _ = made(model, 2)
    keys = {f.name: getattr(row, f.name) for f in model._meta.get_primary_keys()}
    other = {"region": "w", "number": 7} if kind == "composite" else {}
    row.delete_instance()
    before = sqlite.rows(model)
    sqlite.forget()
    data = {"code": "z", **keys}
    many = [{"code": "y", **other}, data] if other else [data]
    for audited in (True, False):
        if not audited:
            cmcore.plugins.block("audit")
        try:
            for query in (
                model.replace(data),
                model.replace_many(many),
                model.insert(data).on_conflict_replace(),
                model.insert(data).on_conflict("replace"),
            ):
                with pytest.raises(DuplicateError, match="restore_instance") as caught:
                    query.execute()
                assert caught.value.key == row._pk
        finally:
            cmcore.plugins.unblock("audit")
    assert sqlite.rows(model) == before
    assert sqlite.entries(model) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_replace_pushes_live_rows_out_and_no_others(sqlite: Bench, kind: str) -> None:
    """A deleted row with the same unique value is not in the way of a REPLACE."""
    model = ITEMS[kind]
    made(model, 1)
    model.delete().execute()
    keys = {"region": "s", "number": 1} if kind == "composite" else {}
    model.create(code="a", n=5, **keys)
    sqlite.forget()
    keys = {"region": "s", "number": 2} if kind == "composite" else {}
    model.replace(code="a", n=6, **keys).execute()
    assert sorted(row["n"] for row in sqlite.rows(model)) == [0, 6]
    assert [e.action for e in sqlite.entries(model)] == ["delete", "create"]
    assert sqlite.entries(model)[0].old["n"] == 5


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


def test_a_masked_value_is_in_no_error(bench: Bench) -> None:
    """A duplicate and a conflict of a masked field do not show it."""
    row = Secretive.create(code="sesame")
    row.delete_instance()
    Secretive.create(code="sesame")
    for call in (lambda: Secretive.create(code="sesame"), row.restore_instance):
        with pytest.raises(DuplicateError) as caught:
            call()
        assert caught.value.value is None
        assert caught.value.key == 2
        assert "sesame" not in f"{caught.value} {caught.value.__cause__}"


def referring(**attributes: Any) -> Any:
    """Make a model."""
    metaclass: Any = type(cmcore.Model)
    return metaclass("Referring", (cmcore.Model,), attributes)


def test_a_reference_to_a_unique_value_is_refused() -> None:
    """Deleted rows may share it: `ConfigurationError`, and nothing is left over."""
    before = dict(Root._meta.backrefs)
    with pytest.raises(ConfigurationError, match=r"Root\.name.*primary key"):
        referring(root=peewee.ForeignKeyField(Root, field="name"))
    assert Root._meta.backrefs == before
    assert not hasattr(Root, "referring_set")
    by_key = referring(root=peewee.ForeignKeyField(Root, field="id"))
    by_key._meta.remove_ref(by_key.root)


def test_a_late_reference_to_a_unique_value_is_refused() -> None:
    """A deferred key is refused once its target is there, a self-reference at once."""
    metaclass: Any = type(cmcore.Model)
    bases = (cmcore.SoftDeleteMixin, cmcore.Model)
    late = referring(x=peewee.DeferredForeignKey("LateTarget", field="code"))
    with pytest.raises(ConfigurationError, match="primary key"):
        metaclass("LateTarget", bases, {"code": peewee.CharField(unique=True)})
    assert "x" not in late._meta.refs
    unresolved: Any = peewee.DeferredForeignKey
    unresolved._unresolved.clear()
    with pytest.raises(ConfigurationError, match="primary key"):
        metaclass(
            "Own",
            bases,
            {
                "code": peewee.CharField(unique=True),
                "up": peewee.ForeignKeyField("self", field="code"),
            },
        )


RULES: dict[str, dict[str, Any]] = {
    "constraint": {"constraints": [peewee.SQL("UNIQUE (a)")]},
    "small letters": {"constraints": [peewee.SQL("unique (a)")]},
    "index": {"indexes": [peewee.SQL("CREATE UNIQUE INDEX x ON soft_rules (a)")]},
}


def ruled(field: Any = None, **options: Any) -> Any:
    """Make a soft-deleted model with rules in SQL."""
    metaclass: Any = type(cmcore.Model)
    meta = type("Meta", (), {"table_name": "soft_rules", **options})
    body = {"a": field or peewee.CharField(), "Meta": meta}
    return metaclass("Ruled", (cmcore.SoftDeleteMixin, cmcore.Model), body)


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_unique_rules_in_sql_are_refused(bench: Bench, options: Any) -> None:
    """They would hold among deleted rows too."""
    with pytest.raises(ConfigurationError, match="unique=True"):
        ruled(**options).create_table()
    field = peewee.CharField(constraints=[peewee.SQL("UNIQUE")])
    with pytest.raises(ConfigurationError, match="unique=True"):
        ruled(field).create_table()


def test_a_rule_that_only_speaks_of_unique_is_none(bench: Bench) -> None:
    """The word in a text or in a longer name makes no unique rule."""
    check = "CONSTRAINT ck_unique_a CHECK (a <> 'not unique')"
    model = ruled(constraints=[peewee.SQL(check)])
    model.create_table()
    assert model.table_exists()
    model.drop_table()
