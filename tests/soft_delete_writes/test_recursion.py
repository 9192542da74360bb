"""`recursive=True` takes what depends on a row, and its restore exactly that."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import cmcore
from cmcore import UnsafeCascadeError
from cmcore.models import marking
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
    Node,
    Remark,
    Root,
    Visitor,
)

ALL = (Root, Branch, Leaf, Remark, Mark, Cell)


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


OTHER_PROCESS = """
import sys, datetime
import cmcore
from cmcore import keys
from tests.soft_delete_writes.models import Branch, Remark, Root
class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2030, 1, 1, tzinfo=tz)
keys.datetime = Frozen
db = cmcore.connect(sys.argv[1])
{call}
db.close()
"""


def in_another_process(bench: Bench, call: str) -> None:
    """Run a call with the same frozen clock in a process of its own."""
    script = OTHER_PROCESS.format(call=call)
    subprocess.run([sys.executable, "-c", script, bench.url], check=True)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that stops the clock at the moment of the other process."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2030, 1, 1, tzinfo=tz)

    def freeze() -> None:
        monkeypatch.setattr("cmcore.keys.datetime", Frozen)
        monkeypatch.setattr(
            "cmcore.keys._clock._last", datetime(2029, 1, 1, tzinfo=UTC)
        )

    return freeze


@pytest.mark.parametrize(
    "call",
    [
        "Branch.get(name='r1').delete_instance()",
        "Branch.delete().where(Branch.name == 'r1').execute()",
        "Remark.get().delete_instance()",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_two_processes_never_share_a_moment(
    bench: Bench, frozen: Callable[[], None], call: str, is_first: bool
) -> None:
    """With clocks that stand still, what another process deleted stays deleted."""
    root = family()
    if is_first:
        in_another_process(bench, call)
        frozen()
        root.delete_instance(recursive=True)
    else:
        if "Branch" in call:
            Branch.update(root=Root.get(name="r-other"), spare=root).where(
                Branch.name == "r1"
            ).execute()
        frozen()
        root.delete_instance(recursive=True)
        in_another_process(bench, call)
    assert bench.live(Root) == ["r-other"]
    root.restore_instance(recursive=True)
    if "Branch" in call:
        assert "r1" not in bench.live(Branch)
        assert "r2" in bench.live(Branch)
    else:
        assert bench.live(Remark) == []


def test_each_call_has_a_moment_of_its_own(
    bench: Bench, frozen: Callable[[], None]
) -> None:
    """With a clock that stands still, each call is a microsecond later."""
    frozen()
    for i in range(5):
        Root.create(name=str(i)).delete_instance(recursive=i % 2 == 0)
    moments = [at for at, _ in bench.marks(Root, "name").values()]
    assert len(set(moments)) == 5
    start = datetime(2030, 1, 1, tzinfo=UTC)
    assert all((at - start).total_seconds() < 0.001 for at in moments)


def test_a_moment_that_is_taken_is_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set back does not give a moment that rows near by have."""
    gone = Remark.create(name="x", root=Root.create(name="r"))
    gone.delete_instance()
    later = datetime(2031, 1, 1, tzinfo=UTC)
    moments = iter([gone.deleted_at, later])
    monkeypatch.setattr(marking, "now", lambda: next(moments, later))
    root = Root.get()
    root.delete_instance(recursive=True)
    assert root.deleted_at == later


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
