"""Transactions of every kind: what is undone leaves nothing, the rest is complete."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest
from playhouse.pool import PooledPostgresqlDatabase, PooledSqliteDatabase

import cmcore
from cmcore import AuditLog
from tests import models
from tests.capture.bench import Bench, Entry, rows_of
from tests.capture.replay import replay
from tests.conftest import MakeUrl, connected, unbind

Item = models.ITEMS["integer"]
Mirror = models.MIRRORS["integer"]


class UndoneError(Exception):
    """Raised by a test to leave a block."""


@contextmanager
def undone(db: Any) -> Iterator[Any]:
    """Run a block inside atomic(), which an error ends."""
    try:
        with db.atomic() as transaction:
            yield transaction
            raise UndoneError  # noqa: TRY301 - it has to pass through atomic()
    except UndoneError:
        pass


def codes() -> list[str]:
    """Return what the table holds."""
    return [row["code"] for row in rows_of(Mirror)]


def recorded(bench: Bench) -> list[str]:
    """Return the codes of the rows whose creation is in the trail."""
    assert replay(Item, [], bench.entries(Item)) == rows_of(Mirror)
    created = [entry for entry in bench.entries(Item) if entry.action == "create"]
    return [entry.new["code"] for entry in created if entry.new]


def ids(entries: list[Entry]) -> list[str]:
    """Return the transaction ids in order, each once."""
    return list(dict.fromkeys(entry.transaction for entry in entries))


def test_a_rolled_back_block_leaves_nothing(bench: Bench) -> None:
    """An error in atomic() takes the rows and their entries."""
    with undone(bench.db):
        Item.create(code="gone")
        Item.update(n=5).execute()
    assert codes() == recorded(bench) == []


def test_savepoints_at_every_depth(bench: Bench) -> None:
    """A savepoint that is rolled back leaves nothing, whatever is around it."""
    with bench.db.atomic():
        Item.create(code="kept-1")
        with undone(bench.db):
            Item.create(code="lost-1")
            with bench.db.atomic():
                Item.create(code="lost-with-its-parent")
        with bench.db.atomic():
            Item.create(code="kept-2")
            with undone(bench.db):
                Item.update(n=77).execute()
            with bench.db.savepoint() as savepoint:
                Item.delete().execute()
                savepoint.rollback()
        Item.update(n=1).where(Item.code == "kept-1").execute()
    assert codes() == ["kept-1", "kept-2"]
    assert [entry.action for entry in bench.entries()] == ["create", "create", "update"]
    recorded(bench)
    assert len(ids(bench.entries())) == 1


def test_each_outermost_transaction_has_an_id(bench: Bench) -> None:
    """Statements of one transaction share an id, those of two do not."""
    Item.create(code="a")
    Item.create(code="b")
    with bench.db.atomic():
        Item.create(code="c")
        with bench.db.atomic():
            Item.create(code="d")
    with bench.db.transaction():
        Item.create(code="e")
    entries = bench.entries()
    assert [ids(entries).index(entry.transaction) for entry in entries] == [
        0,
        1,
        2,
        2,
        3,
    ]


def test_a_commit_in_mid_block_begins_a_new_id(bench: Bench) -> None:
    """txn.commit() keeps what was, and what follows is another transaction."""
    with undone(bench.db) as transaction:
        Item.create(code="kept")
        transaction.commit()
        Item.create(code="also")
        Item.update(n=3).where(Item.code == "also").execute()
        transaction.commit()
        Item.create(code="lost")
    assert recorded(bench) == ["kept", "also"]
    entries = bench.entries()
    assert [ids(entries).index(entry.transaction) for entry in entries] == [0, 1, 1]


def test_a_rollback_in_mid_block_begins_a_new_id(bench: Bench) -> None:
    """txn.rollback() takes what was; the id of what follows is a new one."""
    seen = []
    with bench.db.atomic() as transaction:
        Item.create(code="lost")
        seen += ids(bench.entries())
        transaction.rollback()
        Item.create(code="kept")
        transaction.commit()
        Item.create(code="later")
    assert codes() == recorded(bench) == ["kept", "later"]
    assert len({*seen, *ids(bench.entries())}) == 3


def test_commit_without_a_new_begin(bench: Bench) -> None:
    """After txn.commit(begin=False) each write is a transaction of its own."""
    with bench.db.atomic() as transaction:
        Item.create(code="a")
        transaction.commit(begin=False)
        Item.create(code="b")
        Item.create(code="c")
        bench.db.begin()  # for the end of the block
    assert codes() == recorded(bench) == ["a", "b", "c"]
    assert len(ids(bench.entries())) == 3


@pytest.mark.parametrize("commits", [True, False])
def test_sessions(bench: Bench, commits: bool) -> None:
    """session_start() up to session_commit() or _rollback() is one transaction."""
    bench.db.session_start()
    Item.create(code="a")
    Item.create(code="b")
    if commits:
        bench.db.session_commit()
    else:
        bench.db.session_rollback()
    assert codes() == recorded(bench) == (["a", "b"] if commits else [])
    assert len(ids(bench.entries())) == commits


@pytest.mark.parametrize("commits", [True, False])
def test_manual_commit_with_begin(bench: Bench, commits: bool) -> None:
    """Inside manual_commit() a begin() of the caller decides with its end."""
    with bench.db.manual_commit():
        for name in "ab":
            bench.db.begin()
            Item.create(code=name)
            Item.update(n=Item.n + 1).where(Item.code == name).execute()
            if commits:
                bench.db.commit()
            else:
                bench.db.rollback()
    assert codes() == (["a", "b"] if commits else [])
    recorded(bench)
    assert len(ids(bench.entries())) == 2 * commits


def test_manual_commit_without_begin(bench: Bench) -> None:
    """Inside manual_commit() without begin() each write commits by itself."""
    with bench.db.manual_commit():
        Item.create(code="a")
        Item.update(n=9).execute()
        with pytest.raises(cmcore.DuplicateError):
            Item.create(code="a")
        Item.create(code="b")
    assert codes() == ["a", "b"]
    recorded(bench)
    assert len(ids(bench.entries())) == 3


@pytest.mark.parametrize("commits", [True, False])
def test_raw_begin(bench: Bench, commits: bool) -> None:
    """A raw begin() of the caller is ended by nobody but the caller."""
    bench.db.begin()
    Item.create(code="a")
    Item.insert_many([{"code": "b"}, {"code": "c"}]).execute()
    if commits:
        bench.db.commit()
    else:
        bench.db.rollback()
    Item.create(code="d")
    expected = ["a", "b", "c", "d"] if commits else ["d"]
    assert codes() == recorded(bench) == expected
    assert len(ids(bench.entries())) == 1 + commits


def test_a_failing_write_in_autocommit(bench: Bench) -> None:
    """A refused statement leaves no open transaction and no entry."""
    Item.create(code="a")
    with pytest.raises(cmcore.DuplicateError):
        Item.create(code="a")
    with pytest.raises(cmcore.DuplicateError):
        Item.insert_many([{"code": "b"}, {"code": "a"}]).execute()
    assert bench.db.transaction_depth() == 0
    assert not bench.db.in_transaction()
    Item.create(code="c")
    assert codes() == recorded(bench) == ["a", "c"]


def test_a_failing_write_in_a_savepoint(bench: Bench) -> None:
    """A refused statement inside the caller's own block leaves the outer one usable."""
    with bench.db.atomic():
        Item.create(code="a")
        with pytest.raises(cmcore.DuplicateError):
            _create_in_a_block(bench, "b", "a")
        Item.create(code="c")
    assert codes() == recorded(bench) == ["a", "c"]


