"""A row comes back only where its values are free, and all of a batch or none."""

from typing import Any

import pytest

import cmcore
from cmcore import RestoreConflictError
from tests.soft_delete_writes.bench import FORMS, Bench, acting, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Branch,
    Item,
    Pair,
    Root,
    Unrecorded,
)

KEYED = [kind for kind in KINDS if kind != "none"]


@pytest.mark.parametrize("kind", KEYED)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("audited", [True, False])
def test_a_taken_value_keeps_the_row_deleted(
    bench: Bench, kind: str, form: str, audited: bool
) -> None:
    """The error names the live row; a transaction around it stays usable."""
    model = ITEMS[kind]
    row, other = made(model, 2)
    model.delete().execute()
    keys = {"region": "s", "number": 9} if kind == "composite" else {}
    rival = model.create(code="b", **keys)
    before = bench.rows(model)
    bench.forget()
    if not audited:
        cmcore.plugins.block("audit")
    try:
        with bench.in_transaction(form):
            for restore in (
                other.restore_instance,
                lambda: other.restore_instance(recursive=True),
                model.restore().execute,
                model.restore().where(model.code == "b").execute,
            ):
                with pytest.raises(RestoreConflictError) as caught:
                    restore()
                assert caught.value.fields == ("code",)
                assert caught.value.key == rival._pk
                assert caught.value.value == "b"
            assert model.select().count() == 1
    finally:
        cmcore.plugins.unblock("audit")
    assert bench.rows(model) == before
    assert bench.entries(model) == []
    rival.delete_instance()
    assert row.restore_instance() == other.restore_instance() == 1


def test_a_pair_that_is_taken_is_named_whole(bench: Bench) -> None:
    """`.fields` has every column of the index."""
    first = Pair.create(a="x", b=1)
    Pair.create(a="x", b=2)
    Pair.delete().execute()
    rival = Pair.create(a="x", b=1)
    with pytest.raises(RestoreConflictError) as caught:
        first.restore_instance()
    assert (caught.value.fields, caught.value.key) == (("a", "b"), rival.id)
    assert caught.value.value is None
    assert isinstance(caught.value, cmcore.DuplicateError)
    assert "A live row has it. " in str(caught.value)


def test_two_rows_of_a_batch_may_be_in_each_others_way(bench: Bench) -> None:
    """Then no live row is to be named, and none of the batch comes back."""
    for n in (1, 2):
        Item.create(code="a", n=n).delete_instance()
    Item.create(code="b").delete_instance()
    for form in ("autocommit", "transaction"):
        with bench.in_transaction(form):
            with pytest.raises(RestoreConflictError) as caught:
                Item.restore().execute()
            assert (caught.value.fields, caught.value.key) == (("code",), None)
            assert "Two of the rows" in str(caught.value)
            assert "live" not in str(caught.value)
    assert bench.live(Item, "code") == []
    assert "restore" not in bench.actions(Item)


@pytest.mark.parametrize("form", FORMS)
def test_a_conflict_of_a_dependent_undoes_the_whole_restore(
    bench: Bench, form: str
) -> None:
    """Root and branches stay deleted if one of the branches cannot come back."""
    root = Root.create(name="r")
    for name in "ab":
        Branch.create(name=name, root=root)
    root.delete_instance(recursive=True)
    rival = Branch.create(name="b", root=Root.create(name="other"))
    bench.forget()
    with bench.in_transaction(form):
        with pytest.raises(RestoreConflictError) as caught:
            root.restore_instance(recursive=True)
        assert (caught.value.table, caught.value.key) == ("soft_branches", rival.id)
        assert Branch.select().count() == 1
    assert (bench.live(Root), bench.live(Branch)) == (["other"], ["b"])
    assert bench.entries(Root) == bench.entries(Branch) == []
    assert root.is_deleted


def test_a_restore_gives_back_what_it_brought(bench: Bench) -> None:
    """RETURNING, sub-selects and common table expressions work as in an update."""
    made(Item, 3)
    Item.delete().execute()
    (row,) = Item.restore().where(Item.code == "a").returning(Item)
    assert (row.code, row.is_deleted, row.deleted_by_id) == ("a", False, None)
    chosen = Item.only_deleted(Item.id).where(Item.n == 1)
    assert Item.restore().where(Item.id.in_(chosen)).execute() == 1
    cte = Item.only_deleted(Item.id).where(Item.n == 2).cte("chosen")
    query = Item.restore().with_cte(cte).where(Item.id.in_(cte.select(cte.c.id)))
    rival = Item.create(code="c")
    with bench.db.atomic(), pytest.raises(RestoreConflictError) as caught:
        query.execute()
    assert caught.value.key == rival.id
    rival.purge_instance()
    assert [row.code for row in query.returning(Item.code)] == ["c"]


def test_an_unrecorded_model_is_restored_the_same_way(bench: Bench) -> None:
    """`Meta.audit = False`: the conflict is named in a transaction too."""
    row = Unrecorded.create(code="a")
    row.delete_instance()
    rival = Unrecorded.create(code="a")
    with bench.db.atomic():
        with pytest.raises(RestoreConflictError) as caught:
            row.restore_instance()
        assert caught.value.key == rival.id
        rival.purge_instance()
        assert row.restore_instance() == 1


def test_who_deleted_it_is_in_the_entry_of_the_restore(bench: Bench) -> None:
    """The two columns before and after."""
    (row,) = made(Item, 1)
    with acting("alice"):
        row.delete_instance()
    at: Any = row.deleted_at
    row.restore_instance()
    entry = bench.entries(Item)[-1]
    assert entry.old == {"deleted_at": at, "deleted_by": "alice"}
    assert entry.new == {"deleted_at": None, "deleted_by": None}
