"""Every operation is told, and nothing that is told is a secret."""

import contextlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import accounts
from cmcore.accounts.settings import settings
from cmcore.models import AuditLog, User
from tests.accounts.conftest import EMAIL, PASSWORD, Authenticator, Clock, login
from tests.stock import fetch, is_sqlite, tables

SECOND = "another good passphrase"
MISTYPED = "my secret typed as a name"
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00)?")


class Played:
    """Every operation, played through; what was secret on the way is kept."""

    def __init__(self, clock: Clock) -> None:
        """Begin with the passwords."""
        self.clock = clock
        self.in_clear = {PASSWORD, SECOND, MISTYPED, "guess-1", "guess-2"}
        self.stored: set[str] = set()
        self.codes: set[str] = set()

    def remember(self, user: User) -> None:
        """Keep what the row holds now."""
        row = User.with_deleted().where(User.id == user.id).get()
        held = (row.password_hash, row.totp_secret, row.totp_pending_secret)
        self.stored |= {str(text) for text in held if text is not None}

    def play(self) -> User:
        """Do everything that accounts can do, successes and failures."""
        with contextlib.suppress(cmcore.PasswordPolicyError):
            accounts.create_user(EMAIL, EMAIL, "Ada Lovelace")
        ada = accounts.create_user(EMAIL, PASSWORD, "Ada Lovelace")
        self.remember(ada)
        accounts.authenticate(MISTYPED, PASSWORD)
        login()
        login("guess-1")
        device = self.enrol(ada)
        self.use(ada, device)
        self.change(ada, device)
        return ada

    def enrol(self, ada: User) -> Authenticator:
        """Switch a second factor on, not without failures."""
        with contextlib.suppress(cmcore.InvalidCredentialsError):
            accounts.begin_totp(ada, "guess-2")
        enrolment = accounts.begin_totp(ada, PASSWORD)
        self.in_clear |= {enrolment.secret, enrolment.uri, "otpauth"}
        self.remember(ada)
        device = Authenticator(self.clock, enrolment.secret)
        with contextlib.suppress(cmcore.InvalidCredentialsError):
            accounts.confirm_totp(ada, device.code(9))
        device.recovery_codes = accounts.confirm_totp(ada, device.code())
        self.codes |= {device.code(), device.code(9)}
        self.in_clear |= {*device.recovery_codes}
        self.clock.move(hours=1)
        self.remember(ada)
        return device

    def use(self, ada: User, device: Authenticator) -> None:
        """Sign in and fail in every way, until locked."""
        used = [device.code(-1), device.code(), device.code(1)]
        self.codes |= {*used, "000000"}
        for code in (None, *used, device.code(), "000000", *device.recovery_codes[:2]):
            login(code=code)
        for _ in range(6):
            login("guess-1", device.recovery_codes[0])
        accounts.unlock(ada)

    def change(self, ada: User, device: Authenticator) -> None:
        """Change everything that can be changed."""
        with cmcore.acting_as(ada):
            accounts.set_password(ada, SECOND)
        self.remember(ada)
        old, new = str(settings.secret_key), accounts.generate_key()
        accounts.rotate_secrets(old, new)
        with contextlib.suppress(cmcore.SecretDecryptionError):
            login(SECOND)
        self.remember(ada)
        cmcore.configure(secret_key=new)
        self.in_clear |= {old, new}
        fresh = accounts.regenerate_recovery_codes(
            ada, SECOND, device.recovery_codes[5]
        )
        self.in_clear |= {*fresh}
        accounts.disable_totp(ada, SECOND, fresh[0])
        accounts.disable_user(ada)
        accounts.enable_user(ada)
        ada.delete_instance()
        login(SECOND)


@pytest.fixture
def played(database: peewee.Database, clock: Clock) -> Played:
    """The play, not begun."""
    return Played(clock)


def text_of(database: peewee.Database, table: str) -> str:
    """Return all rows of a table as text."""
    return "\n".join(str(row) for row in fetch(database, f"SELECT * FROM {table}"))  # noqa: S608


def test_the_trail_holds_no_secret(played: Played, database: peewee.Database) -> None:
    """No password, hash, ciphertext, seed, code, key or URI, nor an unknown name."""
    played.play()
    trail = text_of(database, "audit_logs")
    assert AuditLog.select().count() > 25
    secrets = played.in_clear | played.stored
    assert [secret for secret in secrets if secret in trail] == []
    words = json.dumps(
        [
            [e.description, e.error_message, e.extra_data, e.old_values, e.new_values]
            for e in AuditLog.select()
        ]
    )
    told = MOMENT.sub("", words)
    assert [code for code in played.codes if re.search(rf"\b{code}\b", told)] == []


def test_the_database_holds_nothing_in_clear(
    played: Played, database: peewee.Database
) -> None:
    """A dump of all tables, and on SQLite the file itself with all that it forgot."""
    played.play()
    dump = "\n".join(text_of(database, table) for table in tables(database))
    assert EMAIL in dump
    assert [secret for secret in played.in_clear if secret in dump] == []
    if is_sqlite(database):
        folder = Path(str(database.database)).parent
        data = b"".join(path.read_bytes() for path in folder.iterdir())
        assert EMAIL.encode() in data
        assert [s for s in played.in_clear if s.encode() in data] == []


def test_no_log_shows_a_secret(
    played: Played, caplog: pytest.LogCaptureFixture
) -> None:
    """Every logger at its most talkative: neither parameters nor texts show any."""
    with caplog.at_level(logging.DEBUG):
        for name in ("peewee", "cmcore.sql", "cmcore.accounts", "cmcore.hooks"):
            caplog.set_level(logging.DEBUG, name)
        played.play()
    assert "UPDATE" in caplog.text
    secrets = played.in_clear | played.stored
    assert [secret for secret in secrets if secret in caplog.text] == []


def test_every_operation_has_its_entry(played: Played) -> None:
    """The standard actions, with who acted; failures are told as such."""
    ada = played.play()
    told: dict[str, set[Any]] = {}
    for entry in AuditLog.select():
        told.setdefault(entry.action, set()).add(entry.success)
    assert told == {
        "create": {True},
        "update": {True},
        "delete": {True},
        "login_success": {True},
        "login_failed": {False},
        "password_change": {True},
        "2fa_enabled": {True},
        "2fa_disabled": {True},
        "config_change": {True},
        "user_suspend": {True},
        "user_activate": {True},
    }
    reasons = {
        (entry.extra_data or {})["internal_reason"]
        for entry in AuditLog.select().where(AuditLog.action == "login_failed")
    }
    assert reasons >= {
        "unknown",
        "wrong_password",
        "wrong_code",
        "locked",
        "second_factor_required",
        "unreadable_secret",
        "deleted",
    }
    own = AuditLog.select().where(AuditLog.action == "login_success")
    assert {entry.user_id for entry in own} == {ada.id}
