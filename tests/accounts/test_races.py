"""What happens at the same moment in several processes has one outcome."""

from collections import Counter
from typing import Any

import peewee
import pyotp
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts.codes import renew_recovery_codes
from cmcore.models import AuditLog, RecoveryCode, User
from tests.accounts.conftest import EMAIL, PASSWORD, counters
from tests.accounts.race import RUNNERS, confirm, demote, disable, log_in, race
from tests.conftest import MakeUrl, connected


@pytest.fixture
def key() -> str:
    """The key of seeds in all processes."""
    key = accounts.generate_key()
    cmcore.configure(secret_key=key)
    return key


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """The URL of a migrated database."""
    return make_url(engine, migrated=True)


@pytest.fixture
def database(url: str) -> Any:
    """The database, here as well."""
    with connected(url) as db:
        yield db


@pytest.fixture
def seed(ada: User, key: str) -> str:
    """The seed of Ada's second factor, whose enrolment code is long past."""
    enrolment = accounts.begin_totp(ada, PASSWORD)
    accounts.confirm_totp(ada, pyotp.TOTP(enrolment.secret).now())
    User.update(totp_last_step=0).execute()
    return enrolment.secret


def test_wrong_passwords_are_counted_exactly(ada: User, url: str, key: str) -> None:
    """Twenty at once: five count, the lock is set once, and the rest find it."""
    found = Counter(race(url, key, log_in, EMAIL, "wrong"))
    assert found == {"wrong_password": 5, "locked": RUNNERS - 5}
    assert counters(ada)[0] == 5
    failed = AuditLog.select().where(AuditLog.action == "login_failed")
    told = [entry.extra_data for entry in failed]
    locks = [extra["locked_until"] for extra in told if extra.get("locked_until")]
    assert len(locks) == 1
    assert sorted(e["attempts"] for e in told if "attempts" in e) == [1, 2, 3, 4, 5]
    assert len(told) == RUNNERS


def test_a_code_has_one_user(ada: User, url: str, key: str, seed: str) -> None:
    """Twenty logins with one code: one success, the others are replays."""
    code = pyotp.TOTP(seed).now()
    found = Counter(race(url, key, log_in, EMAIL, PASSWORD, code))
    assert found["ok"] == 1
    assert found["wrong_code"] + found["locked"] == RUNNERS - 1
    logins = AuditLog.select().where(AuditLog.action == "login_success")
    assert logins.count() == 1


@pytest.mark.usefixtures("seed")
def test_a_recovery_code_has_one_user(ada: User, url: str, key: str) -> None:
    """Twenty logins with one recovery code: one success, and one code is used."""
    User.update(is_2fa_enabled=True).execute()
    code = renew_recovery_codes(ada)[0]
    found = Counter(race(url, key, log_in, EMAIL, PASSWORD, code))
    assert found["ok"] == 1
    assert found["wrong_code"] + found["locked"] == RUNNERS - 1
    used = RecoveryCode.select().where(RecoveryCode.used_at.is_null(False))
    assert used.count() == 1


def test_an_enrolment_is_confirmed_once(ada: User, url: str, key: str) -> None:
    """One call gets recovery codes, and they are the ones that hold."""
    secret = accounts.begin_totp(ada, PASSWORD).secret
    found = Counter(race(url, key, confirm, ada.id, pyotp.TOTP(secret).now()))
    assert found["10 codes"] == 1
    assert found["changed_meanwhile"] + found["nothing_pending"] == RUNNERS - 1
    assert RecoveryCode.select().count() == 10
    assert User.get_by_id(ada.id).auth_epoch == 1


def test_admins_cannot_remove_each_other(
    database: peewee.Database, url: str, key: str
) -> None:
    """Two admins, whom twenty calls demote at once: one of them stays."""
    keys = [
        User.create(
            email=f"admin{i}@example.org",
            password_hash="!" * 8,
            full_name=f"Admin {i}",
            role="admin",
        ).id
        for i in range(2)
    ]
    found = Counter(race(url, key, demote, *keys))
    assert set(found) == {"ok", "last"}
    assert User.select().where(User.role == "admin").count() == 1


def test_a_user_is_disabled_once(ada: User, url: str, key: str) -> None:
    """Twenty administrators do it at once: one entry says so."""
    race(url, key, disable, ada.id)
    assert not User.get_by_id(ada.id).is_active
    assert AuditLog.select().where(AuditLog.action == "user_suspend").count() == 1
