"""The trail itself: what an entry holds, how entries are found, and who may not."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import peewee
import pytest

import cmcore
from cmcore.models import AuditLog, User
from cmcore.values import decode, key_text
from tests.conftest import connected

DAY = timedelta(days=1)
KEY = UUID("12345678-1234-5678-1234-567812345678")


class Part(cmcore.Model):
    """A row with an automatic key."""

    name = peewee.TextField(null=True)
    price = peewee.DecimalField(null=True)
    weight = peewee.DoubleField(null=True)

    class Meta:
        table_name = "audit_parts"


class Shelf(cmcore.Model):
    """A row with a composite key."""

    row = peewee.CharField()
    place = peewee.IntegerField()
    label = peewee.TextField(null=True)

    class Meta:
        table_name = "audit_shelves"
        primary_key = peewee.CompositeKey("row", "place")


class Long(cmcore.Model):
    """A row whose key may be longer than the trail's column."""

    name = peewee.TextField(primary_key=True)

    class Meta:
        table_name = "audit_longs"


class Keyed(cmcore.Model):
    """A row with a UUID for a key."""

    id = peewee.UUIDField(primary_key=True)

    class Meta:
        table_name = "audit_keyed"


class Keyless(cmcore.Model):
    """A row without a primary key."""

    name = peewee.TextField()

    class Meta:
        table_name = "audit_keyless"
        primary_key = False


class Odd:
    """An object of which JSON knows nothing, and which cannot even show itself."""

    def __repr__(self) -> str:
        raise ValueError


class OddField(peewee.TextField):
    """A field whose values come back as objects that cannot be encoded."""

    def python_value(self, value: Any) -> Any:
        """Return the object."""
        return value and Odd()

    def db_value(self, value: Any) -> Any:
        """Take texts only."""
        if isinstance(value, Odd):
            raise TypeError
        return value


class Strange(cmcore.Model):
    """A row with a value that cannot be encoded beside one that can."""

    odd = OddField(null=True)
    n = peewee.IntegerField()

    class Meta:
        table_name = "audit_strange"


MODELS = [Part, Shelf, Long, Keyed, Keyless, Strange]


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file, on each engine."""
    database.create_tables(MODELS)
    return database


def newest(model: type[peewee.Model]) -> AuditLog:
    """Return the newest entry of a model."""
    return AuditLog.for_model(model).get()


def test_an_entry_holds_the_change(db: peewee.Database) -> None:
    """Action, table, key, sentence, values and transaction of each kind of write."""
    part = Part.create(name="bolt", price=Decimal("1.50"))
    part.price = Decimal("2.50")
    part.save()
    part.delete_instance()
    deleted, updated, created = AuditLog.for_instance(part)
    assert [e.action for e in (created, updated, deleted)] == [
        "create",
        "update",
        "delete",
    ]
    for entry in (created, updated, deleted):
        assert (entry.resource_type, entry.resource_id) == ("audit_parts", str(part.id))
        assert entry.success is True
        assert entry.created_at.tzinfo is UTC
        assert UUID(entry.transaction_id).version == 7
        assert (entry.created_by_id, entry.updated_by_id) == (None, None)
    assert created.old_values is None
    assert created.new_values == {
        "id": part.id,
        "name": "bolt",
        "price": created.new_values["price"],
        "weight": None,
    }
    assert list(updated.old_values) == list(updated.new_values) == ["price"]
    assert decode(Part.price, updated.old_values["price"]) == Decimal("1.50")
    assert decode(Part.price, updated.new_values["price"]) == Decimal("2.50")
    assert deleted.new_values is None
    assert set(deleted.old_values) == {"id", "name", "price", "weight"}
    assert updated.description == f"system updated audit_parts {part.id} (price)"


def test_one_transaction_has_one_id(db: peewee.Database) -> None:
    """Entries of one outermost transaction share an id, and others have another one."""
    with db.atomic():
        Part.create(name="a")
        with db.atomic():
            Part.create(name="b")
    Part.create(name="c")
    with db.atomic() as transaction:
        Part.create(name="d")
        transaction.commit()
        Part.create(name="e")
    ids = {e.new_values["name"]: e.transaction_id for e in AuditLog.for_model(Part)}
    assert ids["a"] == ids["b"]
    assert len(set(ids.values())) == 4


def test_selects_of_the_trail_chain_in_any_order(db: peewee.Database) -> None:
    """Each of the four selects narrows any other one, and the newest comes first."""
    user = User.create(
        id="u1", email="u@example.com", full_name="U U", password_hash="!unusable"
    )
    first, second = Part.create(name="a"), Part.create(name="b")
    with cmcore.acting_as(user):
        Part.update(name="c").execute()
        Shelf.create(row="r", place=1)
    now = datetime.now(UTC)
    by_user = [e.resource_type for e in AuditLog.by_user(user)]
    assert by_user == ["audit_shelves", "audit_parts", "audit_parts"]
    assert AuditLog.by_user("u1").count() == 3
    chains: list[Callable[[], Any]] = [
        lambda: AuditLog.for_model(Part).by_user(user).between(now - DAY, now + DAY),
        lambda: AuditLog.between(now - DAY, now + DAY).by_user("u1").for_model(Part),
        lambda: AuditLog.by_user(user).for_model(Part).where(AuditLog.success),
    ]
    for chain in chains:
        assert {e.resource_id for e in chain()} == {str(first.id), str(second.id)}
    [entry] = AuditLog.by_user(user).for_instance(second)
    assert entry.new_values == {"name": "c"}
    assert [e.action for e in AuditLog.for_instance(first)] == ["update", "create"]
    assert AuditLog.for_model(Part).limit(1).get() == AuditLog.for_model(Part)[0]


def test_between_holds_its_start_and_not_its_end(db: peewee.Database) -> None:
    """`between` is half open, takes None for no bound, and refuses naive moments."""
    Part.create(name="a")
    at = newest(Part).created_at
    tick = timedelta(microseconds=1)
    assert AuditLog.between(at, at + tick).count() == 1
    assert AuditLog.between(at - tick, at).count() == 0
    assert AuditLog.between(None, at).count() == AuditLog.trail().count() - 1
    assert AuditLog.between(at, None).count() == 1
    assert AuditLog.between(None, None).count() == AuditLog.trail().count()
    with pytest.raises(cmcore.NaiveDatetimeError):
        AuditLog.between(datetime(2024, 1, 1), at).count()  # noqa: DTZ001


def test_soft_deleted_entries_are_still_found(db: peewee.Database) -> None:
    """Every way to read the trail includes entries that are marked deleted."""
    part = Part.create(name="a")
    db.execute_sql("UPDATE audit_logs SET deleted_at = created_at")
    assert AuditLog.select().count() == 1
    assert part.history().count() == AuditLog.for_model(Part).count() == 1


def test_history_begins_at_the_newest_creation(db: peewee.Database) -> None:
    """A row that got the key of a deleted one does not show the other's history."""
    old = Long.create(name="k")
    old.delete_instance()
    new = Long.create(name="k")
    assert [e.action for e in new.history()] == ["create"]
    assert [e.action for e in AuditLog.for_instance(new)] == [
        "create",
        "delete",
        "create",
    ]
    new.delete_instance()
    assert [e.action for e in new.history()] == ["delete", "create"]
    assert new.history().where(AuditLog.action == "delete").count() == 1


