"""Tables and statements that are out of the ordinary."""

from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from peewee import SQL

import cmcore
from cmcore import AuditLog
from tests import models
from tests.capture.bench import Bench
from tests.capture.witness import Witness

Item = models.ITEMS["integer"]


class Slot(cmcore.Model):
    """A unique pair that may hold NULL, and another that holds among open rows."""

    room = peewee.CharField(null=True)
    hour = peewee.IntegerField(null=True)
    name = peewee.CharField(null=True)
    is_open = peewee.BooleanField(default=True)

    class Meta:
        table_name = "slots"
        indexes = ((("room", "hour"), True),)


Slot.add_index(
    Slot.index(Slot.name, unique=True, where=Slot.is_open, name="open_names")
)


class Odd(cmcore.Model):
    """Names that need quotes everywhere."""

    key = peewee.AutoField(column_name="primary")
    order = peewee.IntegerField(column_name="Select From", null=True)
    old = peewee.CharField(column_name="new", unique=True)

    class Meta:
        table_name = "odd table"
        table_alias = "o"
        only_save_dirty = True


@pytest.fixture(autouse=True)
def tables(bench: Bench) -> Iterator[None]:
    """The tables of this file."""
    Odd._meta.schema = "main" if bench.engine == "sqlite" else "public"
    bench.db.create_tables([Slot, Odd])
    yield
    bench.db.drop_tables([Slot, Odd])


def told(*names: str) -> list[tuple[Any, ...]]:
    """Return action, key and the named new values of every entry."""
    query = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
    return [
        (row.action, row.resource_id, *((row.new_values or {}).get(n) for n in names))
        for row in query
    ]


def needs_version(bench: Bench, version: int) -> None:
    """Leave a claim about a newer PostgreSQL out where an older server is named."""
    if bench.engine == "postgresql" and bench.db.server_version < version:
        pytest.skip(f"the server that was named is older than {version // 10_000}")


def test_names_that_need_quotes(bench: Bench) -> None:
    """Reserved words, blanks, a schema and an alias of the table are no hindrance."""
    row = Odd.create(order=1, old="a")
    row.order = 2
    row.save()
    Odd.update(order=Odd.order + 1).where(Odd.old == "a").execute()
    Odd.insert(order=9, old="a").on_conflict(
        conflict_target=[Odd.old], preserve=[Odd.order]
    ).execute()
    other = Odd.alias()
    Odd.update(order=other.order + 1).from_(other).where(Odd.key == other.key).execute()
    Odd.delete().execute()
    assert told("order") == [
        ("create", "1", 1),
        ("update", "1", 2),
        ("update", "1", 3),
        ("update", "1", 9),
        ("update", "1", 10),
        ("delete", "1", None),
    ]
    assert {entry.resource_type for entry in AuditLog.select()} == {"odd table"}


def test_raw_old_and_new_in_returning(bench: Bench) -> None:
    """A caller's own OLD and NEW keep their meaning where the engine has them."""
    needs_version(bench, 180_000)
    if bench.engine == "sqlite":
        returning, expected = SQL('1, "n"'), [(1, 5)]
    else:
        returning, expected = SQL("old.n, new.n"), [(0, 5)]
    Item.create(code="a")
    query = Item.update(n=5).returning(returning).tuples()
    assert list(query.execute()) == expected
    assert [action for action, *_ in told()] == ["create", "update"]


def test_an_upsert_of_its_own_target_without_a_key(bench: Bench) -> None:
    """A row that only its old target tells from others is updated, not created."""
    needs_version(bench, 180_000)
    model = models.ITEMS["none"]
    bench.seed("none")
    model.insert(code="a", n=11).on_conflict(
        conflict_target=[model.code], update={model.code: "renamed", model.n: 6}
    ).execute()
    [entry] = bench.entries()
    assert entry.action == "update"
    assert entry.old == {"code": "a", "n": 1}
    assert entry.new == {"code": "renamed", "n": 6}


