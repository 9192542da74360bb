"""The trail from the start gives the tables as they are."""

import random
from typing import Any

import pytest

import cmcore
from tests.capture.bench import in_order
from tests.soft_delete_writes.bench import Bench, acting
from tests.soft_delete_writes.models import ITEMS, Branch, Leaf, Node, Remark, Root

MODELS: tuple[Any, ...] = (Root, Branch, Leaf, Remark)


def replayed(bench: Bench, model: Any) -> list[Any]:
    """Apply the entries of a table to nothing; each must fit what is there."""
    table: dict[Any, Any] = {}
    for action, key, old, new, _ in bench.entries(model):
        if action == "create":
            assert key not in table
            table[key] = dict(new)
        elif action == "purge":
            assert table.pop(key) == old
        else:
            row = table[key]
            assert {name: row[name] for name in old} == old
            row.update(new)
            if action == "delete":
                assert old == {"deleted_at": None, "deleted_by": None}
                assert None not in new.values()
            elif action == "restore":
                assert set(new.values()) == {None}
            else:
                assert action == "update"
    return in_order(table.values())


def step(chance: random.Random, n: int) -> Any:
    """Do one thing, whatever comes of it."""
    roots = list(Root.with_deleted())
    root: Any = chance.choice(roots) if roots else None
    branches = list(Branch.with_deleted())
    branch: Any = chance.choice(branches) if branches else None
    acts: list[Any] = [lambda: Root.create(name=f"r{n % 7}")]
    if root is not None:
        acts += [
            lambda: Branch.create(name=f"b{n % 9}", root=root, spare=root),
            lambda: Remark.create(name=str(n), root=root),
            lambda: Remark.delete().where(Remark.root == root).execute(),
            lambda: Remark.restore().execute(),
            lambda: Remark.update(name=str(n)).where(Remark.root == root).execute(),
            lambda: root.delete_instance(recursive=True, delete_nullable=n % 2 == 0),
            root.delete_instance,
            lambda: root.restore_instance(recursive=True),
            root.restore_instance,
            root.save,
            root.purge_instance,
            lambda: Root.purge().limit(2).execute(),
        ]
    if branch is not None:
        acts += [
            lambda: Leaf.create(name=str(n), branch=branch, root=root),
            lambda: branch.delete_instance(recursive=True),
            lambda: branch.restore_instance(recursive=True),
            lambda: Branch.restore().execute(),
            lambda: Branch.purge().execute(),
            lambda: Leaf.purge().execute(),
        ]
    return chance.choice(acts)()


@pytest.mark.parametrize("seed", range(3))
def test_random_writes_can_be_replayed(bench: Bench, seed: int) -> None:
    """Deletes, restores, purges and their refusals leave nothing out."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    done = 0
    for n in range(150):
        with acting(chance.choice(["alice", "bob"])):
            try:
                if n % 4:
                    step(chance, n)
                else:
                    with bench.db.atomic():
                        step(chance, n)
                        step(chance, n + 1)
                done += 1
            except cmcore.CmcoreError:
                continue
    assert done > 60
    for model in MODELS:
        assert replayed(bench, model) == in_order(bench.rows(model))
    actions = {entry for model in MODELS for entry in bench.actions(model)}
    assert actions == {"create", "update", "delete", "restore", "purge"}


@pytest.mark.parametrize("kind", ["integer", "text", "uuid", "composite"])
def test_each_kind_of_key_can_be_replayed(bench: Bench, kind: str) -> None:
    """Create, delete, restore, update, upsert and purge of one table."""
    model = ITEMS[kind]
    for i in range(6):
        keys = {"region": "n", "number": i} if kind == "composite" else {}
        model.create(code=str(i), n=i, **keys)
    model.delete().where(model.n > 1).execute()
    model.restore().where(model.n > 3).execute()
    model.purge().where(model.n == 2).execute()
    keys = {"region": "s", "number": 9} if kind == "composite" else {}
    model.insert(code="3", n=30, **keys).on_conflict(
        conflict_target=["code"], preserve=["n"]
    ).execute()
    model.update(n=model.n + 1).execute()
    assert replayed(bench, model) == in_order(bench.rows(model))


def test_a_tree_can_be_replayed(bench: Bench) -> None:
    """Links that a purge cuts are entries too."""
    top = Node.create(name="0", owner=1)
    child = Node.create(name="1", owner=top)
    friend = Node.create(name="2", owner=2, friend=top)
    Node.update(owner=friend).where(Node.id == friend.id).execute()
    friend.delete_instance()
    top.delete_instance(recursive=True)
    assert child.restore_instance() == 1
    child.delete_instance()
    assert top.purge_instance() == 1
    assert [row["friend"] for row in bench.rows(Node)] == [None]
    assert replayed(bench, Node) == in_order(bench.rows(Node))