def test_history_is_read_from_the_rows_own_database(
    db: peewee.Database, engine: str, make_url: Any
) -> None:
    """An object bound to a second database has its history there, not in the first."""
    Long.create(name="k")
    other = cmcore.connect(make_url(engine, migrated=True))
    cmcore.init(db)
    try:
        with other.bind_ctx([Long]):
            other.create_tables([Long])
            elsewhere = Long.create(name="k")
            assert elsewhere.history().get().id != newest(Long).id
            assert elsewhere.history().count() == 1
        assert other.execute_sql("SELECT count(*) FROM audit_logs").fetchone() == (1,)
        assert AuditLog.for_model(Long).count() == 1
    finally:
        other.close()


def test_keys_of_every_kind_become_text(db: peewee.Database) -> None:
    """Integer, UUID, composite, long and missing keys stand in `resource_id`."""
    shelf = Shelf.create(row='a"b', place=3)
    assert newest(Shelf).resource_id == json.dumps(['a"b', 3], separators=(",", ":"))
    assert AuditLog.for_instance(shelf).count() == 1
    keyed = Keyed.create(id=KEY)
    assert newest(Keyed).resource_id == str(KEY)
    assert keyed.history().count() == 1
    Keyless.create(name="x")
    assert newest(Keyless).resource_id is None
    assert newest(Keyless).new_values == {"name": "x"}


@pytest.mark.parametrize(("length", "hashed"), [(255, False), (256, True), (900, True)])
def test_a_key_longer_than_its_column_is_recorded_as_a_digest(
    db: peewee.Database, length: int, hashed: bool
) -> None:
    """255 characters fit; a longer key is `sha256:` and found again all the same."""
    row = Long.create(name="ä" * length)
    text = newest(Long).resource_id or ""
    assert text.startswith("sha256:") is hashed
    assert text == key_text("ä" * length)
    assert row.history().count() == 1


def test_an_unencodable_value_never_stops_a_write(
    db: peewee.Database,
) -> None:
    """It is recorded as a placeholder, and the values beside it as they are."""
    row = Strange.create(odd="x", n=1)
    Strange.update(n=2, odd="y").execute()
    Strange.delete().execute()
    entries = list(AuditLog.for_instance(row))
    assert [e.action for e in entries] == ["delete", "update", "create"]
    assert entries[2].new_values["n"] == 1
    assert "Odd" in json.dumps(entries[2].new_values["odd"])


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, 1e300])
def test_odd_floats_survive_the_trip(db: peewee.Database, weight: float) -> None:
    """NaN and infinities decode to what the table holds; SQLite holds NaN as NULL."""
    for _ in range(2):
        Part.insert(weight=weight).execute()
    Part.update(weight=1.0).execute()
    Part.update(weight=weight).execute()
    Part.update(weight=weight).execute()
    held = repr(Part.select().first().weight)
    assert held in {repr(weight), "None"}
    entries = list(AuditLog.for_model(Part))
    assert [e.action for e in entries] == ["update"] * 4 + ["create"] * 2
    for i, values in enumerate(e.new_values for e in entries):
        expected = "1.0" if i in {2, 3} else held
        assert repr(decode(Part.weight, values["weight"])) == expected
    assert json.loads(json.dumps(entries[0].new_values, allow_nan=False))


