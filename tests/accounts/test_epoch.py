"""`auth_epoch` rises with what ends a session, on every way of writing users."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

from cmcore import accounts
from cmcore.models import User
from tests.accounts.conftest import PASSWORD, Authenticator, login
from tests.stock import is_sqlite

Write = Callable[[User], Any]
OTHER = "another hash"


def epoch(user: User) -> int:
    """Return the epoch in the database."""
    row = User.with_deleted().where(User.id == user.id).get()
    return int(row.auth_epoch)


def saved(user: User, **values: Any) -> None:
    """Save the whole object with some values assigned."""
    for name, value in values.items():
        setattr(user, name, value)
    user.save()


def upserted(user: User, **how: Any) -> None:
    """Insert the user again, with other values for a conflict."""
    row = {**user.__data__, "password_hash": OTHER}
    User.insert(row).on_conflict(conflict_target=[User.id], **how).execute()


def bulk(user: User, **values: Any) -> None:
    """Update by `bulk_update`."""
    for name, value in values.items():
        setattr(user, name, value)
    User.bulk_update([user], list(values))


RISING: dict[str, Write] = {
    "set_password": lambda u: accounts.set_password(u, "another good one"),
    "disable_user": accounts.disable_user,
    "save": lambda u: saved(u, password_hash=OTHER),
    "save role": lambda u: saved(u, role="corporate"),
    "save is_active": lambda u: saved(u, is_active=False),
    "save with a stale epoch": lambda u: saved(u, password_hash=OTHER, auth_epoch=0),
    "update": lambda u: User.update(password_hash=OTHER).execute(),
    "update by name": lambda u: User.update({"role": "corporate"}).execute(),
    "update with an epoch": lambda u: User.update(
        totp_secret="x", auth_epoch=0
    ).execute(),
    "update by an expression": lambda u: User.update(
        is_active=~User.is_active
    ).execute(),
    "update is_2fa_enabled": lambda u: User.update(is_2fa_enabled=True).execute(),
    "set_by_id": lambda u: User.set_by_id(u.id, {"role": "corporate"}),
    "update with an expression": lambda _: User.update(
        role="corporate", auth_epoch=User.auth_epoch - 3
    ).execute(),
    "bulk_update": lambda u: bulk(u, role="corporate", auth_epoch=0),
    "upsert": lambda u: upserted(u, update={User.password_hash: OTHER}),
    "upsert preserving": lambda u: upserted(
        u, preserve=[User.password_hash, User.auth_epoch]
    ),
    "delete_instance": lambda u: u.delete_instance(),
    "delete": lambda u: User.delete().where(User.id == u.id).execute(),
    "delete_by_id": lambda u: User.delete_by_id(u.id),
    "an epoch by itself": lambda u: User.update(
        auth_epoch=User.auth_epoch + 1
    ).execute(),
}


@pytest.fixture
def known(ada: User) -> User:
    """Ada with an epoch that is not the default."""
    peewee.ModelUpdate(User, {User.auth_epoch: 7}).execute()
    row: User = User.get_by_id(ada.id)
    return row


@pytest.mark.parametrize("write", RISING.values(), ids=RISING)
def test_it_rises_by_one(known: User, write: Write) -> None:
    """Once for each write that changes password, factor, role, activity or deletion."""
    write(known)
    assert epoch(known) == 8


STILL: dict[str, Write] = {
    "login": lambda _: login(),
    "failures": lambda _: [login("wrong") for _ in range(6)],
    "unlock": accounts.unlock,
    "begin_totp": lambda u: accounts.begin_totp(u, PASSWORD),
    "save unchanged": lambda u: u.save(),
    "save another field": lambda u: saved(u, full_name="Ada King"),
    "save with a stale epoch": lambda u: saved(u, full_name="Ada King", auth_epoch=99),
    "update to the same": lambda u: User.update(role="client").execute(),
    "update the epoch": lambda u: User.update(auth_epoch=99).execute(),
    "update another field": lambda _: User.update(full_name="Ada King").execute(),
    "upsert another field": lambda u: upserted(u, preserve=[User.full_name]),
    "upsert the epoch": lambda u: upserted(u, preserve=[User.auth_epoch]),
    "update nobody": lambda u: (
        User.update(role="admin").where(User.id == "x").execute()
    ),
    "restore nobody": lambda u: User.restore().execute(),
}


@pytest.mark.parametrize("write", STILL.values(), ids=STILL)
def test_it_stays_where_nothing_of_that_changes(known: User, write: Write) -> None:
    """Other fields, equal values, logins, and plain values for the epoch itself."""
    write(known)
    assert epoch(known) == 7


def test_it_rises_row_by_row(known: User) -> None:
    """One statement raises it where a row changes, and leaves it where none does."""
    eve = accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    User.update(role="corporate").where(User.id == eve.id).execute()
    assert (epoch(known), epoch(eve)) == (7, 1)
    User.update(role="corporate").execute()
    assert (epoch(known), epoch(eve)) == (8, 1)


def test_it_rises_with_the_second_factor(ada: User, device: Authenticator) -> None:
    """When it is switched on, and when it is switched off."""
    assert epoch(ada) == 1
    assert login(code=device.code())
    accounts.regenerate_recovery_codes(ada, PASSWORD, device.code(1))
    assert epoch(ada) == 1
    device.clock.move(minutes=5)
    accounts.disable_totp(ada, PASSWORD, device.code())
    assert epoch(ada) == 2


def test_a_saved_object_shows_it(known: User) -> None:
    """So that a session which begins with the object has the right one."""
    accounts.set_password(known, "another good one")
    assert known.auth_epoch == 8
    saved(known, role="corporate")
    assert known.auth_epoch == 9


def test_a_deletion_shows_two_columns_only(known: User) -> None:
    """The entry of a soft delete does not name the epoch, which rose all the same."""
    known.delete_instance()
    entry = known.history().first()
    assert entry is not None
    assert set(entry.new_values) == {"deleted_at", "deleted_by"}
    assert epoch(known) == 8
    known.restore_instance()
    assert epoch(known) == 8


def test_a_replaced_row_does_not_begin_again(
    known: User, database: peewee.Database
) -> None:
    """REPLACE, which only SQLite has, goes beyond every epoch that there was."""
    if is_sqlite(database):
        row = {"id": known.id, "email": known.email, "full_name": "Ada King"}
        User.replace(**row, password_hash=OTHER).execute()
        assert epoch(known) == 8


def test_it_is_in_the_trail(known: User) -> None:
    """A session that was ended by hand is a change as any other."""
    User.update(auth_epoch=User.auth_epoch + 1).execute()
    entry = known.history().first()
    assert entry is not None
    assert (entry.action, entry.new_values["auth_epoch"]) == ("update", 8)
