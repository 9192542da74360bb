"""Purging removes rows for good, in the right order, with all that they said."""

from datetime import timedelta
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import (
    AppendOnlyError,
    AuditLog,
    ConfigurationError,
    Customer,
    StillReferencedError,
    User,
)
from cmcore.models import purging
from tests.soft_delete_writes.bench import Bench, acting, key_of, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Branch,
    Cell,
    Egg,
    Guest,
    Hen,
    Host,
    Item,
    Leaf,
    Mark,
    Node,
    Remark,
    Root,
    Visitor,
)
from tests.soft_delete_writes.test_recursion import ALL, family

KEYED = [kind for kind in KINDS if kind != "none"]


@pytest.fixture(params=[True, False], ids=["enforced", "unenforced"])
def keys(request: pytest.FixtureRequest, bench: Bench) -> Any:
    """Foreign keys that the engine checks, and on SQLite ones that it does not."""
    if bench.engine == "sqlite":
        bench.db.pragma("foreign_keys", int(request.param))
        yield
        bench.db.pragma("foreign_keys", 1)
    elif request.param:
        yield
    else:
        pytest.skip("PostgreSQL always checks them")


def aged(bench: Bench, model: Any, days: int, code: str) -> None:
    """Make a deletion so many days older."""
    table = model._meta.table_name
    (at,) = [row["deleted_at"] for row in bench.rows(model) if row["code"] == code]
    moment = model.deleted_at.db_value(at - timedelta(days=days))
    mark = "?" if bench.engine == "sqlite" else "%s"
    sql = f"UPDATE {table} SET deleted_at = {mark} WHERE code = {mark}"  # noqa: S608
    bench.db.execute_sql(sql, (moment, code))


