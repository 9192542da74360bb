"""Recovery codes stand in for the second factor, once each."""

import hashlib
import math
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.models import RecoveryCode, User
from tests.accounts.conftest import PASSWORD, Authenticator, counters, login, newest


def test_codes_are_random_enough_and_stored_hashed(
    ada: User, device: Authenticator
) -> None:
    """Ten of 112 bits and more; the table has their SHA-256."""
    codes = device.recovery_codes
    assert len(set(codes)) == 10
    plain = [code.replace("-", "") for code in codes]
    alphabet = set("".join(plain))
    assert len(plain[0]) * math.log2(32) >= 112
    assert len(alphabet) <= 32
    stored = {str(row.code_hash) for row in RecoveryCode.select()}
    assert stored == {hashlib.sha256(code.encode()).hexdigest() for code in plain}


def test_each_works_once(ada: User, device: Authenticator) -> None:
    """All ten, then none; a used one counts as a wrong code."""
    for code in device.recovery_codes:
        assert login(code=code)
        assert newest().extra_data == {"second_factor": "recovery_code"}
    for code in device.recovery_codes[:3]:
        assert login(code=code).internal_reason == "wrong_code"
    assert counters(ada)[0] == 3


@pytest.mark.parametrize(
    "typed",
    [
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: f"  {code.replace('-', ' ')}\n",
        lambda code: code.replace("1", "l").replace("0", "o"),
    ],
    ids=["lower", "bare", "spaces", "alike"],
)
def test_writing_does_not_matter(device: Authenticator, typed: Any) -> None:
    """Case, dashes, spaces, and letters that look like digits."""
    assert all(login(code=typed(code)) for code in device.recovery_codes)


def test_a_wrong_password_consumes_none(ada: User, device: Authenticator) -> None:
    """The code still works with the right one."""
    assert not login("wrong", device.recovery_codes[0])
    assert login(code=device.recovery_codes[0])


def test_codes_are_their_users_own(ada: User, device: Authenticator) -> None:
    """Another user's code is a wrong one, and stays unused."""
    eve = accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    other = Authenticator(device.clock, accounts.begin_totp(eve, PASSWORD).secret)
    theirs = accounts.confirm_totp(eve, other.code())
    assert login(code=theirs[0]).internal_reason == "wrong_code"
    assert accounts.authenticate("eve@example.org", PASSWORD, theirs[0])


def test_new_codes_void_the_old_ones(ada: User, device: Authenticator) -> None:
    """They are asked for with both factors, a recovery code included."""
    with pytest.raises(cmcore.InvalidCredentialsError):
        accounts.regenerate_recovery_codes(ada, PASSWORD, "000000")
    assert login(code=device.recovery_codes[0])
    fresh = accounts.regenerate_recovery_codes(ada, PASSWORD, device.recovery_codes[1])
    assert newest().extra_data == {"event": "recovery_codes"}
    assert set(fresh).isdisjoint(device.recovery_codes)
    assert not login(code=device.recovery_codes[2])
    assert all(login(code=code) for code in fresh)


def test_codes_go_with_their_user(ada: User, device: Authenticator) -> None:
    """A deleted user keeps them, a purged one does not."""
    ada.delete_instance(recursive=True)
    assert RecoveryCode.select().count() == 10
    ada.purge_instance()
    assert RecoveryCode.select().count() == 0


def test_codes_are_masked_everywhere(ada: User, device: Authenticator) -> None:
    """Neither `repr` nor an error of the database shows a hash."""
    row = RecoveryCode.select().first()
    assert str(row.code_hash) not in repr(row.__data__)
    with pytest.raises(peewee.IntegrityError) as refused:
        RecoveryCode.create(user="nobody", code_hash="f00d" * 16, created_at=None)
    assert "f00d" not in str(refused.value)
