"""Unique values belong to live rows; a key, even a deleted row's, stays taken."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import ConfigurationError, DuplicateError, User
from tests.soft_delete_writes.bench import Bench, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Pair,
    Root,
    Secretive,
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