def test_a_nul_in_a_text_is_recorded(db: peewee.Database) -> None:
    """U+0000 is escaped where the table can hold it; where not, nothing is written."""
    if isinstance(db, peewee.SqliteDatabase):
        Long.create(name="a\0b")
        assert decode(Long.name, newest(Long).new_values["name"]) == "a\0b"
        assert newest(Long).resource_id == key_text("a\0b")
    else:
        with pytest.raises(cmcore.InvalidValueError, match=r"U\+0000"):
            Long.create(name="a\0b")
        assert (Long.select().count(), AuditLog.select().count()) == (0, 0)


def test_entries_are_ordered_as_they_were_written(db: peewee.Database) -> None:
    """Ordering by (`created_at`, `id`) gives the order of writing, bulk included."""
    for i in range(0, 60, 3):
        Part.create(name=i)
        Part.insert_many([{"name": i + 1}, {"name": i + 2}]).execute()
    with db.atomic():
        Part.insert_many([{"name": i} for i in range(60, 80)]).execute()
    ordered = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
    assert [int(e.new_values["name"]) for e in ordered] == list(range(80))
    newest_first = [int(e.new_values["name"]) for e in AuditLog.for_model(Part)]
    assert newest_first == list(range(79, -1, -1))


def test_replace_shows_its_delete_before_its_create(make_url: Any) -> None:
    """The row pushed out by REPLACE is recorded before the one that came."""
    with connected(make_url("sqlite", migrated=True)) as db:
        db.create_tables([Shelf])
        Shelf.create(row="r", place=1, label="old")
        Shelf.replace(row="r", place=1, label="new").execute()
        entries = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
        labels = [(e.action, (e.new_values or e.old_values)["label"]) for e in entries]
    assert labels == [("create", "old"), ("delete", "old"), ("create", "new")]


def test_user_id_is_never_null(db: peewee.Database) -> None:
    """With no user, an empty block, or an unnamed one, the system has acted."""
    Part.create(name="a")
    with cmcore.acting_as(reason="no user"):
        Part.create(name="b")
        cmcore.record("x", resource_type="r", description="d")
    assert {e.user_id for e in AuditLog.select()} == {"system"}


FORBIDDEN: dict[str, Callable[[AuditLog], Any]] = {
    "save": lambda e: e.save(),
    "update": lambda e: AuditLog.update(action="x").execute(),
    "update nothing": lambda e: AuditLog.update(action="x").where(False).execute(),
    "set_by_id": lambda e: AuditLog.set_by_id(e.id, {"action": "x"}),
    "bulk_update": lambda e: AuditLog.bulk_update([e], ["action"]),
    "purge": lambda e: AuditLog.purge(include_live=True).execute(),
    "purge_instance": lambda e: e.purge_instance(),
    "upsert": lambda e: (
        AuditLog.insert(e.__data__)
        .on_conflict(conflict_target=[AuditLog.id], update={"action": "x"})
        .execute()
    ),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_entries_cannot_be_changed_or_removed(db: peewee.Database, name: str) -> None:
    """Every way of the ORM to update or remove an entry raises `AppendOnlyError`."""
    Part.create(name="a")
    entry = newest(Part)
    entry.action = "changed"
    with pytest.raises(cmcore.AppendOnlyError, match="audit_logs") as caught:
        FORBIDDEN[name](entry)
    assert caught.value.operation in str(caught.value)
    assert [e.action for e in AuditLog.select()] == ["create"]


def test_entries_cannot_be_replaced(make_url: Any) -> None:
    """REPLACE of an entry raises `AppendOnlyError` too."""
    with connected(make_url("sqlite", migrated=True)) as db:
        db.create_tables([Part])
        Part.create(name="a")
        with pytest.raises(cmcore.AppendOnlyError):
            AuditLog.replace(newest(Part).__data__).execute()
        assert newest(Part).action == "create"


def test_an_entry_shows_what_it_is(database: peewee.Database) -> None:
    """Its repr names action, row and user, as far as they were read; no value."""
    with cmcore.acting_as("system"):
        cmcore.record("export", resource_type="reports", description="Sales")
    user = User.create(
        id="ada", email="ada@example.org", full_name="Ada", password_hash="!" * 8
    )
    with cmcore.acting_as(user):
        User.update(full_name="Ada L.").where(User.id == "ada").execute()
    shown = [repr(entry) for entry in AuditLog.trail()]
    assert shown == [
        "<AuditLog update users/ada by ada@example.org>",
        "<AuditLog create users/ada by system>",
        "<AuditLog export reports by system@cmcore.invalid>",
    ]
    part = AuditLog.select(AuditLog.action).first()
    assert repr(part).startswith("<AuditLog ")
