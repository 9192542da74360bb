"""Two that write at once: one of them wins, and the trail says which."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import cmcore
from cmcore import DuplicateError, RestoreConflictError, StaleDeletedError
from cmcore.models import dependents, purging
from tests.soft_delete_writes.bench import Bench, acting, made
from tests.soft_delete_writes.models import Branch, Item, Leaf, Remark, Root

ROUNDS = 12


def at_once(bench: Bench, *calls: Callable[[], Any]) -> list[Any]:
    """Run calls in threads that begin together; return results and errors."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        with bench.db.connection_context():
            start.wait()
            try:
                return call()
            except cmcore.CmcoreError as error:
                return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(run, call) for call in calls]]


def as_user(name: str, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call that is made by a user."""

    def run() -> Any:
        with acting(name):
            return call()

    return run


@pytest.mark.parametrize("form", ["instance", "query", "recursive"])
def test_of_two_deletes_one_counts(bench: Bench, form: str) -> None:
    """One returns 1 and the other 0; the row and its one entry name the winner."""
    for i in range(ROUNDS):
        (row,) = made(Item, 1)
        bench.forget()

        def delete(key: int = row.id) -> Any:
            if form == "query":
                return Item.delete().where(Item.id == key).execute()
            found = Item.with_deleted().where(Item.id == key).get()
            return found.delete_instance(recursive=form == "recursive")

        users = ("alice", "bob")
        counts = at_once(bench, *(as_user(name, delete) for name in users))
        assert sorted(counts) == [0, 1]
        (entry,) = bench.entries(Item)
        assert entry.user == users[counts.index(1)]
        (marked,) = (r for r in bench.rows(Item) if r["id"] == row.id)
        assert marked["deleted_by"] == entry.user
        assert entry.new["deleted_at"] == marked["deleted_at"]
        Item.purge().execute()
        assert bench.rows(Item) == [], i


def test_a_delete_and_a_save_come_one_after_the_other(bench: Bench) -> None:
    """The save is before the delete or refused; the row ends deleted either way."""
    for i in range(ROUNDS):
        (row,) = made(Item, 1)
        stale = Item.get_by_id(row.id)
        stale.n = 100 + i
        bench.forget()
        deleted, saved = at_once(bench, row.delete_instance, stale.save)
        assert deleted == 1
        assert saved in (1, StaleDeletedError)
        (left,) = bench.rows(Item)
        assert left["deleted_at"] is not None
        assert left["n"] == (stale.n if saved == 1 else 0)
        actions = ["update", "delete"] if saved == 1 else ["delete"]
        assert sorted(bench.actions(Item)) == sorted(actions)
        Item.purge().execute()


def test_a_restore_and_a_create_do_not_both_get_the_value(bench: Bench) -> None:
    """One of them has the unique value, the other gets its own error."""
    for _ in range(ROUNDS):
        (row,) = made(Item, 1)
        row.delete_instance()
        restored, created = at_once(
            bench, row.restore_instance, lambda: Item.create(code="a", n=1)
        )
        if restored == 1:
            assert created is DuplicateError
        else:
            assert restored is RestoreConflictError
            assert created.n == 1
        assert bench.live(Item, "code") == ["a"]
        Item.purge(include_live=True).execute()


def test_of_two_restores_one_counts(bench: Bench) -> None:
    """With dependents too: each row comes back once."""
    for i in range(ROUNDS):
        root = Root.create(name=f"r{i}")
        branch = Branch.create(name=f"b{i}", root=root)
        Leaf.create(name="l", branch=branch, root=root)
        root.delete_instance(recursive=True)
        bench.forget()

        def restore(key: int = root.id) -> int:
            found = Root.with_deleted().where(Root.id == key).get()
            return found.restore_instance(recursive=True)

        assert sorted(at_once(bench, restore, restore)) == [0, 1]
        for model in (Root, Branch, Leaf):
            assert bench.actions(model) == ["restore"]


def test_a_purge_takes_no_row_that_comes_back(bench: Bench) -> None:
    """A purge and a restore of one row: it is gone or live, and the trail agrees."""
    for _ in range(ROUNDS):
        (row,) = made(Item, 1)
        row.delete_instance()
        bench.forget()
        purged, restored = at_once(bench, Item.purge().execute, row.restore_instance)
        assert (purged, restored) in {(1, 0), (0, 1)}
        assert bench.actions(Item) == ["purge" if purged else "restore"]
        assert len(bench.rows(Item)) == restored
        Item.purge(include_live=True).execute()


def test_a_row_restored_under_a_purge_stays(bench: Bench, monkeypatch: Any) -> None:
    """What was read as deleted, and is live by the time of the DELETE, is left."""
    if bench.engine == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    row, other = made(Item, 2)
    Item.delete().execute()
    reading = dependents.dependents

    def meanwhile(*args: Any) -> Any:
        found = reading(*args)

        def restore() -> None:
            with bench.db.connection_context():
                row.restore_instance()

        thread = threading.Thread(target=restore)
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(purging, "dependents", meanwhile)
    assert Item.purge().execute() == 1
    assert bench.live(Item, "code") == ["a"]
    assert other.purge_instance() == 0


def test_recursive_deletes_of_many_threads_keep_apart(bench: Bench) -> None:
    """Eight calls at once by one user: each restore brings back its own rows."""
    roots = []
    for i in range(8):
        root = Root.create(name=str(i))
        for j in range(5):
            Remark.create(name=f"{i}-{j}", root=root)
        roots.append(root)

    def delete(root: Any) -> Callable[[], Any]:
        return lambda: root.delete_instance(recursive=True, delete_nullable=True)

    assert at_once(bench, *map(delete, roots)) == [1] * 8
    assert len({root.deleted_at for root in roots}) == 8
    roots[3].restore_instance(recursive=True)
    assert bench.live(Remark) == [f"3-{j}" for j in range(5)]
    assert bench.live(Root) == ["3"]