@pytest.mark.parametrize("kind", KEYED)
def test_an_instance_is_purged_live_or_deleted(bench: Bench, kind: str) -> None:
    """The entry has all old values; afterwards there is no such row."""
    model = ITEMS[kind]
    live, gone = made(model, 2)
    gone.delete_instance()
    full = {row["code"]: row for row in bench.rows(model)}
    bench.forget()
    for row in (live, gone):
        with acting("bob"):
            assert row.purge_instance() == 1
            assert row.purge_instance() == 0
    assert bench.rows(model) == []
    assert [tuple(entry) for entry in bench.entries(model)] == [
        ("purge", key_of(row), full[row.code], None, "bob") for row in (live, gone)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_purges_deleted_rows_only(bench: Bench, kind: str) -> None:
    """`include_live=True` is the way to purge live ones; `where` narrows both."""
    model = ITEMS[kind]
    made(model, 4)
    model.delete().where(model.n >= 2).execute()
    bench.forget()
    assert model.purge().where(model.n != 3).execute() == 1
    assert [row["code"] for row in bench.rows(model)] == ["a", "b", "d"]
    assert model.purge().execute() == 1
    assert model.purge().execute() == 0
    assert model.purge(include_live=True).where(model.n == 0).execute() == 1
    assert model.purge(include_live=True).execute() == 1
    assert bench.rows(model) == []
    assert [entry.old["n"] for entry in bench.entries(model)] == [2, 3, 0, 1]
    assert set(bench.actions(model)) == {"purge"}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_purged_that_are_old_enough(bench: Bench, kind: str) -> None:
    """`older_than` counts from the deletion, and never touches a live row."""
    model = ITEMS[kind]
    made(model, 4)
    model.delete().where(model.n < 3).execute()
    aged(bench, model, 91, "a")
    aged(bench, model, 89, "b")
    query = {"older_than": timedelta(days=90)}
    assert model.purge(**query).execute() == 1
    assert model.purge(**query, include_live=True).execute() == 0
    assert [row["code"] for row in bench.rows(model)] == ["b", "c", "d"]
    assert model.purge(older_than=timedelta(0)).execute() == 2


@pytest.mark.parametrize("age", [90, timedelta(days=-1), "90d"])
def test_an_age_is_a_timedelta(bench: Bench, age: Any) -> None:
    """Anything else raises `ConfigurationError` at once."""
    with pytest.raises(ConfigurationError, match="timedelta"):
        Item.purge(older_than=age)


def test_batches_go_oldest_first(bench: Bench, monkeypatch: Any) -> None:
    """Each is a transaction, so that an error keeps what went before it."""
    monkeypatch.setattr(purging, "BATCH", 2)
    rows = [Root.create(name=name) for name in "abcde"]
    for row in rows[::-1]:
        row.delete_instance()
    Branch.create(name="live", root=rows[1])
    with pytest.raises(StillReferencedError):
        Root.purge().execute()
    assert [row["name"] for row in bench.rows(Root)] == ["a", "b", "c"]
    assert {entry.old["name"] for entry in bench.entries(Root)[-2:]} == {"e", "d"}
    with pytest.raises(StillReferencedError), bench.db.atomic():
        Root.purge().where(Root.name != "c").execute()
    Branch.delete().execute()
    assert Root.purge().execute() == 3
    assert bench.rows(Branch) == []


@pytest.mark.parametrize("limit", [0, 1, 3, 5, 7])
def test_a_limit_holds_over_batches(bench: Bench, monkeypatch: Any, limit: int) -> None:
    """`limit` and `order_by` choose the rows, however large a batch is."""
    monkeypatch.setattr(purging, "BATCH", 2)
    made(Item, 6)
    Item.delete().execute()
    purge = Item.purge().order_by(Item.n.desc()).limit(limit)
    assert purge.execute() == min(limit, 6)
    assert [row["n"] for row in bench.rows(Item)] == list(range(6 - min(limit, 6)))


def test_an_age_holds_over_batches(bench: Bench, monkeypatch: Any) -> None:
    """All that is old enough goes, each batch in a transaction, and nothing else."""
    monkeypatch.setattr(purging, "BATCH", 2)
    made(Item, 7)
    Item.delete().where(Item.n < 6).execute()
    for code in "abcde":
        aged(bench, Item, 91, code)
    bench.forget()
    assert Item.purge(older_than=timedelta(days=90)).execute() == 5
    assert [row["code"] for row in bench.rows(Item)] == ["f", "g"]
    assert bench.actions(Item) == ["purge"] * 5
    transactions = AuditLog.select(AuditLog.transaction_id).distinct()
    assert transactions.count() == 3


def test_a_purge_may_name_other_rows(bench: Bench) -> None:
    """Sub-selects and common table expressions work as in a delete."""
    made(Item, 3)
    Item.delete().execute()
    chosen = Item.only_deleted(Item.id).where(Item.n == 1)
    assert Item.purge().where(Item.id.in_(chosen)).execute() == 1
    cte = Item.only_deleted(Item.id).where(Item.n == 2).cte("chosen")
    purge = Item.purge().with_cte(cte).where(Item.id.in_(cte.select(cte.c.id)))
    assert purge.execute() == 1
    assert [row["n"] for row in bench.rows(Item)] == [0]


def test_a_purge_returns_a_count_only(bench: Bench) -> None:
    """RETURNING is refused, and `sql()` names deleted rows only."""
    made(Item, 1)
    Item.delete().execute()
    with pytest.raises(ConfigurationError, match="count"):
        list(Item.purge().returning(Item))
    sql, _ = Item.purge().where(Item.n == 0).sql()
    assert sql.endswith('AND "soft_integer_items"."deleted_at" IS NOT NULL')
    assert "deleted_at" not in Item.purge(include_live=True).sql()[0]
    assert len(bench.rows(Item)) == 1


def test_dependents_go_first(bench: Bench, keys: None) -> None:
    """Three levels, a diamond, composite keys and rows without a key."""
    root = family()
    root.delete_instance(recursive=True)
    full = {m: [r for r in bench.rows(m) if r["deleted_at"]] for m in ALL}
    bench.forget()
    Remark.delete().execute()
    with pytest.raises(StillReferencedError):  # a live branch leans on it
        root.purge_instance()
    Branch.get(name="r-spare").delete_instance()
    assert root.purge_instance() == 1
    assert bench.live(Root) == ["r-other"]
    assert [len(bench.rows(m)) for m in ALL] == [1, 1, 0, 1, 1, 0]
    for model in (Branch, Leaf, Mark, Cell, Root):
        purged = [e.old for e in bench.entries(model) if e.action == "purge"]
        assert sorted(purged, key=repr) == full[model]
    order = AuditLog.select().where(AuditLog.action == "purge")
    written = order.order_by(AuditLog.created_at, AuditLog.id)
    tables = [entry.resource_type for entry in written]
    assert tables[-1] == "soft_roots"
    assert tables.index("soft_branches") > tables.index("soft_leaves")
    (remark,) = bench.rows(Remark)
    assert remark["root"] is None
    assert bench.actions(Remark) == ["delete", "update"]
    (branch,) = bench.rows(Branch)
    assert (branch["name"], branch["spare"]) == ("r-spare", None)


@pytest.mark.parametrize("make", [Branch, Remark, Mark, Cell])
@pytest.mark.parametrize("form", ["autocommit", "transaction"])
def test_live_rows_that_refer_to_it_keep_it(
    bench: Bench, keys: None, make: Any, form: str
) -> None:
    """`StillReferencedError`; nothing goes, and a transaction stays usable."""
    root, other = (Root.create(name=name) for name in "ab")
    named = {"row": 1, "column": 1} if make is Cell else {"name": "x"}
    make.insert(root=root, **named).execute()
    dead = Remark.create(name="dead", root=root)
    for row in (root, other, dead):
        row.delete_instance()
    bench.forget()
    before = [bench.rows(m) for m in (Root, Remark, make)]
    with bench.in_transaction(form):
        for purge in (root.purge_instance, Root.purge().execute):
            with pytest.raises(StillReferencedError) as caught:
                purge()
            assert caught.value.table == "soft_roots"
            assert make._meta.table_name in str(caught.value)
    assert [bench.rows(m) for m in (Root, Remark, make)] == before
    assert bench.entries(Root) == bench.entries(Remark) == []


def test_rows_of_models_without_marks_keep_it(bench: Bench, keys: None) -> None:
    """Also through a link that is declared CASCADE; SET NULL is the database's."""
    host = Host.create(name="h")
    host.delete_instance()
    guest = Guest.create(name="g", host=host)
    visitor = Visitor.create(name="v", other=host)
    with pytest.raises(StillReferencedError, match="soft_guests"):
        host.purge_instance()
    guest.delete_instance()
    with pytest.raises(StillReferencedError, match="soft_visitors"):
        host.purge_instance()
    Visitor.update(host=host, other=None).execute()
    assert host.purge_instance() == 1
    assert Visitor.get() == visitor
    if bench.engine == "postgresql" or bench.db.pragma("foreign_keys"):
        assert [row["host"] for row in bench.rows(Visitor)] == [None]


def test_a_deep_tree_in_one_table_goes_leaf_first(
    bench: Bench, keys: None, monkeypatch: Any
) -> None:
    """A link that is declared RESTRICT is checked row by row, in every batch."""
    monkeypatch.setattr("cmcore.models.dependents._AT_ONCE", 3)
    monkeypatch.setattr(purging, "BATCH", 4)
    top = Node.create(name="0", owner=1)
    row = top
    for i in range(1, 12):
        row = Node.create(name=str(i), owner=row, friend=top)
    top.delete_instance(recursive=True)
    full = sorted(bench.rows(Node), key=lambda r: int(r["id"]))
    bench.forget()
    assert top.purge_instance() == 1
    assert bench.rows(Node) == []
    old = [e.old for e in bench.entries(Node) if e.action == "purge"]
    assert sorted(old, key=lambda r: int(r["id"])) == full


def test_a_ring_in_two_tables_is_cut(bench: Bench, keys: None) -> None:
    """A nullable link of the ring becomes NULL first, and the trail has it."""
    hen = Hen.create(name="h")
    egg = Egg.create(name="e", hen=hen)
    hen.egg = egg
    hen.save()
    hen.delete_instance(recursive=True, delete_nullable=True)
    bench.forget()
    assert hen.purge_instance() == 1
    assert (bench.rows(Hen), bench.rows(Egg)) == ([], [])
    assert bench.actions(Egg) == ["purge"]
    assert bench.actions(Hen) == ["update", "purge"]


def test_users_with_customers_stay(bench: Bench, keys: None) -> None:
    """Without customers they go, and what they wrote names nobody."""
    with acting("alice"):
        customer = Customer.create(name="Ann", email="ann@a.org")
    with acting("bob"):
        customer.name = "Anna"
        customer.save()
    for name in ("alice", "bob"):
        assert User.get_by_id(name).delete_instance() == 1
    assert Customer.get().created_by.is_deleted  # authorship outlives a soft delete
    assert Customer.get().created_by_id == "alice"
    alice, bob = User.only_deleted().order_by(User.id)
    with pytest.raises(StillReferencedError):
        alice.purge_instance()
    assert bob.purge_instance() == 1
    enforced = bench.engine == "postgresql" or bench.db.pragma("foreign_keys")
    if enforced:
        assert Customer.get().updated_by_id is None
    customer.purge_instance()
    assert alice.purge_instance() == 1
    assert bench.live(User, "id") == ["system"]


def test_entries_of_the_trail_are_not_purged(bench: Bench) -> None:
    """`AppendOnlyError`, with rows or without; a deleted entry is itself an entry."""
    made(Item, 1)
    entry = AuditLog.get()
    calls = [
        entry.purge_instance,
        AuditLog.purge().execute,
        AuditLog.purge(include_live=True).execute,
        AuditLog.purge(older_than=timedelta(days=1)).execute,
    ]
    for call in calls:
        with pytest.raises(AppendOnlyError):
            call()
    with acting("alice"):
        assert entry.delete_instance() == 1
        assert entry.delete_instance() == 0
    for call in calls:
        with pytest.raises(AppendOnlyError):
            call()
    own = AuditLog.for_model(AuditLog).get()
    assert (own.action, own.resource_id, own.user_id) == ("delete", entry.id, "alice")
    assert set(own.new_values) == {"deleted_at", "deleted_by"}
    assert AuditLog.select().count() == 2  # deleted entries are still to be seen
    assert entry.restore_instance() == 1
    actions = [e.action for e in AuditLog.for_model(AuditLog)]
    assert actions == ["restore", "delete"]


def test_a_purge_stays_in_its_database(bench: Bench, make_url: Any) -> None:
    """It reads dependents as well, so the models are bound, not the query."""
    made(Item, 1)
    Item.delete().execute()
    other = peewee.SqliteDatabase(make_url("sqlite", migrated=True)[10:])
    with pytest.raises(ConfigurationError, match="bind_ctx"):
        Item.purge().execute(other)
    assert len(bench.rows(Item)) == 1
    with other.bind_ctx([Item]):
        other.create_tables([Item])
        cmcore.init(bench.db)
        row = Item.create(code="z")
        row.delete_instance()
        assert Item.purge().execute() == 1
    other.close()
    assert [row["code"] for row in bench.rows(Item)] == ["a"]
