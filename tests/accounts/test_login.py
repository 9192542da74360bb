"""Signing in with a password, failures that count, and locks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts import passwords, seeds
from cmcore.models import AuditLog, User
from tests.accounts.conftest import (
    EMAIL,
    PASSWORD,
    Clock,
    counters,
    login,
    newest,
)


def fail(times: int) -> None:
    """Try a wrong password so often."""
    for _ in range(times):
        assert not login("wrong")


def test_the_right_password_logs_in(ada: User, clock: Clock) -> None:
    """The answer is true, has the user as he is now, and the entry names him."""
    result = accounts.authenticate(EMAIL.upper(), PASSWORD)
    assert result
    assert result == accounts.AuthResult(True, ada, None, None)
    assert result.user is not None
    assert result.user.last_login_at == clock.at
    entry = newest()
    assert (entry.action, entry.user_id, entry.success) == (
        "login_success",
        ada.id,
        True,
    )
    assert entry.resource_id == ada.id


def gone(user: User) -> None:
    """Delete a user."""
    user.delete_instance()


def locked(user: User) -> None:
    """Lock a user."""
    fail(5)


FAILURES: list[tuple[str, Any, str, str]] = [
    ("unknown", lambda _: None, "nobody@example.org", PASSWORD),
    ("unknown", lambda _: None, "nobody\0@example.org", PASSWORD),
    ("unknown", lambda _: None, "\ud800@example.org", PASSWORD),
    ("deleted", gone, EMAIL, PASSWORD),
    ("inactive", accounts.disable_user, EMAIL, PASSWORD),
    ("locked", locked, EMAIL, PASSWORD),
    ("wrong_password", lambda _: None, EMAIL, "wrong"),
    ("inactive", lambda _: None, "system@cmcore.invalid", "!unusable-password"),
]


@pytest.mark.parametrize(("why", "prepare", "email", "password"), FAILURES)
def test_every_failure_looks_the_same(  # noqa: PLR0913, PLR0917 - a table of cases
    ada: User, work: list[Any], why: str, prepare: Any, email: str, password: str
) -> None:
    """One verification each and one answer; only the entry tells them apart."""
    prepare(ada)
    work.clear()
    result = accounts.authenticate(email, password)
    assert result == accounts.AuthResult(False, None, "invalid_credentials", why)
    assert not result
    assert len(work) == 1
    entry = newest()
    assert (entry.action, entry.success) == ("login_failed", False)
    assert entry.extra_data["internal_reason"] == why
    assert entry.resource_id in {ada.id, None, "system"}
    assert email not in f"{entry.description} {entry.extra_data}"


@pytest.mark.parametrize("odd", [None, 5, b"x", ["a"], ""])
def test_odd_names_are_unknown(database: peewee.Database, odd: Any) -> None:
    """They raise nothing."""
    assert accounts.authenticate(odd, PASSWORD).internal_reason == "unknown"


def test_a_live_user_is_found_before_deleted_ones(ada: User) -> None:
    """An address that deleted users had is the live user's."""
    ada.delete_instance()
    live = accounts.create_user(EMAIL, "another good one", "Ada Two")
    assert login("another good one").user == live
    live.delete_instance()
    assert login("another good one").internal_reason == "deleted"


def test_failures_count_and_lock(ada: User, clock: Clock) -> None:
    """Each fifth one locks: for 1, 2, 4, 8 minutes, and then always for 15."""
    total = 0
    for minutes in (1, 2, 4, 8, 15, 15, 15):
        fail(4)
        assert counters(ada)[0] == total + 4
        assert login("wrong").internal_reason == "wrong_password"
        total += 5
        until = clock.at + timedelta(minutes=minutes)
        assert counters(ada) == (total, clock.at, until)
        told = newest().extra_data
        assert (told["attempts"], told["locked_until"]) == (total, until.isoformat())
        assert login().internal_reason == "locked"
        clock.move(minutes=minutes, microseconds=-1)
        assert login().internal_reason == "locked"
        clock.move(microseconds=1)


def test_nothing_moves_while_an_account_is_locked(ada: User, clock: Clock) -> None:
    """Neither the right password nor wrong ones; each try is an entry all the same."""
    fail(5)
    before = counters(ada)
    clock.move(seconds=30)
    entries = AuditLog.select().count()
    for password in ("wrong", PASSWORD, "wrong"):
        result = login(password)
        assert (result.reason, result.internal_reason) == (
            "invalid_credentials",
            "locked",
        )
    assert counters(ada) == before
    assert AuditLog.select().count() == entries + 3
    assert User.get_by_id(ada.id).last_login_at is None


def test_a_full_success_clears_the_counters(ada: User, clock: Clock) -> None:
    """After the lock has ended; the next failure is the first one again."""
    fail(5)
    clock.move(minutes=1)
    assert login()
    assert counters(ada) == (0, None, None)
    fail(1)
    assert counters(ada)[0] == 1


