"""What is not ready, or not to be had: no schema, no database, a lock, a kept row."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.models import AuditLog, Customer, User
from tests.conftest import connected, unbind


class Shelf(cmcore.AuditMixin, cmcore.Model):
    """Refers to users."""

    class Meta:
        table_name = "not_ready_shelves"


class Unknown(cmcore.Model):
    """A model of an application."""

    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "not_ready"


@pytest.fixture
def referring() -> Iterator[list[Any]]:
    """Models with ordinary references, which no other test has to reckon with."""
    meta = {"Meta": type("Meta", (), {"table_name": "not_ready_notes"})}
    models: list[Any] = []
    for kind in (peewee.ForeignKeyField, cmcore.fields.ForeignKeyField):
        for other in (User, Customer, AuditLog):
            fields = {"about": kind(other, backref="+"), **meta}
            models.append(type("Note", (cmcore.Model,), fields))
    yield models
    for model in models:
        model._meta.remove_ref(model.about)


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file, on each engine."""
    database.create_tables([Shelf, Unknown])
    return database


def customer() -> dict[str, Any]:
    """Return what a customer needs."""
    return {"email": "new@example.com", "name": "New", "created_by": "system"}


def snapshot() -> list[Any]:
    """Return all rows of users and of the trail."""
    return [sorted(m.select().tuples(), key=repr) for m in (User, AuditLog)]


USES: dict[str, Callable[[], Any]] = {
    "select": lambda: list(User.select()),
    "get": lambda: User.get_or_none(User.id == "x"),
    "count": lambda: Customer.select().count(),
    "exists": lambda: Customer.select().exists(),
    "scalar": lambda: Customer.select(peewee.fn.MAX(Customer.name)).scalar(),
    "iterator": lambda: list(User.select().iterator()),
    "trail": lambda: AuditLog.for_model(User).first(),
    "record": lambda: cmcore.record("a", resource_type="r", description="d"),
    "create": lambda: Customer.create(**customer()),
    "update": lambda: User.update(full_name="x y").execute(),
    "delete": lambda: Customer.delete().execute(),
    "application": lambda: Unknown.create(n=1),
}


def test_before_migrate_every_use_says_so(
    empty_database: peewee.Database, referring: list[Any]
) -> None:
    """Reading, writing and referring tables name the scripts that are pending."""
    db = empty_database
    db.create_tables([Unknown])
    uses = {
        **USES,
        "create_table": Shelf.create_table,
        "create_tables": lambda: db.create_tables([Shelf]),
        **{f"reference {i}": m.create_table for i, m in enumerate(referring)},
    }
    scripts = tuple(cmcore.pending(db))
    assert len(scripts) == 7
    assert ways_out(uses) == dict.fromkeys(uses, scripts)
    assert Unknown.select().count() == 0
    cmcore.migrate(db)
    assert ways_out(uses) == dict.fromkeys(uses)


def test_after_a_rollback_every_use_says_so(db: peewee.Database) -> None:
    """A schema that is one script behind the models is refused for reads and writes."""
    list(User.select())
    cmcore.rollback(db)
    assert ways_out(USES) == dict.fromkeys(USES, ("007_add_account_security",))


