"""The last active admin can be neither disabled, demoted nor deleted."""

import threading
from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.models import AuditLog, User, UserRole
from cmcore.models.actors import SYSTEM
from tests.accounts.conftest import PASSWORD
from tests.conftest import MakeUrl, connected


def admin(name: str) -> User:
    """Create an admin."""
    email = f"{name}@example.org"
    return accounts.create_user(email, PASSWORD, f"Admin {name}", role=UserRole.ADMIN)


def saved(user: User, **values: Any) -> None:
    """Save an object with some values assigned."""
    for name, value in values.items():
        setattr(user, name, value)
    user.save()


def demoted_by_upsert(user: User) -> None:
    """Insert the row again, with another role for the conflict."""
    query = User.insert(user.__data__)
    query.on_conflict(conflict_target=[User.id], update={User.role: "client"}).execute()


REMOVALS: dict[str, Callable[[User], Any]] = {
    "disable_user": accounts.disable_user,
    "save is_active": lambda u: saved(u, is_active=False),
    "save role": lambda u: saved(u, role="client"),
    "update": lambda u: User.update(role="client").execute(),
    "update by an expression": lambda u: User.update(
        is_active=~User.is_active
    ).execute(),
    "upsert": demoted_by_upsert,
    "delete_instance": lambda u: u.delete_instance(),
    "delete": lambda u: User.delete().where(User.id == u.id).execute(),
    "purge_instance": lambda u: u.purge_instance(),
    "purge": lambda u: User.purge(include_live=True).where(User.id == u.id).execute(),
}

removals = pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)


@removals
def test_the_last_one_stays(
    database: peewee.Database, remove: Callable[[User], Any]
) -> None:
    """On every way; nothing changes, no entry is written, and a transaction goes on."""
    boss = admin("boss")
    before = User.get_by_id(boss.id).__data__
    entries = AuditLog.select().count()
    with pytest.raises(cmcore.LastAdminError):
        remove(boss)
    with database.atomic():
        with pytest.raises(cmcore.LastAdminError):
            remove(User.get_by_id(boss.id))
        assert User.get_by_id(boss.id).__data__ == before
    assert AuditLog.select().count() == entries


@removals
def test_one_of_two_may_go(
    database: peewee.Database, remove: Callable[[User], Any]
) -> None:
    """As long as another one is active; disabled and deleted ones do not count."""
    boss, other, third, fourth = map(admin, ("boss", "other", "third", "fourth"))
    accounts.disable_user(third)
    fourth.delete_instance()
    if remove is REMOVALS["update"] or remove is REMOVALS["update by an expression"]:
        with pytest.raises(cmcore.LastAdminError):
            User.update(is_active=False).execute()
        return
    remove(boss)
    with pytest.raises(cmcore.LastAdminError):
        remove(other)


def test_where_there_is_none_nothing_is_refused(database: peewee.Database) -> None:
    """A database without admins is not stuck, nor are other users."""
    user = accounts.create_user("ada@example.org", PASSWORD, "Ada Lovelace")
    accounts.disable_user(user)
    boss = admin("boss")
    accounts.enable_user(user)
    user.delete_instance()
    saved(boss, full_name="The Boss", role="admin")
    assert User.get_by_id(boss.id).full_name == "The Boss"


def test_system_is_no_admin(database: peewee.Database) -> None:
    """Whatever its row says, it never logs in: it neither stays nor is missed."""
    User.update(role="admin", is_active=True).where(User.id == SYSTEM).execute()
    assert not accounts.authenticate("system@cmcore.invalid", PASSWORD)
    boss = admin("boss")
    with pytest.raises(cmcore.LastAdminError):
        boss.delete_instance()
    with pytest.raises(cmcore.LastAdminError):
        User.update(role="client").where(User.id != SYSTEM).execute()
    assert User.update(is_active=False).where(User.id == SYSTEM).execute() == 1


def test_where_system_alone_is_one_it_may_step_down(database: peewee.Database) -> None:
    """Nobody is left before, so nobody is lost."""
    User.update(role="admin", is_active=True).where(User.id == SYSTEM).execute()
    assert User.update(role="client", is_active=False).execute() == 1


def test_a_handover_in_one_statement_is_taken(database: peewee.Database) -> None:
    """What counts is who is there after the statement."""
    old = admin("old")
    new = accounts.create_user("new@example.org", PASSWORD, "New One")
    role = peewee.Case(None, [(User.id == new.id, "admin")], "client")
    User.update(role=role).where(User.id.in_([old.id, new.id])).execute()
    assert User.get(User.role == "admin").id == new.id


def demote(database: Any, user: User, begun: threading.Event | None = None) -> None:
    """Demote somebody on a connection of its own; linger a moment before COMMIT."""
    with database.connection_context(), database.atomic():
        User.update(role="client").where(User.id == user.id).execute()
        if begun is not None:
            begun.set()
            threading.Event().wait(0.5)


def test_two_transactions_do_not_remove_both(database: peewee.Database) -> None:
    """The second one waits for the first, sees what it did, and is refused."""
    first, second = map(admin, ("first", "second"))
    begun = threading.Event()
    other = threading.Thread(target=demote, args=(database, first, begun))
    other.start()
    assert begun.wait(30)
    with pytest.raises(cmcore.LastAdminError):
        User.update(role="client").where(User.id == second.id).execute()
    other.join()
    assert [user.id for user in User.select().where(User.role == "admin")] == [
        second.id
    ]


@pytest.mark.postgresql
def test_a_transaction_that_cannot_see_the_other_fails(make_url: MakeUrl) -> None:
    """Under REPEATABLE READ it would count an admin who is one no more."""
    with connected(make_url("postgresql", migrated=True)) as database:
        first, second = map(admin, ("first", "second"))

        def overtaken() -> None:
            with database.atomic():
                database.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                assert User.select().where(User.role == "admin").count() == 2
                other = threading.Thread(target=demote, args=(database, first))
                other.start()
                other.join()
                User.update(role="client").where(User.id == second.id).execute()

        with pytest.raises(peewee.OperationalError, match="40001"):
            overtaken()
        assert User.select().where(User.role == "admin").count() == 1