def test_null_in_a_conflict_target(bench: Bench) -> None:
    """NULL never collides, so each such row is a new one."""
    for hour in (1, 1, None, None):
        for room in ("r", None):
            Slot.insert(room=room, hour=hour, name=None).on_conflict(
                conflict_target=[Slot.room, Slot.hour], update={Slot.is_open: False}
            ).execute()
    actions = [action for action, *_ in told()]
    assert actions.count("create") == Slot.select().count() == 7
    assert actions.count("update") == Slot.select().where(~Slot.is_open).count() == 1


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("sqlite", None),
        pytest.param("postgresql", 180_000, marks=pytest.mark.postgresql),
        pytest.param("postgresql", 150_000, marks=pytest.mark.postgresql),
    ],
)
def test_a_partial_index_as_conflict_target(
    bench: Bench,
    hooks: bool,
    version: int | None,
    plugin: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only rows inside the index are in the way of an upsert."""
    if version:
        needs_version(bench, version)
        monkeypatch.setattr(bench.db, "server_version", version)
    witness = plugin(Witness()) if hooks else None
    closed = Slot.create(name="a", is_open=False, hour=1)
    for hour in (2, 3):
        Slot.insert(name="a", hour=hour).on_conflict(
            conflict_target=[Slot.name],
            conflict_where=Slot.is_open,
            preserve=[Slot.hour],
        ).execute()
    assert [(action, hour) for action, _, hour in told("hour")] == [
        ("create", 1),
        ("create", 2),
        ("update", 3),
    ]
    assert Slot.get_by_id(closed.id).hour == 1
    if witness is not None:
        verbs = ["create", "create", "update"]
        assert [verb for verb, _ in witness.before] == verbs
        assert [verb for verb, _ in witness.after] == verbs
    update = AuditLog.get(AuditLog.action == "update")
    assert (update.old_values, update.new_values) == ({"hour": 2}, {"hour": 3})


@pytest.mark.parametrize("engine", ["sqlite"])
def test_one_statement_that_meets_its_own_rows(bench: Bench) -> None:
    """A row that a statement adds and changes again is created once, as it ends."""
    Item.insert_many([{"code": "x", "n": 1}, {"code": "x", "n": 2}]).on_conflict(
        conflict_target=[Item.code], preserve=[Item.n]
    ).execute()
    assert told("n") == [("create", "1", 2)]
    Item.replace_many([{"code": "y", "n": 1}, {"code": "y", "n": 2}]).execute()
    [_, created] = told("n")
    assert created == ("create", str(Item.get(Item.code == "y").id), 2)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_replace_through_a_partial_index(bench: Bench) -> None:
    """Rows outside a partial unique index stay where they are."""
    Slot.create(name="a", is_open=False, hour=1)
    Slot.create(name="a", is_open=True, hour=2)
    Slot.replace(name="a", hour=3).execute()
    assert [(action, hour) for action, _, hour in told("hour")] == [
        ("create", 1),
        ("create", 2),
        ("delete", None),
        ("create", 3),
    ]
    assert Slot.select().where(~Slot.is_open).count() == 1


@pytest.mark.parametrize("engine", ["sqlite"])
def test_an_after_trigger_shows_in_the_update(bench: Bench) -> None:
    """What a trigger makes of an updated row is what the trail says of it."""
    bench.db.execute_sql(
        "CREATE TRIGGER doubled AFTER UPDATE OF n ON integer_items BEGIN "
        "UPDATE integer_items SET n = n * 2 WHERE id = new.id; END"
    )
    try:
        Item.create(code="a")
        Item.update(n=4).execute()
    finally:
        bench.db.execute_sql("DROP TRIGGER doubled")
    assert told("n") == [("create", "1", 0), ("update", "1", 8)]


def test_the_peewee_logger_shows_the_callers_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The `peewee` logger has exactly what plain peewee would have sent."""
    plain = models.PLAIN["integer"]
    logged = []
    for m in (plain, Item):
        caplog.clear()
        with caplog.at_level("DEBUG", logger="peewee"):
            m.create(code="a")
            m.update(n=m.n + 1).where(m.code == "a").execute()
            m.insert(code="a").on_conflict(
                conflict_target=[m.code], preserve=[m.n]
            ).execute()
            m.delete().where(m.n == 0).execute()
        logged.append([r.msg for r in caplog.records if r.name == "peewee"])
    assert logged[0] == logged[1]
    assert len(logged[0]) == 4


def test_defaults_run_once(bench: Bench, plugin: Callable[..., Any]) -> None:
    """A default that is a function runs once a row, trials and hooks or not."""
    calls: list[str] = []

    def default() -> str:
        calls.append(f"n{len(calls)}")
        return calls[-1]

    class Defaulted(cmcore.Model):
        """Counts the calls of its default."""

        name = peewee.CharField(default=default)
        code = peewee.IntegerField(unique=True)

        class Meta:
            table_name = "defaulted"

    class Watching:
        """Has a hook before and one after."""

        @staticmethod
        @cmcore.hookimpl
        def cmcore_before_create(changes: Any) -> None:
            """Look."""

        @staticmethod
        @cmcore.hookimpl
        def cmcore_after_create(changes: Any) -> None:
            """Look."""

    plugin(Watching())
    bench.db.create_tables([Defaulted])
    try:
        Defaulted.insert_many({"code": i} for i in range(3)).execute()
        Defaulted.insert(code=9).on_conflict(
            conflict_target=[Defaulted.code], preserve=[Defaulted.name]
        ).execute()
        names = sorted(row.name for row in Defaulted.select())
        assert names == ["n0", "n1", "n2", "n3"]
        assert len(calls) == 4
    finally:
        bench.db.drop_tables([Defaulted])


@pytest.mark.parametrize("way", ["default_values", "empty_create"])
def test_default_values(bench: Bench, way: str) -> None:
    """An insert without any column is recorded with what the database filled in."""
    model = models.Measurement
    key = model.insert().execute() if way == "default_values" else model.create().id
    assert told("id") == [("create", str(key), key)]
