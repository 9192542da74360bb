"""Objects of users show what each call wrote, and old ones undo nothing."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.models import User
from cmcore.models.security import SECURITY
from tests.accounts.conftest import (
    EMAIL,
    PASSWORD,
    Authenticator,
    Clock,
    login,
)

OTHER = "another good one"
CORPORATE = cmcore.UserRole.CORPORATE
Call = Callable[[User, Authenticator], Any]


def row_of(user: User) -> dict[str, Any]:
    """Return what the row says of security."""
    row = User.with_deleted().where(User.id == user.id).get()
    return {name: row.__data__[name] for name in SECURITY}


def refused(call: Callable[..., Any], *arguments: Any) -> None:
    """Make a call that is refused."""
    with pytest.raises(cmcore.InvalidCredentialsError):
        call(*arguments)


CALLS: dict[str, Call] = {
    "begin_totp": lambda u, _: accounts.begin_totp(u, PASSWORD),
    "begin_totp refused": lambda u, _: refused(accounts.begin_totp, u, "wrong"),
    "confirm_totp": lambda u, d: accounts.confirm_totp(
        u, Authenticator(d.clock, accounts.begin_totp(u, PASSWORD).secret).code()
    ),
    "confirm_totp refused": lambda u, _: refused(accounts.confirm_totp, u, "000000"),
    "disable_totp": lambda u, d: accounts.disable_totp(u, PASSWORD, d.code()),
    "disable_totp refused": lambda u, d: refused(
        accounts.disable_totp, u, "wrong", d.code()
    ),
    "remove_totp": lambda u, _: accounts.remove_totp(u),
    "regenerate_recovery_codes": lambda u, d: accounts.regenerate_recovery_codes(
        u, PASSWORD, d.code()
    ),
    "unlock": lambda u, _: (login("wrong"), accounts.unlock(u)),
    "set_password": lambda u, _: accounts.set_password(u, OTHER),
    "disable_user": lambda u, _: accounts.disable_user(u),
    "enable_user": lambda u, _: (
        User.update(is_active=False).where(User.id == u.id).execute(),
        accounts.enable_user(u),
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("age", ["new", "old"])
def test_a_user_shows_what_a_call_wrote(
    ada: User, device: Authenticator, call: Call, age: str
) -> None:
    """Also where it was refused and counted; `save()` takes nothing of it back."""
    user = User.get_by_id(ada.id)
    if age == "old":
        accounts.remove_totp(ada)
        device.secret = accounts.begin_totp(ada, PASSWORD).secret
        accounts.confirm_totp(ada, device.code())
        device.clock.move(minutes=5)
    call(user, device)
    written = row_of(ada)
    assert {name: user.__data__[name] for name in SECURITY} == written
    user.full_name = "Ada King"
    user.save()
    assert row_of(ada) == written
    assert User.get_by_id(ada.id).full_name == "Ada King"


def test_a_second_factor_stays_on(ada: User, clock: Clock) -> None:
    """The object that was enrolled is saved, and the login still asks for a code."""
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    accounts.confirm_totp(ada, device.code())
    assert ada.is_2fa_enabled
    ada.full_name = "Ada King"
    ada.save()
    assert login().reason == "second_factor_required"
    assert login(code=device.code(1))


def test_a_code_works_once_whatever_is_saved(ada: User, device: Authenticator) -> None:
    """An object from before the login does not bring the code back."""
    old = User.get_by_id(ada.id)
    assert login(code=device.code())
    old.full_name = "Ada King"
    old.save()
    assert login(code=device.code()).internal_reason == "wrong_code"


CHANGES: dict[str, Call] = {
    "login": lambda _, d: login(code=d.code()),
    "lock": lambda *_: [login("wrong") for _ in range(5)],
    "no factor": lambda u, d: accounts.disable_totp(u, PASSWORD, d.code()),
    "pending": lambda u, _: accounts.begin_totp(u, PASSWORD),
    "password": lambda u, _: accounts.set_password(u, OTHER),
    "disabled": lambda u, _: accounts.disable_user(u),
    "role": lambda u, _: User.set_by_id(u.id, {"role": "corporate"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_old_object_brings_nothing_back(
    ada: User, device: Authenticator, change: Call
) -> None:
    """What happened since it was loaded stays; what was assigned on it is written."""
    old = User.get_by_id(ada.id)
    before = row_of(ada)
    change(ada, device)
    written = row_of(ada)
    assert written != before
    old.full_name = "Ada King"
    assert old.save() == 1
    assert row_of(ada) == written
    assert User.get_by_id(ada.id).full_name == "Ada King"


def test_what_is_assigned_is_saved(ada: User) -> None:
    """A role and a hash of the application's own, also after a call for others."""
    ada.role = CORPORATE
    ada.password_hash = "!unusable"
    ada.is_active = False
    accounts.unlock(ada)
    ada.save()
    row = User.get_by_id(ada.id)
    assert (row.role, row.password_hash) == ("corporate", "!unusable")
    assert not row.is_active
    ada.save(only=[User.role, User.failed_login_attempts])
    assert User.get_by_id(ada.id).role == "corporate"


def test_a_call_has_the_last_word(ada: User) -> None:
    """What was assigned to its column before is not saved after it."""
    ada.is_active = True
    accounts.disable_user(ada)
    ada.save()
    assert not User.get_by_id(ada.id).is_active


def test_an_insert_writes_everything(database: peewee.Database) -> None:
    """Such as the copy of a user under another key."""
    user = accounts.create_user(EMAIL, PASSWORD, "Ada Lovelace", role=CORPORATE)
    copy = User.get_by_id(user.id)
    copy.id, copy.email = "copy", "copy@example.org"
    copy.save(force_insert=True)
    assert row_of(copy) == row_of(user)


def test_a_password_that_was_vetoed_is_not_saved_later(
    ada: User, plugin: Callable[..., Any]
) -> None:
    """The object stays as it was."""

    class Guard:
        @cmcore.hookimpl
        def cmcore_before_update(self, changes: Any) -> None:
            if "password_hash" in changes[0].new:
                msg = "no"
                raise cmcore.Veto(msg)

    plugin(Guard())
    with pytest.raises(cmcore.Veto):
        accounts.set_password(ada, OTHER)
    ada.full_name = "Ada King"
    ada.save()
    assert login()