def _create_in_a_block(bench: Bench, *names: str) -> None:
    with bench.db.atomic():
        for name in names:
            Item.create(code=name)


def test_get_or_create_in_a_race(bench: Bench) -> None:
    """get_or_create that loses a race returns the winner's row, and records nothing."""
    Mirror.create(code="taken", n=1)
    row, created = Item.get_or_create(code="taken", n=1)
    assert not created
    with pytest.raises(cmcore.DuplicateError), bench.db.atomic():
        Item.get_or_create(code="taken", n=2)
    assert row.code == "taken"
    assert bench.entries() == []


def test_a_user_who_does_not_exist_undoes_the_write(bench: Bench) -> None:
    """Where the entry cannot be written the change is not kept, caught or not."""
    with cmcore.acting_as("ghost"):
        with pytest.raises(cmcore.MissingReferenceError):
            Item.create(code="lost")
        with bench.db.atomic():
            with pytest.raises(cmcore.MissingReferenceError), bench.db.atomic():
                Item.create(code="lost too")
            with cmcore.acting_as("system"):
                Item.create(code="kept")
    assert codes() == recorded(bench) == ["kept"]


def _pooled(engine: str, url: str) -> Any:
    if engine == "sqlite":
        return PooledSqliteDatabase(url.removeprefix("sqlite:///"), max_connections=3)
    with connected(url) as db:
        options = dict(db.connect_params)
        name = db.database
    return PooledPostgresqlDatabase(name, max_connections=3, **options)


