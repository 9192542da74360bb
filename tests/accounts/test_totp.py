"""Codes of an authenticator: enrolled, used once, and only with the right password."""

import builtins
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import cmcore
from cmcore import accounts
from cmcore.models import RecoveryCode, User
from tests.accounts.conftest import (
    PASSWORD,
    Authenticator,
    Clock,
    counters,
    login,
    newest,
)


def last_step(user: User) -> Any:
    """Return the last step that was accepted."""
    return User.get_by_id(user.id).totp_last_step


def test_both_factors_log_in(ada: User, device: Authenticator) -> None:
    """The entry says which second one it was."""
    result = login(code=device.code())
    assert (result.ok, result.user) == (True, ada)
    assert newest().extra_data == {"second_factor": "totp"}


def test_a_password_alone_neither_counts_nor_clears(
    ada: User, device: Authenticator
) -> None:
    """The answer asks for the second factor; the counters stay where they are."""
    login("wrong")
    before = counters(ada)
    for nothing in (None, ""):
        result = login(code=nothing)
        assert (result.ok, result.reason) == (False, "second_factor_required")
        assert result.user is None
        assert newest().extra_data == {"internal_reason": "second_factor_required"}
    assert counters(ada) == before
    assert User.get_by_id(ada.id).last_login_at is None


@pytest.mark.parametrize(
    "code",
    ["abcdef", "12345", "1234567", "000000", "\u0661\u0662\u0663\u0664\u0665\u0666"],
)
def test_a_wrong_code_counts(ada: User, device: Authenticator, code: Any) -> None:
    """With the right password it is a failure as any other."""
    result = login(code=code)
    assert (result.reason, result.internal_reason) == (
        "invalid_credentials",
        "wrong_code",
    )
    assert counters(ada)[0] == 1


@pytest.mark.parametrize("odd", [123456, b"123456", 1.5, ["1"], " ", "-"])
def test_odd_codes_raise_nothing(device: Authenticator, odd: Any) -> None:
    """They are wrong codes."""
    assert login(code=odd).internal_reason == "wrong_code"


def test_wrong_codes_lock(ada: User, device: Authenticator) -> None:
    """Five of them, and then even both factors do not log in."""
    for _ in range(5):
        login(code="000000")
    assert login(code=device.code()).internal_reason == "locked"
    assert last_step(ada) < device.clock.at.timestamp() // 30


def test_a_code_with_a_wrong_password_is_not_consumed(
    ada: User, device: Authenticator
) -> None:
    """It still works with the right one."""
    before = last_step(ada)
    assert not login("wrong", device.code())
    assert last_step(ada) == before
    assert login(code=device.code())


def test_a_code_works_once(ada: User, device: Authenticator) -> None:
    """Nor does an earlier one after it; the next one does."""
    late, code, early = device.code(-1), device.code(), device.code(1)
    assert login(code=code)
    for used in (code, late):
        assert login(code=used).internal_reason == "wrong_code"
    assert login(code=early)