def test_unlocking_clears_the_counters(ada: User, clock: Clock) -> None:
    """At once, with an entry by who did it."""
    fail(5)
    with cmcore.acting_as("system", reason="called by phone"):
        accounts.unlock(ada)
    assert counters(ada) == (0, None, None)
    entry = newest()
    assert (entry.action, entry.resource_id) == ("user_activate", ada.id)
    assert entry.extra_data == {"reason": "called by phone", "event": "unlock"}
    assert login()


def test_counters_survive_in_a_transaction_that_commits(
    ada: User, database: peewee.Database
) -> None:
    """Nothing depends on the caller raising, or on what he does afterwards."""
    with database.atomic():
        fail(3)
        list(User.select())
    assert counters(ada)[0] == 3
    with database.atomic() as transaction:
        fail(1)
        transaction.rollback()
    assert counters(ada)[0] == 3


def test_counters_are_no_changes_of_rows(ada: User) -> None:
    """Failures and logins leave `updated_at` alone, and no update in the trail."""
    before = User.get_by_id(ada.id).updated_at
    fail(2)
    assert login()
    assert User.get_by_id(ada.id).updated_at == before
    assert [e.action for e in ada.history()] == [
        "login_success",
        "login_failed",
        "login_failed",
        "create",
    ]


@pytest.fixture
def meanwhile(ada: User, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that has Ada's row changed during verifications, so many times."""

    def plan(change: Callable[[], dict[Any, Any]], times: int = 1) -> None:
        original, left = passwords.tried, [None] * times

        def tried(*args: Any) -> Any:
            if left:
                left.pop()
                User.update(change()).where(User.id == ada.id).execute()
            return original(*args)

        monkeypatch.setattr(passwords, "tried", tried)

    return plan


def test_a_user_who_is_disabled_meanwhile_is_not_let_in(
    ada: User, meanwhile: Callable[..., None]
) -> None:
    """What counts is the row at the moment of the login, not that of the look-up."""
    meanwhile(lambda: {User.is_active: False})
    assert login().internal_reason == "inactive"
    assert User.get_by_id(ada.id).last_login_at is None


def test_a_new_password_meanwhile_voids_the_old_one(
    ada: User, meanwhile: Callable[..., None]
) -> None:
    """The try is made again with the row as it is now, and fails."""
    meanwhile(lambda: {User.password_hash: passwords.hashed("another good one")})
    assert login().internal_reason == "wrong_password"


def test_a_hash_made_anew_meanwhile_fails_no_login(
    ada: User, meanwhile: Callable[..., None]
) -> None:
    """Another login upgraded it; one that changes all the time is given up."""
    meanwhile(lambda: {User.password_hash: passwords.hashed(PASSWORD)})
    assert login()
    meanwhile(lambda: {User.password_hash: passwords.hashed(PASSWORD)}, times=2)
    assert login().internal_reason == "changed_meanwhile"
    assert counters(ada)[0] == 0


def test_a_second_factor_meanwhile_is_asked_for(
    ada: User, meanwhile: Callable[..., None]
) -> None:
    """The password alone is not enough any more."""
    secret = seeds.encrypted("A" * 32, ada.id)
    meanwhile(lambda: {User.is_2fa_enabled: True, User.totp_secret: secret})
    assert login().reason == "second_factor_required"


def test_the_user_system_cannot_log_in(database: peewee.Database) -> None:
    """Not even if a query enables it and gives it a password."""
    values = {"is_active": True, "password_hash": passwords.hashed(PASSWORD)}
    User.update(values).where(User.id == "system").execute()
    system = User.get_by_id("system")
    result = accounts.authenticate(system.email, PASSWORD)
    assert (result.ok, result.internal_reason) == (False, "inactive")


@pytest.mark.parametrize("operation", ["disable", "enable", "unlock", "remove_totp"])
def test_what_is_so_already_is_no_event(ada: User, operation: str) -> None:
    """The second call writes nothing, whatever the object held."""
    call = {"disable": accounts.disable_user, "enable": accounts.enable_user}.get(
        operation
    ) or getattr(accounts, operation)
    if operation == "disable":
        call(User.get_by_id(ada.id))
    before = AuditLog.select().count(), User.get_by_id(ada.id).__data__
    call(ada)
    assert (AuditLog.select().count(), User.get_by_id(ada.id).__data__) == before


def test_disabling_and_enabling(ada: User) -> None:
    """Both are entries, and decide who logs in."""
    accounts.disable_user(ada)
    assert newest().action == "user_suspend"
    assert not login()
    accounts.enable_user(ada)
    assert newest().action == "user_activate"
    assert login()
