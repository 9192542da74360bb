"""`recursive=True` takes what depends on a row, and its restore exactly that."""

from collections.abc import Callable
from typing import Any

import pytest

import cmcore
from cmcore import UnsafeCascadeError
from tests.soft_delete_writes.bench import Bench, acting
from tests.soft_delete_writes.models import (
    Branch,
    Cell,
    Egg,
    Guest,
    Hen,
    Host,
    Leaf,
    Mark,
    Member,
    Node,
    Profile,
    Remark,
    Root,
    Tag,
    Visitor,
)

ALL = (Root, Branch, Leaf, Remark, Mark, Cell)
NEAR = (*ALL, Tag, Profile, Member)
"""All that a recursive call looks at."""


def family(name: str = "r") -> Any:
    """Make a root with three levels, a diamond, and dependents of every kind."""
    root = Root.create(name=name)
    other = Root.create(name=f"{name}-other")
    for i in (1, 2):
        branch = Branch.create(name=f"{name}{i}", root=root, spare=other)
        Leaf.create(name=f"{name}{i}", branch=branch, root=root)
    Branch.create(name=f"{name}-spare", root=other, spare=root)
    Remark.create(name=name, root=root)
    Mark.insert(name=f"{name}1", root=root).execute()
    Mark.insert(name=f"{name}2", root=other).execute()
    Cell.create(row=root.id, column=1, root=root)
    return root


def live(bench: Bench) -> dict[str, list[Any]]:
    """Return what is live in each table."""
    by: dict[Any, str] = {Cell: "column"}
    return {m.__name__: bench.live(m, by.get(m, "name")) for m in ALL}


def everything(bench: Bench) -> dict[str, Any]:
    """Return all rows of each table."""
    return {model.__name__: bench.rows(model) for model in ALL}


@pytest.mark.parametrize("delete_nullable", [False, True])
def test_dependents_go_and_come_back(bench: Bench, delete_nullable: bool) -> None:
    """Three levels and a diamond go; nullable ones only if that is asked for."""
    root = family()
    before = everything(bench)
    taken = root.delete_instance(recursive=True, delete_nullable=delete_nullable)
    assert taken == 1
    assert live(bench) == {
        "Root": ["r-other"],
        "Branch": [] if delete_nullable else ["r-spare"],
        "Leaf": [],
        "Remark": [] if delete_nullable else ["r"],
        "Mark": ["r2"],
        "Cell": [],
    }
    links = [row["root"] for row in bench.rows(Remark)]
    assert links == [root.id]
    moments = {
        (row["deleted_at"], row["deleted_by"])
        for model in ALL
        for row in bench.rows(model)
        if row["deleted_at"] is not None
    }
    assert moments == {(root.deleted_at, "system")}
    assert root.delete_instance(recursive=True) == 0
    assert root.restore_instance(recursive=True) == 1
    assert everything(bench) == before
    assert root.restore_instance(recursive=True) == 0
    for model in ALL:
        actions = bench.actions(model)
        assert actions.count("delete") == actions.count("restore")


@pytest.mark.parametrize("earlier", ["instance", "query", "recursive"])
@pytest.mark.parametrize("form", ["autocommit", "transaction"])
def test_a_row_deleted_earlier_stays_deleted(
    bench: Bench, earlier: str, form: str
) -> None:
    """Even by the same user in the same transaction, and with rows of its own."""
    root = family()
    with acting("alice"), bench.in_transaction(form):
        first = Branch.get(name="r1")
        if earlier == "query":
            Branch.delete().where(Branch.id == first.id).execute()
        else:
            first.delete_instance(recursive=earlier == "recursive")
        root.delete_instance(recursive=True)
        assert bench.live(Branch) == ["r-spare"]
        root.restore_instance(recursive=True)
    assert bench.live(Branch) == ["r-spare", "r2"]
    assert bench.live(Leaf) == (["r2"] if earlier == "recursive" else ["r1", "r2"])
    assert bench.marks(Branch, "name")["r1"][1] == "alice"


def test_a_restore_from_below_or_without_recursion_takes_less(bench: Bench) -> None:
    """Without `recursive` one row comes back; from a branch what hangs on it."""
    root = family()
    root.delete_instance(recursive=True)
    with acting("bob"):
        Branch.only_deleted().where(Branch.name == "r2").get().restore_instance(
            recursive=True
        )
        root.restore_instance()
    assert bench.live(Root) == ["r", "r-other"]
    assert bench.live(Branch) == ["r-spare", "r2"]
    assert bench.live(Leaf) == ["r2"]
    root.delete_instance()
    root.restore_instance(recursive=True)
    assert bench.live(Branch) == ["r-spare", "r2"]


def test_self_references_and_cycles_end(bench: Bench) -> None:
    """A row that owns itself, and a ring of three, go and come back once each."""
    own = Node.create(name="self", owner=1)
    a, b, c = (Node.create(name=n, owner=own) for n in "abc")
    for row, owner in ((a, c), (b, a), (c, b)):
        row.owner = owner
        row.save()
    bench.forget()
    assert a.delete_instance(recursive=True) == 1
    assert bench.live(Node) == ["self"]
    assert bench.actions(Node) == ["delete"] * 3
    assert a.restore_instance(recursive=True) == 1
    assert bench.live(Node) == ["a", "b", "c", "self"]
    assert bench.actions(Node) == ["delete"] * 3 + ["restore"] * 3
    assert own.delete_instance(recursive=True) == 1
    assert bench.live(Node) == ["a", "b", "c"]


