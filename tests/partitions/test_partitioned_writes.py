"""Writes and reads of a partitioned trail, and of an application's own partitions."""

from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.keys import now
from cmcore.models import AuditLog, User
from cmcore.partitions.months import Month
from tests.partitions.tables import add, places

pytestmark = pytest.mark.postgresql

THIS = Month.of(now())


class Reading(cmcore.Model):
    """A row of a table with two partitions, in which rows have equal places."""

    id = peewee.IntegerField(primary_key=True)
    value = peewee.IntegerField()

    class Meta:
        table_name = "readings"


class Signal(cmcore.Model):
    """The same without a key."""

    number = peewee.IntegerField()
    value = peewee.IntegerField()

    class Meta:
        table_name = "signals"
        primary_key = False


@pytest.fixture
def parted(server: peewee.Database) -> Iterator[peewee.Database]:
    """A database with partitioned tables of an application."""
    with server.bind_ctx([Reading, Signal]):
        for table, column in (("readings", "id"), ("signals", "number")):
            server.execute_sql(
                f"CREATE TABLE {table} ({column} integer NOT NULL,"
                f" value integer NOT NULL) PARTITION BY RANGE ({column})"
            )
            for start in (0, 100):
                server.execute_sql(
                    f"CREATE TABLE {table}_{start} PARTITION OF {table}"
                    f" FOR VALUES FROM ({start}) TO ({start + 100})"
                )
        yield server


class Watching:
    """A plugin that is told before each update and delete."""

    def __init__(self) -> None:
        """Keep what was seen."""
        self.seen: list[Any] = []

    @cmcore.hookimpl
    def cmcore_before_update(self, changes: list[cmcore.Change]) -> None:
        """Keep the values from before."""
        self.seen += [(dict(c.old or {}), dict(c.new or {})) for c in changes]

    @cmcore.hookimpl
    def cmcore_before_delete(self, changes: list[cmcore.Change]) -> None:
        """Keep the keys."""
        self.seen += [c.key for c in changes]


@pytest.mark.parametrize("model", [Reading, Signal])
def test_rows_at_the_same_place_of_two_partitions_are_two(
    parted: peewee.Database, plugin: Callable[..., Any], model: Any
) -> None:
    """An update which a plugin is shown first changes the rows it was shown."""
    watching = plugin(Watching())
    name = "id" if model is Reading else "number"
    model.insert_many([{name: 1, "value": 10}, {name: 101, "value": 20}]).execute()
    first = getattr(model, name) == 1
    assert model.update(value=11).where(first).execute() == 1
    assert sorted(model.select(model.value).tuples()) == [(11,), (20,)]
    assert model.update(value=model.value + 1).execute() == 2
    assert sorted(model.select(model.value).tuples()) == [(12,), (21,)]
    assert watching.seen == [
        ({"value": 10}, {"value": 11}),
        ({}, {}),  # what the database computes is not known before
        ({}, {}),
    ]
    assert model.delete().where(first).execute() == 1
    assert list(model.select(model.value).tuples()) == [(21,)]


@pytest.mark.parametrize("model", [Reading, Signal])
def test_a_row_that_comes_later_to_the_same_place_is_not_touched(
    parted: peewee.Database, plugin: Callable[..., Any], model: Any
) -> None:
    """A plugin adds one to the other partition while it is shown the first."""
    name = "id" if model is Reading else "number"

    class Adding:
        """A plugin that writes before an update."""

        @cmcore.hookimpl
        def cmcore_before_update(self) -> None:
            """Add a row that the update would hit as well."""
            parted.execute_sql(
                f"INSERT INTO {model._meta.table_name} VALUES (101, 10)"  # noqa: S608
            )

    plugin(Adding())
    model.insert({name: 1, "value": 10}).execute()
    assert model.update(value=11).where(model.value == 10).execute() == 1
    assert sorted(model.select().tuples()) == [(1, 11), (101, 10)]


def test_entries_go_to_the_partition_of_their_moment(
    converted: peewee.Database,
) -> None:
    """A write of today, and one of a clock that is far ahead."""
    cmcore.record("export", resource_type="reports", description="A report.")
    add(converted, [THIS.shifted(3).start, THIS.shifted(40).start])
    found = places(converted)
    assert len(found) == 3
    assert found[f"audit_logs_{THIS.shifted(3)}"] == 1
    assert found["audit_logs_default"] == 1


def test_the_trail_is_read_as_before(converted: peewee.Database) -> None:
    """By row, by user, by time, and newest first across partitions."""
    ada = User.create(
        email="ada@example.com", password_hash="!unusable", full_name="Ada"
    )
    with cmcore.acting_as(ada):
        ada.full_name = "Ada L."
        ada.save()
    add(converted, [THIS.shifted(2).start, THIS.shifted(3).start])
    assert [e.action for e in AuditLog.for_instance(ada)] == ["update", "create"]
    assert AuditLog.by_user(ada).count() == 1
    moments = [entry.created_at for entry in AuditLog.trail()]
    assert moments == sorted(moments, reverse=True)
    ahead = AuditLog.between(THIS.shifted(2).start, THIS.shifted(2).end)
    assert [e.resource_type for e in ahead] == ["invoices"]
    assert AuditLog.get_by_id("e000001").created_at == THIS.shifted(3).start


def test_an_entry_is_soft_deleted_and_restored(
    converted: peewee.Database, plugin: Callable[..., Any]
) -> None:
    """In its partition, with an entry of its own, also where a plugin watches."""
    watching = plugin(Watching())
    add(converted, [now(), THIS.shifted(3).start])
    for key in ("e000000", "e000001"):
        entry = AuditLog.get_by_id(key)
        entry.delete_instance()
        assert AuditLog.get_by_id(key).is_deleted
        AuditLog.get_by_id(key).restore_instance()
        assert not AuditLog.get_by_id(key).is_deleted
        actions = [e.action for e in AuditLog.for_instance(entry)]
        assert actions == ["restore", "delete"]
    assert watching.seen == ["e000000", "e000001"]


def test_a_user_who_is_purged_leaves_all_partitions(
    converted: peewee.Database,
) -> None:
    """The foreign key sets NULL wherever the entries lie."""
    ada = User.create(
        email="ada@example.com", password_hash="!unusable", full_name="Ada"
    )
    add(converted, [THIS.shifted(2).start, THIS.shifted(3).start])
    converted.execute_sql(
        "UPDATE audit_logs SET user_id = %s WHERE resource_type = 'invoices'",
        (ada.id,),
    )
    assert AuditLog.by_user(ada).count() == 2
    ada.purge_instance()
    found = AuditLog.select().where(AuditLog.resource_type == "invoices")
    assert [entry.user_id for entry in found] == [None, None]


def test_hooks_see_the_entries_after_the_commit(
    converted: peewee.Database, plugin: Callable[..., Any]
) -> None:
    """Whichever partition they are in."""

    class Seeing:
        """A plugin that is told of entries."""

        seen: list[str]

        @cmcore.hookimpl
        def cmcore_after_commit(self, entries: list[AuditLog]) -> None:
            """Keep what they describe."""
            self.seen = [entry.action for entry in entries]

    seeing = plugin(Seeing())
    with converted.atomic():
        cmcore.record("export", resource_type="reports", description="A report.")
        with converted.atomic() as savepoint:
            cmcore.record("login_failed", resource_type="users", description="No.")
            savepoint.rollback()
    assert seeing.seen == ["export"]
