"""Accounts on both engines: cheap hashing, a key, and a clock that tests move."""

import types
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import peewee
import pyotp
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts import clock as clocks
from cmcore.models import AuditLog, User
from cmcore.testing import cheap_passwords

PASSWORD = "correct horse battery"
EMAIL = "ada@example.org"


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    """Hashing that costs next to nothing, and a key, in every test here."""
    cmcore.configure(secret_key=accounts.generate_key())
    with cheap_passwords():
        yield
    cmcore.configure(secret_key=None)


class Clock:
    """The time that accounts see."""

    def __init__(self, now: datetime) -> None:
        """Begin at a moment."""
        self.at = now

    def now(self, zone: Any) -> datetime:
        """Do what `datetime.now` does."""
        return self.at.astimezone(zone)

    def move(self, **by: float) -> None:
        """Let time pass."""
        self.at += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until it is moved."""
    clock = Clock(datetime(2026, 3, 4, 12, 0, 10, tzinfo=UTC))
    module = types.SimpleNamespace(datetime=clock, UTC=UTC)
    monkeypatch.setattr(clocks, "datetime", module)
    return clock


@pytest.fixture
def ada(database: peewee.Database) -> User:
    """A user with a password."""
    return accounts.create_user(EMAIL, PASSWORD, "Ada Lovelace")


def login(password: Any = PASSWORD, code: Any = None) -> accounts.AuthResult:
    """Try to sign Ada in."""
    return accounts.authenticate(EMAIL, password, code)


def counters(user: User) -> tuple[Any, ...]:
    """Return what failures move in a row."""
    row = User.with_deleted().where(User.id == user.id).get()
    return row.failed_login_attempts, row.last_failed_login, row.locked_until


def newest() -> AuditLog:
    """Return the newest entry."""
    entry = AuditLog.trail().first()
    assert entry is not None
    return entry


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The password of each verification and each hash that argon2 computes."""
    done: list[Any] = []

    def counted(name: str) -> None:
        original = getattr(argon2.PasswordHasher, name)

        def call(self: Any, *args: Any) -> Any:
            try:
                result = original(self, *args)
            except argon2.exceptions.VerifyMismatchError:
                done.append(args[-1])
                raise
            done.append(args[-1])
            return result

        monkeypatch.setattr(argon2.PasswordHasher, name, call)

    counted("verify")
    counted("hash")
    return done


class Authenticator:
    """What a user has on the telephone, beside the recovery codes."""

    def __init__(self, clock: Clock, secret: str) -> None:
        """Read the seed."""
        self.clock = clock
        self.secret = secret
        self.recovery_codes: list[str] = []

    def code(self, steps: int = 0) -> str:
        """Return the code of now, or of some steps later."""
        at = int(self.clock.at.timestamp()) + 30 * steps
        return str(pyotp.TOTP(self.secret).at(at))


@pytest.fixture
def device(ada: User, clock: Clock) -> Authenticator:
    """Ada's authenticator; she confirmed the enrolment an hour ago."""
    device = Authenticator(clock, accounts.begin_totp(ada, PASSWORD).secret)
    device.recovery_codes = accounts.confirm_totp(ada, device.code())
    clock.move(hours=1)
    return device