def test_pooled_databases(engine: str, make_url: MakeUrl) -> None:
    """Connections that come from a pool, again and again, record the same."""
    db = _pooled(engine, make_url(engine, migrated=True))
    cmcore.init(db)
    try:
        with db.connection_context():
            db.create_tables([Item])
        for number in range(6):
            with db.connection_context():
                Item.create(code=f"row-{number}")
                with db.atomic() as transaction:
                    Item.update(n=number).execute()
                    if number % 2:
                        transaction.rollback()
        with db.connection_context():
            counts: Any = AuditLog.select(
                AuditLog.action, peewee.fn.COUNT(AuditLog.id)
            ).group_by(AuditLog.action)
            assert dict(counts.tuples()) == {"create": 6, "update": 1 + 3 + 5 - 1}
            chosen = AuditLog.select(AuditLog.transaction_id).distinct()
            assert chosen.count() == 8
    finally:
        db.close_all()
        unbind()


def test_bind_ctx_carries_the_trail_along(engine: str, make_url: MakeUrl) -> None:
    """Entries go to the database of the write: its own one, or a bound second one."""
    urls = [make_url(engine, migrated=True) for _ in range(3)]
    with (
        connected(urls[0]) as first,
        connected(urls[1]) as second,
        connected(urls[2]) as default,
    ):
        own = _application_model(first)
        for db in (first, second):
            with db.bind_ctx([own]):
                own.create_table()
        row = own.create(name="in the first")
        with second.bind_ctx([own]):
            own.create(name="in the second")
            own.update(name="still there").execute()
        row.name = "changed"
        row.save()
        assert _told(first) == ["create in the first", "update changed"]
        assert _told(second) == ["create in the second", "update still there"]
        assert _told(default) == []
        with second.bind_ctx([own]):
            assert [e.action for e in own.get().history()] == ["update", "create"]
        assert [e.action for e in row.history()] == ["update", "create"]


def _application_model(database: Any) -> Any:
    class Base(cmcore.Model):
        class Meta:
            database = None

    Base._meta.database = database

    class Own(cmcore.Model):
        name = peewee.CharField()

    Own._meta.set_database(database)
    return Own


def _told(db: Any) -> list[str]:
    with db.bind_ctx([AuditLog]):
        query = AuditLog.select().order_by(AuditLog.created_at)
        return [f"{entry.action} {entry.new_values['name']}" for entry in query]


@pytest.mark.parametrize("way", ["statement", "bulk_create", "delete_instance"])
def test_one_call_is_one_transaction(bench: Bench, way: str) -> None:
    """A call that sends several statements has one transaction id."""
    calls: dict[str, Callable[[], Any]] = {
        "statement": lambda: Item.insert_many([{"code": "x"}, {"code": "y"}]).execute(),
        "bulk_create": lambda: Item.bulk_create(
            [Item(code=f"b{i}") for i in range(5)], batch_size=2
        ),
        "delete_instance": _delete_tree,
    }
    calls[way]()
    last = bench.entries()[-1].at
    entries = [e for e in bench.entries() if e.action == bench.entries()[-1].action]
    assert len(entries) > 1
    assert len(ids(entries)) == 1
    assert last >= entries[0].at


def _delete_tree() -> None:
    node, leaf, *_ = models.TREE
    root = node.create(name="root")
    leaf.create(name="leaf", node=root)
    root.delete_instance(recursive=True)