def test_two_models_that_need_each_other(bench: Bench) -> None:
    """A cycle over two tables goes with `delete_nullable`, and is restored."""
    hen = Hen.create(name="h")
    egg = Egg.create(name="e", hen=hen)
    hen.egg = egg
    hen.save()
    assert egg.delete_instance(recursive=True) == 1
    assert (bench.live(Hen), bench.live(Egg)) == (["h"], [])
    egg.restore_instance(recursive=True)
    assert egg.delete_instance(recursive=True, delete_nullable=True) == 1
    assert (bench.live(Hen), bench.live(Egg)) == ([], [])
    assert hen.restore_instance(recursive=True) == 1
    assert (bench.live(Hen), bench.live(Egg)) == (["h"], ["e"])


@pytest.mark.parametrize("with_rows", [False, True])
def test_dependents_that_cannot_be_marked_are_refused(
    bench: Bench, with_rows: bool
) -> None:
    """`UnsafeCascadeError` names them before anything changes, rows or none."""
    host = Host.create(name="h")
    if with_rows:
        Guest.create(name="g", host=host)
        Visitor.create(name="v", host=host)
    bench.forget()
    with pytest.raises(UnsafeCascadeError) as caught:
        host.delete_instance(recursive=True)
    assert caught.value.models == (Guest,)
    with pytest.raises(UnsafeCascadeError) as caught:
        host.delete_instance(recursive=True, delete_nullable=True)
    assert set(caught.value.models) == {Guest, Visitor}
    assert "Guest" in str(caught.value)
    assert bench.live(Host) == ["h"]
    assert Guest.select().count() == with_rows
    assert bench.entries(Host) == []
    assert host.delete_instance() == 1


def test_ten_thousand_dependents_take_as_many_statements_as_ten(bench: Bench) -> None:
    """Neither a recursive delete nor its restore sends more for more rows."""
    sent = {}
    for count in (10, 10_000):
        root = Root.create(name="r")
        Remark.insert_many(
            {"name": str(i), "root": root} for i in range(count)
        ).execute()
        with bench.counted() as statements:
            root.delete_instance(recursive=True, delete_nullable=True)
            root.restore_instance(recursive=True)
        sent[count] = len(statements)
        assert bench.actions(Remark)[count:] == ["delete"] * count + ["restore"] * count
        bench.clear()
    assert sent[10] == sent[10_000]


def test_composite_keys_come_in_parts(bench: Bench) -> None:
    """Thousands of rows with a key of two columns go and come back."""
    root = Root.create(name="r")
    rows = [{"row": i, "column": i, "root": root} for i in range(1_200)]
    Cell.insert_many(rows).execute()
    root.delete_instance(recursive=True)
    assert Cell.select().count() == 0
    root.restore_instance(recursive=True)
    assert Cell.select().count() == 1_200
    root.delete_instance(recursive=True)
    assert root.purge_instance() == 1
    assert bench.rows(Cell) == []


def test_keys_that_are_references(bench: Bench) -> None:
    """Rows whose key is a reference, or two, go along, come back, and are purged."""
    root, tag = Root.create(name="r"), Tag.create(word="w")
    rows: list[Any] = [
        Profile.create(root=root),
        Member.create(root=root, tag=tag),
    ]
    assert root.delete_instance(recursive=True) == 1
    assert Profile.select().count() == Member.select().count() == 0
    for row in rows:
        row.n = 5
        with pytest.raises(cmcore.StaleDeletedError):
            row.save()
    with pytest.raises(cmcore.DuplicateError, match="restore_instance"):
        Profile.create(root=root)
    assert root.restore_instance(recursive=True) == 1
    assert [row.save() for row in rows] == [1, 1]
    assert [row.delete_instance() for row in rows] == [1, 1]
    assert [row.restore_instance(recursive=True) for row in rows] == [1, 1]
    root.delete_instance(recursive=True)
    assert root.purge_instance() == 1
    assert bench.rows(Profile) == bench.rows(Member) == []


def test_an_error_half_way_undoes_all(bench: Bench, plugin: Callable[..., Any]) -> None:
    """A Veto on the last dependent leaves root and trail as they were."""

    class Refusal:
        @cmcore.hookimpl
        def cmcore_before_delete(self, changes: Any) -> None:
            if changes[0].model is Mark:
                raise cmcore.Veto

    root = family()
    before = everything(bench)
    bench.forget()
    plugin(Refusal())
    for form in ("autocommit", "transaction", "manual"):
        with bench.in_transaction(form), pytest.raises(cmcore.Veto):
            root.delete_instance(recursive=True)
    assert everything(bench) == before
    assert [bench.entries(model) for model in ALL] == [[]] * len(ALL)
    assert not root.is_deleted
