"""Seeds at rest: encrypted, bound to their user, under a key that can be changed."""

from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts import seeds
from cmcore.accounts.settings import settings
from cmcore.models import User
from tests.accounts.conftest import PASSWORD, Authenticator, Clock, login, newest


def stored(user: User, **values: Any) -> Any:
    """Return the stored seed; write other values first, by SQL."""
    if values:
        fields = {getattr(User, name): value for name, value in values.items()}
        peewee.ModelUpdate(User, fields).where(User.id == user.id).execute()
    return User.with_deleted().where(User.id == user.id).get().totp_secret


def test_no_seed_is_stored_in_clear(ada: User, device: Authenticator) -> None:
    """Neither confirmed nor pending, and two ciphertexts of one seed differ."""
    pending = accounts.begin_totp(ada, PASSWORD).secret
    row = User.get_by_id(ada.id)
    assert device.secret not in str(row.totp_secret)
    assert pending not in str(row.totp_pending_secret)
    assert seeds.decrypted(row.totp_secret, ada.id) == device.secret
    assert seeds.encrypted("x", "u") != seeds.encrypted("x", "u")


@pytest.mark.parametrize("broken", ["", "v1:", "v1:AAAA", "v2:", "plain", "\u00e4"])
def test_a_broken_ciphertext_raises(
    ada: User, device: Authenticator, broken: str
) -> None:
    """It is never taken for no second factor; the entry says so, the counters stay."""
    whole = str(stored(ada))
    text = broken + whole.removeprefix("v1:") if broken == "v2:" else broken
    stored(ada, totp_secret=text)
    with pytest.raises(cmcore.SecretDecryptionError) as refused:
        login(code=device.code())
    assert refused.value.user_id == ada.id
    assert newest().extra_data == {"internal_reason": "unreadable_secret"}
    assert User.get_by_id(ada.id).failed_login_attempts == 0


def test_a_missing_seed_raises(ada: User, device: Authenticator) -> None:
    """The factor is on and has no seed: nobody gets in by the password alone."""
    stored(ada, totp_secret=None)
    for code in (None, "000000"):
        with pytest.raises(cmcore.SecretDecryptionError):
            login(code=code)


def test_a_ciphertext_of_another_user_raises(ada: User, device: Authenticator) -> None:
    """It is bound to its row."""
    eve = accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    stored(eve, totp_secret=stored(ada), is_2fa_enabled=True)
    with pytest.raises(cmcore.SecretDecryptionError):
        accounts.authenticate("eve@example.org", PASSWORD, device.code())


def test_another_key_raises(ada: User, device: Authenticator) -> None:
    """With a lost key, and with none, a login with a second factor is an error."""
    cmcore.configure(secret_key=accounts.generate_key())
    with pytest.raises(cmcore.SecretDecryptionError):
        login(code=device.code())
    with pytest.raises(cmcore.SecretDecryptionError):
        login()
    cmcore.configure(secret_key=None)
    with pytest.raises(cmcore.SecretDecryptionError):
        login(code=device.code())
    assert not login("wrong")


def test_a_recovery_code_needs_no_key(ada: User, device: Authenticator) -> None:
    """It helps where the key is lost."""
    cmcore.configure(secret_key=accounts.generate_key())
    assert login(code=device.recovery_codes[0])


def test_the_key_comes_from_the_environment(
    ada: User, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CMCORE_SECRET_KEY`, unless one is configured; without any, nobody enrols."""
    cmcore.configure(secret_key=None)
    monkeypatch.delenv("CMCORE_SECRET_KEY", raising=False)
    with pytest.raises(cmcore.SecretKeyMissingError, match="generate_key"):
        accounts.begin_totp(ada, PASSWORD)
    monkeypatch.setenv("CMCORE_SECRET_KEY", accounts.generate_key())
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    assert accounts.confirm_totp(ada, device.code())


BAD_KEYS = ["short", "x" * 44, "\u00e4" * 43 + "=", "A" * 43, b"x" * 44, 7]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_a_wrong_setting(ada: User, key: Any) -> None:
    """The error says what a key is, and does not show this one."""
    cmcore.configure(secret_key=key)
    with pytest.raises(cmcore.ConfigurationError, match="generate_key") as refused:
        accounts.begin_totp(ada, PASSWORD)
    assert "CMCORE_SECRET_KEY, or secret_key" in str(refused.value)
    assert str(key) not in str(refused.value).replace("32 bytes", "")


@pytest.mark.parametrize("key", [*BAD_KEYS, "", None])
@pytest.mark.parametrize("name", ["old_key", "new_key"])
def test_rotation_takes_keys_only(
    ada: User, device: Authenticator, name: str, key: Any
) -> None:
    """Neither the one that is set nor none stands in for one that is given."""
    before = stored(ada)
    keys = {"old_key": settings.secret_key, "new_key": accounts.generate_key()}
    given: dict[str, Any] = {**keys, name: key}
    with pytest.raises(cmcore.ConfigurationError, match=f"{name} is no key"):
        accounts.rotate_secrets(**given)
    assert stored(ada) == before
    assert newest().extra_data != {"event": "rotate_secrets"}


def test_rotation_encrypts_all_anew(ada: User, device: Authenticator) -> None:
    """Confirmed, pending and deleted users' ones; sessions and the trail stay calm."""
    old, new = str(settings.secret_key), accounts.generate_key()
    accounts.begin_totp(ada, PASSWORD)
    eve = accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    other = Authenticator(device.clock, accounts.begin_totp(eve, PASSWORD).secret)
    accounts.confirm_totp(eve, other.code())
    eve.delete_instance()
    epoch = User.get_by_id(ada.id).auth_epoch
    assert accounts.rotate_secrets(old, new) == 3
    assert newest().extra_data == {"event": "rotate_secrets"}
    assert accounts.rotate_secrets(old, new) == 0
    with pytest.raises(cmcore.SecretDecryptionError):
        login(code=device.code())
    cmcore.configure(secret_key=new)
    assert login(code=device.code())
    assert seeds.decrypted(stored(eve), eve.id) == other.secret
    assert User.get_by_id(ada.id).auth_epoch == epoch


def test_rotation_is_all_or_nothing(ada: User, device: Authenticator) -> None:
    """A seed under neither key makes it refuse, and every seed stays as it was."""
    eve = accounts.create_user("eve@example.org", PASSWORD, "Eve Else")
    stored(eve, totp_secret=seeds.encrypted("x", eve.id, accounts.generate_key()))
    before = [stored(ada), stored(eve)]
    with pytest.raises(cmcore.SecretDecryptionError):
        accounts.rotate_secrets(str(settings.secret_key), accounts.generate_key())
    assert [stored(ada), stored(eve)] == before
    assert login(code=device.code())
