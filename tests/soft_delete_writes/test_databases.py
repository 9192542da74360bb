"""Databases of other kinds: with the trail alone, pooled, and bound for a block."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest
from playhouse import db_url

import cmcore
from cmcore import AuditLog, RestoreConflictError, StaleDeletedError
from tests.conftest import unbind
from tests.soft_delete_writes.bench import Bench, made
from tests.soft_delete_writes.models import Acted, ActedLast, Branch, Item, Root
from tests.soft_delete_writes.test_recursion import NEAR


class OwnBase(cmcore.SoftDeleteMixin, cmcore.Model):
    """A base model whose rows are marked, before anybody said by whom."""


class ActedDerived(cmcore.ActorMixin, OwnBase):
    """Adds plain user ids to it."""

    name = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_acted_derived"


@pytest.fixture
def trail_only(engine: str, make_url: Any) -> Iterator[peewee.Database]:
    """A database with an application's own users."""
    db = cmcore.connect(make_url(engine))
    cmcore.migrate(db, trail_only=True)
    try:
        yield db
    finally:
        db.close()
        unbind()


@pytest.mark.parametrize("model", [Acted, ActedLast, ActedDerived])
def test_user_ids_are_taken_as_given_beside_a_trail_alone(
    trail_only: peewee.Database, model: Any
) -> None:
    """There is no table `users`: `deleted_by` is a plain column."""
    trail_only.create_tables([model])
    row = model.create(name="x")
    with cmcore.acting_as("anybody"):
        assert row.delete_instance(recursive=True) == 1
    assert (row.deleted_by, row.is_deleted) == ("anybody", True)
    stale = model.only_deleted().get()
    assert stale.deleted_by == "anybody"
    with pytest.raises(StaleDeletedError, match="anybody"):
        stale.save()
    assert row.restore_instance(recursive=True) == 1
    row.delete_instance()
    assert model.purge().execute() == 1
    actions = [e.action for e in AuditLog.for_model(model)]
    assert actions == ["purge", "delete", "restore", "delete", "create"]


def test_a_pooled_database_of_an_application(engine: str, make_url: Any) -> None:
    """Every call works on a connection of the pool."""
    name, _, rest = make_url(engine, migrated=True).partition("://")
    options: dict[str, Any] = {}
    if engine == "sqlite":
        options = {"pragmas": {"foreign_keys": 1}}
    db: Any = db_url.connect(f"{name}+pool://{rest}", max_connections=3, **options)
    cmcore.init(db)
    try:
        with db.connection_context():
            db.create_tables(NEAR)
            root = Root.create(name="r")
            Branch.create(name="b", root=root)
        with db.connection_context():
            assert root.delete_instance(recursive=True) == 1
        with db.connection_context():
            assert Branch.select().count() == 0
            assert root.restore_instance(recursive=True) == 1
            assert Branch.select().count() == 1
            assert root.delete_instance(recursive=True) == 1
            rival = Root.create(name="r")
            with db.atomic(), pytest.raises(RestoreConflictError):
                root.restore_instance()
            rival.delete_instance()
            assert Root.purge().execute() == 2
    finally:
        db.close_all()
        unbind()


def test_a_block_with_another_database(bench: Bench, make_url: Any) -> None:
    """Rows and entries go to the database that the models are bound to."""
    other = cmcore.connect(make_url(bench.engine, migrated=True))
    cmcore.init(bench.db)
    root = Root.create(name="r")
    Branch.create(name="b", root=root)
    bench.forget()
    try:
        with other.bind_ctx([*NEAR, AuditLog]):
            other.create_tables(NEAR)
            away = Root.create(name="r")
            Branch.create(name="b", root=away)
            assert away.delete_instance(recursive=True) == 1
            assert away.restore_instance(recursive=True) == 1
            away.delete_instance(recursive=True)
            assert Branch.with_deleted().count() == 1
            assert away.purge_instance() == 1
            assert Branch.with_deleted().count() == 0
            entries = AuditLog.for_model(Branch)
            actions = [entry.action for entry in entries]
            assert actions == ["purge", "delete", "restore", "delete", "create"]
    finally:
        other.close()
    assert (bench.live(Root), bench.live(Branch)) == (["r"], ["b"])
    assert bench.entries(Root) == bench.entries(Branch) == []


def test_a_query_for_another_database(bench: Bench, make_url: Any) -> None:
    """`execute(database)` marks there, restores there, and names the rival there."""
    other = cmcore.connect(make_url(bench.engine, migrated=True))
    cmcore.init(bench.db)
    made(Item, 1)
    try:
        with other.bind_ctx([Item]):
            other.create_tables([Item])
            made(Item, 2)
        assert Item.delete().execute(other) == 2
        assert Item.restore().where(Item.code == "b").execute(other) == 1
        with other.bind_ctx([Item]):
            rival = Item.create(code="a")
        with pytest.raises(RestoreConflictError) as caught:
            Item.restore().execute(other)
        assert caught.value.key == rival.id
    finally:
        other.close()
    assert bench.live(Item, "code") == ["a"]
    assert bench.actions(Item) == ["create"]