@pytest.mark.parametrize(
    ("steps", "is_taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)]
)
def test_one_step_of_drift_is_taken(
    device: Authenticator, steps: int, *, is_taken: bool
) -> None:
    """The step before and the next one, and none beyond."""
    assert login(code=device.code(steps)).ok is is_taken


@pytest.fixture
def paris() -> Iterator[None]:
    """A process whose clock is in Paris."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Paris"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("paris")
def test_codes_work_while_clocks_go_back(device: Authenticator) -> None:
    """In the hour that comes twice in autumn, and around it."""
    for minutes in range(-60, 121, 20):
        device.clock.at = datetime(2026, 10, 25, 0, 30, 5, tzinfo=UTC)
        device.clock.move(minutes=minutes)
        assert login(code=device.code(-1))
        assert login(code=device.code())


def test_spaces_in_a_code_do_not_matter(device: Authenticator) -> None:
    """As authenticators show it: 123 456."""
    code = device.code()
    assert login(code=f" {code[:3]} {code[3:]}\n")


def test_nothing_changes_until_an_enrolment_is_confirmed(
    ada: User, clock: Clock
) -> None:
    """A password alone still logs in, and no session ends."""
    enrolment = accounts.begin_totp(ada, PASSWORD)
    assert login()
    assert not User.get_by_id(ada.id).is_2fa_enabled
    assert User.get_by_id(ada.id).auth_epoch == 0
    assert enrolment.secret in enrolment.uri
    assert enrolment.secret not in repr(enrolment)
    assert len(enrolment.secret) * 5 >= 160
    assert "\u2588" in enrolment.qr()


def test_the_confirming_code_is_spent(ada: User, clock: Clock) -> None:
    """It does not log in, nor does it confirm again; the next one logs in."""
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    assert len(accounts.confirm_totp(ada, device.code())) == 10
    assert newest().action == "2fa_enabled"
    assert newest().user_id == ada.id
    assert not login(code=device.code())
    with pytest.raises(cmcore.InvalidCredentialsError) as refused:
        accounts.confirm_totp(ada, device.code())
    assert refused.value.reason == "nothing_pending"
    assert login(code=device.code(1))


def test_a_pending_seed_ends_after_ten_minutes(ada: User, clock: Clock) -> None:
    """At ten minutes it holds, a second later it does not."""
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    clock.move(minutes=10, seconds=1)
    with pytest.raises(cmcore.InvalidCredentialsError):
        accounts.confirm_totp(ada, device.code())
    clock.move(seconds=-1)
    assert accounts.confirm_totp(ada, device.code())


def test_a_wrong_confirmation_counts(ada: User, clock: Clock) -> None:
    """Five lock the account, also for the right code."""
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    for code in ("000000", "", None, "abcdef", "1"):
        with pytest.raises(cmcore.InvalidCredentialsError):
            accounts.confirm_totp(ada, code)
    assert counters(ada)[0] == 5
    with pytest.raises(cmcore.InvalidCredentialsError) as refused:
        accounts.confirm_totp(ada, device.code())
    assert refused.value.reason == "locked"


def test_an_enabled_factor_works_until_another_is_confirmed(
    ada: User, device: Authenticator
) -> None:
    """Then the old one and its recovery codes are void."""
    new = Authenticator(device.clock, accounts.begin_totp(ada, PASSWORD).secret)
    assert login(code=device.code())
    assert not login(code=new.code())
    device.clock.move(minutes=2)
    fresh = accounts.confirm_totp(ada, new.code())
    device.clock.move(minutes=2)
    assert not login(code=device.code())
    assert not login(code=device.recovery_codes[0])
    assert login(code=new.code())
    assert login(code=fresh[0])


def test_enrolment_asks_for_the_password(ada: User, clock: Clock) -> None:
    """A wrong one counts as at a login; a locked account cannot enrol."""
    for _ in range(5):
        with pytest.raises(cmcore.InvalidCredentialsError) as refused:
            accounts.begin_totp(ada, "wrong")
        assert refused.value.reason == "wrong_password"
    with pytest.raises(cmcore.InvalidCredentialsError) as refused:
        accounts.begin_totp(ada, PASSWORD)
    assert refused.value.reason == "locked"
    assert User.get_by_id(ada.id).totp_pending_secret is None


def test_switching_off_asks_for_both(ada: User, device: Authenticator) -> None:
    """A wrong password or code changes nothing and counts."""
    attempts = [("wrong", device.code()), (PASSWORD, "000000"), (PASSWORD, None)]
    for password, code in attempts:
        with pytest.raises(cmcore.InvalidCredentialsError):
            accounts.disable_totp(ada, password, code)
    assert counters(ada)[0] == 2
    assert User.get_by_id(ada.id).is_2fa_enabled
    accounts.disable_totp(ada, PASSWORD, device.code())
    assert (newest().action, newest().user_id) == ("2fa_disabled", ada.id)
    assert RecoveryCode.select().count() == 0
    assert login()
    with pytest.raises(cmcore.InvalidCredentialsError) as refused:
        accounts.disable_totp(ada, PASSWORD, device.code(1))
    assert refused.value.reason == "no_second_factor"


def test_a_used_code_switches_nothing_off(ada: User, device: Authenticator) -> None:
    """It was spent by the login before."""
    assert login(code=device.code())
    with pytest.raises(cmcore.InvalidCredentialsError) as refused:
        accounts.disable_totp(ada, PASSWORD, device.code())
    assert refused.value.reason == "wrong_code"
    assert User.get_by_id(ada.id).is_2fa_enabled
    assert counters(ada)[0] == 1


def test_an_administrator_removes_a_lost_factor(
    ada: User, device: Authenticator
) -> None:
    """Nothing is asked, and the entry names who did it."""
    accounts.remove_totp(ada)
    assert (newest().action, newest().user_id) == ("2fa_disabled", "system")
    assert login()


def test_a_new_password_leaves_the_factor_on(ada: User, device: Authenticator) -> None:
    """A reset is no way around it."""
    accounts.set_password(ada, "another good one")
    assert login("another good one").reason == "second_factor_required"


@pytest.mark.parametrize("library", ["cryptography", "segno"])
def test_without_the_extra_enrolment_says_what_to_install(
    ada: User, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """Before it asks for anything; logins without a second factor go on."""
    original = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == library:
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(cmcore.ConfigurationError, match=r"pip install .*\[accounts\]"):
        accounts.begin_totp(ada, PASSWORD)
    assert login()