def ways_out(uses: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return the pending scripts that each use names, or its other error."""
    found: dict[str, Any] = dict.fromkeys(uses)
    for name, use in uses.items():
        try:
            use()
        except cmcore.PendingMigrationsError as error:
            found[name] = (
                error.pending if "cmcore migrate" in str(error) else str(error)
            )
        except peewee.PeeweeException as error:
            found[name] = repr(error)
    return found


@pytest.fixture
def unbound() -> Iterator[None]:
    """No database at all."""
    unbind()
    yield
    unbind()


UNBOUND: dict[str, Callable[[], Any]] = {
    **USES,
    "create_table": Unknown.create_table,
    "table_exists": Unknown.table_exists,
    "get_by_id": lambda: Unknown.get_by_id(1),
    "save": lambda: Unknown(n=1).save(),
    "insert_many": lambda: Unknown.insert_many([{"n": 1}]).execute(),
    "bulk_create": lambda: Unknown.bulk_create([Unknown(n=1)]),
    "delete_instance": lambda: Unknown(id=1).delete_instance(recursive=True),
    "record": lambda: cmcore.record("a", resource_type="t", description="d"),
    "history": lambda: Unknown(id=1).history().first(),
}


@pytest.mark.parametrize("name", UNBOUND)
def test_an_unbound_model_says_how_to_bind(unbound: None, name: str) -> None:
    """Whatever is done with a model without a database raises `UnboundModelError`."""
    with pytest.raises(cmcore.UnboundModelError, match=r"cmcore\.connect"):
        UNBOUND[name]()


def test_an_unbound_model_is_as_peewee_has_it(unbound: None) -> None:
    """It has no database, renders its queries, and can be caught as peewee's error."""
    query = Unknown.select().where(Unknown.n == 1)
    assert Unknown._meta.database is None
    assert (
        query.sql()
        == peewee.ModelSelect(Unknown, (Unknown.id, Unknown.n))
        .where(Unknown.n == 1)
        .sql()
    )
    with pytest.raises(peewee.InterfaceError):
        query.execute()
    with pytest.raises(peewee.ImproperlyConfigured):
        Unknown.create_table()


def test_classes_that_a_parent_names_are_inherited() -> None:
    """`schema_manager_class` and `model_metadata_class` are kept behind our own."""

    class Manager(peewee.SchemaManager):
        pass

    class Details(peewee.Metadata):
        pass

    class Foreign(peewee.Model):
        class Meta:
            schema_manager_class = Manager
            model_metadata_class = Details

    class Own(cmcore.Model):
        pass

    class Both(Own, Foreign):
        pass

    assert type(vars(Both)["_schema"]) is Manager
    assert isinstance(Both._meta, Details)
    assert Both._meta.audit is True


PROTECTED: dict[str, Callable[[], Any]] = {
    "delete": lambda: User.delete().where(User.id == "system").execute(),
    "delete all": lambda: User.delete().execute(),
    "delete_by_id": lambda: User.delete_by_id("system"),
    "delete item": lambda: User.__delitem__("system"),
    "delete_instance": lambda: User.get_by_id("system").delete_instance(),
    "recursive": lambda: User.get_by_id("system").delete_instance(recursive=True),
    "delete by e-mail": lambda: (
        User.delete().where(User.email.in_(User.select(User.email))).execute()
    ),
    "rename": lambda: User.update(id="root").where(User.id == "system").execute(),
    "rename by expression": lambda: User.update(id=User.id.concat("x")).execute(),
    "set_by_id": lambda: User.set_by_id("system", {"id": "root"}),
    "upsert": lambda: (
        User.insert(User.get_by_id("system").__data__)
        .on_conflict(conflict_target=[User.id], update={"id": "root"})
        .execute()
    ),
}
REPLACED: dict[str, Callable[[], Any]] = {
    "replace": lambda: User.replace(User.get_by_id("system").__data__).execute(),
    "replace_many": lambda: User.replace_many(
        [{**User.get_by_id("system").__data__, "full_name": "No Body"}]
    ).execute(),
    "replace by e-mail": lambda: User.replace(
        {**User.get_by_id("system").__data__, "id": "root"}
    ).execute(),
}


@pytest.mark.parametrize("watched", [False, True])
def test_the_system_user_cannot_go(
    db: peewee.Database, plugin: Callable[..., Any], engine: str, watched: bool
) -> None:
    """Deleting, renaming or replacing the row raises and changes nothing."""
    Customer.delete().execute()
    if watched:
        plugin(_Listener())
    before = snapshot()
    ways = {**PROTECTED, **(REPLACED if engine == "sqlite" else {})}
    for name, way in ways.items():
        with pytest.raises(cmcore.CmcoreError) as caught:
            way()
        error: Any = caught.value
        assert (name, type(error)) == (name, cmcore.ProtectedRowError)
        assert (error.table, error.key) == ("users", "system")
        assert "'system'" in str(error)
        assert snapshot() == before
    assert User.update(full_name="The System").execute() == 1


class _Listener:
    @cmcore.hookimpl
    def cmcore_before_delete(self) -> None:
        """Make the engines announce what they do."""


def test_a_locked_sqlite_file_is_a_clear_error(make_url: Any) -> None:
    """Writing while another connection holds the lock raises `DatabaseLockedError`."""
    with connected(make_url("sqlite", migrated=True) + "?timeout=0.05") as db:
        db.create_tables([Unknown])
        other = sqlite3.connect(str(db.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for write in (Unknown.create, db.atomic()(Unknown.create)):
            with pytest.raises(cmcore.DatabaseLockedError, match="not_ready") as e:
                write()
            assert isinstance(e.value, peewee.OperationalError)
        other.close()
        assert Unknown.select().count() == 0
        Unknown.create(n=1)


def test_a_lock_timeout_of_postgresql_is_a_clear_error(make_url: Any) -> None:
    """A row that another transaction keeps locked raises `DatabaseLockedError`."""
    url = make_url("postgresql", migrated=True)
    with connected(url) as db:
        db.create_tables([Unknown])
        Unknown.create(n=1)
        other = cmcore.connect(url)
        cmcore.init(db)
        try:
            with other.atomic():
                other.execute_sql("UPDATE not_ready SET n = 2")
                db.execute_sql("SET lock_timeout = 50")
                with pytest.raises(cmcore.DatabaseLockedError, match="not_ready"):
                    Unknown.update(n=3).execute()
        finally:
            other.close()
        assert Unknown.get().n == 2
