"""How passwords are hashed, which are refused, and when a hash is made anew."""

import logging
from collections.abc import Callable
from typing import Any

import argon2
import peewee
import pytest
from argon2 import PasswordHasher, Type
from argon2.profiles import RFC_9106_LOW_MEMORY

import cmcore
from cmcore import accounts
from cmcore.accounts import passwords
from cmcore.accounts.settings import STANDARD_HASHER, settings
from cmcore.models import AuditLog, User
from tests.accounts.conftest import (
    EMAIL,
    PASSWORD,
    Authenticator,
    counters,
    login,
    newest,
)


def hasher(**changes: Any) -> PasswordHasher:
    """Return a cheap hasher, some of its parameters changed."""
    given = {"memory_cost": 64, "time_cost": 2, "parallelism": 1, **changes}
    return PasswordHasher(**given)


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> PasswordHasher:
    """A cheap hasher in the place of the standard one, with room below it."""
    ours = hasher()
    monkeypatch.setattr(settings, "hasher", ours)
    return ours


def store(user: User, stored: str) -> None:
    """Put a hash into a row by SQL, as an older program might have done."""
    sql = peewee.ModelUpdate(User, {User.password_hash: stored})
    sql.where(User.id == user.id).execute()


def stored_hash(user: User) -> str:
    """Return the hash that a row has."""
    return str(User.get_by_id(user.id).password_hash)


def test_the_standard_profile_is_that_of_the_rfc() -> None:
    """Without a setting: Argon2id, 64 MiB, three passes, four lanes."""
    cmcore.configure(password_hasher=None)
    found = argon2.extract_parameters(passwords.hashed(PASSWORD))
    assert found == RFC_9106_LOW_MEMORY
    assert settings.hasher is STANDARD_HASHER


@pytest.mark.parametrize(
    ("memory", "passes"),
    [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5), (65536, 3)],
)
def test_settings_at_the_floor_are_taken(memory: int, passes: int) -> None:
    """Each of OWASP's equivalents may be set, and one step below it may not."""
    enough = hasher(memory_cost=memory, time_cost=passes)
    cmcore.configure(password_hasher=enough)
    assert settings.hasher is enough


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_cost": 47103, "time_cost": 1},
        {"memory_cost": 19455, "time_cost": 2},
        {"memory_cost": 7167, "time_cost": 9},
        {"memory_cost": 65536, "time_cost": 3, "type": Type.I},
    ],
)
def test_settings_below_the_floor_are_refused(changes: dict[str, Any]) -> None:
    """The error says what would be enough, and the old setting stays."""
    before = settings.hasher
    with pytest.raises(cmcore.ConfigurationError, match="19456 KiB"):
        cmcore.configure(password_hasher=hasher(**changes))
    assert settings.hasher is before


@pytest.mark.parametrize(
    "weaker",
    [
        {"memory_cost": 32},
        {"time_cost": 1},
        {"hash_len": 16},
        {"salt_len": 8},
        {"type": Type.I},
        {"memory_cost": 32, "time_cost": 1, "parallelism": 2},
    ],
)
def test_a_weaker_hash_is_upgraded_once(
    ada: User, ours: PasswordHasher, weaker: dict[str, Any]
) -> None:
    """At a full success; the next login leaves it alone, and no session ends."""
    store(ada, hasher(**weaker).hash(PASSWORD))
    epoch = User.get_by_id(ada.id).auth_epoch
    assert not login("wrong")
    assert ours.check_needs_rehash(stored_hash(ada))
    assert login()
    better = stored_hash(ada)
    assert not ours.check_needs_rehash(better)
    assert newest().action == "update"
    assert newest().extra_data == {"reason": "stronger hash"}
    assert login()
    assert stored_hash(ada) == better
    assert User.get_by_id(ada.id).auth_epoch == epoch


def test_a_hash_is_upgraded_after_both_factors(
    ada: User, device: Authenticator, ours: PasswordHasher
) -> None:
    """The password alone, or with a wrong code, is no full success."""
    weak = hasher(time_cost=1).hash(PASSWORD)
    store(ada, weak)
    for code in (None, "000000"):
        assert not login(code=code)
        assert stored_hash(ada) == weak
    assert login(code=device.code())
    assert not ours.check_needs_rehash(stored_hash(ada))


@pytest.mark.parametrize(
    "stronger",
    [
        {"memory_cost": 128},
        {"time_cost": 3},
        {"hash_len": 48},
        {"memory_cost": 128, "time_cost": 1},
        {"memory_cost": 32, "time_cost": 9},
        {"parallelism": 4},
    ],
)
def test_a_stronger_hash_is_left_alone(
    ada: User, ours: PasswordHasher, stronger: dict[str, Any]
) -> None:
    """More of one parameter is never given up for more of another."""
    held = hasher(**stronger).hash(PASSWORD)
    store(ada, held)
    assert login()
    assert stored_hash(ada) == held


@pytest.mark.usefixtures("ours")
def test_a_failing_upgrade_does_not_fail_the_login(
    ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises is logged without its text, and the old hash stays."""
    held = hasher(time_cost=1).hash(PASSWORD)
    store(ada, held)

    def fail(password: str) -> str:
        raise RuntimeError(password)

    monkeypatch.setattr(passwords, "hashed", fail)
    with caplog.at_level(logging.WARNING, "cmcore.accounts"):
        assert login()
    assert stored_hash(ada) == held
    assert "RuntimeError" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("ours")
def test_an_upgrade_that_the_database_refuses_leaves_a_transaction_usable(
    ada: User, plugin: Callable[..., Any], database: peewee.Database
) -> None:
    """Inside a transaction of the caller, too, the login and its entry are kept."""

    class Refusal:
        @cmcore.hookimpl
        def cmcore_after_update(self, changes: Any) -> None:
            list(User.raw("SELECT nonsense FROM nowhere"))

    held = hasher(time_cost=1).hash(PASSWORD)
    store(ada, held)
    plugin(Refusal())
    with database.atomic():
        assert login()
        assert newest().action == "login_success"
    assert newest().action == "login_success"
    assert stored_hash(ada) == held


WHOLE = hasher(hash_len=32).hash(PASSWORD)
UNUSABLE = [
    "!unusable-password",
    "!" * 8,
    "*********",
    "$2b$12$KIXQ4DpTr5vXJ0q5WvVd4uJ5eGzqk0o2n4m9Q1n0n8yq3b0Z0yQ5a",
    "$argon2id$v=19$m=64,t=2,p=1$",
    WHOLE[:-5],
    WHOLE[:-3],
    WHOLE[:40],
    WHOLE.replace("m=64", "m=abc"),
    WHOLE.replace("argon2id", "argon2x"),
    WHOLE[:-3] + "???",
    "pbkdf2:sha256:1000$salt$0011",
    "h\u00e4sh-\u00e4\u00e4\u00e4\u00e4",
]


@pytest.mark.parametrize("stored", UNUSABLE, ids=range(len(UNUSABLE)))
def test_an_unusable_hash_fails_as_any_other(
    ada: User, stored: str, work: list[Any]
) -> None:
    """The same answer for one verification's work; the reason is in the trail."""
    store(ada, stored)
    result = login()
    assert (result.ok, result.reason) == (False, "invalid_credentials")
    assert result.internal_reason == "unusable_hash"
    assert newest().extra_data["internal_reason"] == "unusable_hash"
    assert counters(ada)[0] == 1
    assert len(work) == 1


def costing(**costs: int) -> str:
    """Return a hash that claims other costs."""
    m, t, p = (costs.get(name, now) for name, now in (("m", 65536), ("t", 3), ("p", 4)))
    return WHOLE.replace("m=64,t=2,p=1", f"m={m},t={t},p={p}")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that argon2 is asked to verify; none of them is right."""
    asked: list[str] = []

    def verify(self: Any, stored: str, password: Any) -> bool:
        asked.append(stored)
        raise argon2.exceptions.VerifyMismatchError

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    return asked


ABSURD = [
    {"t": 2**32 - 1},
    {"t": 129, "m": 8, "p": 1},
    {"m": 2**32 - 1, "t": 1},
    {"m": 2**21 + 1, "t": 1},
    {"m": 2**21, "t": 5},
    {"m": 2**21, "t": 1, "p": 256},
]


@pytest.mark.parametrize("costs", ABSURD, ids=str)
def test_a_hash_that_would_take_minutes_is_not_tried(
    ada: User, costs: dict[str, int], verified: list[str]
) -> None:
    """It is unusable, for the work of one verification at the current cost."""
    stored = costing(**costs)
    store(ada, stored)
    assert login().internal_reason == "unusable_hash"
    assert len(verified) == 1
    assert stored not in verified
    assert not passwords.is_weaker(stored)


STRONG = [{}, {"m": 2**21, "t": 4}, {"t": 128}, {"m": 2**20, "t": 8, "p": 255}]


@pytest.mark.parametrize("costs", STRONG, ids=str)
def test_a_strong_hash_is_tried(
    ada: User, costs: dict[str, int], verified: list[str]
) -> None:
    """Up to many times the standard, with whatever hasher is configured."""
    store(ada, costing(**costs))
    assert login().internal_reason == "wrong_password"
    assert verified == [costing(**costs)]


@pytest.mark.parametrize("costs", ABSURD, ids=str)
def test_a_hash_of_the_configured_cost_is_tried(
    monkeypatch: pytest.MonkeyPatch, costs: dict[str, int], verified: list[str]
) -> None:
    """However much that is."""
    stored = costing(**costs)
    ours = PasswordHasher.from_parameters(argon2.extract_parameters(stored))
    monkeypatch.setattr(settings, "hasher", ours)
    assert passwords.tried(stored, PASSWORD) is passwords.Verdict.WRONG
    assert verified == [stored]


def test_passwords_are_compared_in_one_form(ada: User) -> None:
    """NFKC: a ligature and its letters, a letter with its accent apart."""
    accounts.set_password(ada, "\ufb01ve e\u0301le\u0301phants")
    assert login("five \u00e9l\u00e9phants")


@pytest.mark.parametrize("odd", [None, 7, b"bytes", "\ud800", "a" * 5_000_000, "x\0y"])
def test_odd_passwords_are_wrong_and_nothing_else(
    ada: User, odd: Any, work: list[Any]
) -> None:
    """Neither an error nor more work comes of them."""
    assert login(odd).internal_reason == "wrong_password"
    assert len(work) == 1
    assert all(len(password) < 2000 for password in work)


SHOWN = [
    ("short", ["too_short"]),
    ("a" * 11, ["too_short"]),
    ("a" * 1025, ["too_long"]),
    ("\u20ac" * 342, ["too_long"]),
    ("\ufdfa" * 60, ["too_long"]),
    ("Ada@Example.ORG", ["is_email"]),
    ("ada lovelace ", ["is_name"]),
    ("ADA", ["too_short", "is_email"]),
    ("long enough \ud800", ["not_text"]),
    (None, ["not_text"]),
    (b"bytes are no text", ["not_text"]),
]


@pytest.mark.parametrize(("password", "codes"), SHOWN, ids=range(len(SHOWN)))
def test_bad_passwords_are_refused_with_all_reasons(
    database: peewee.Database, password: Any, codes: list[str], work: list[Any]
) -> None:
    """All at once, before anything is hashed, and the password is not in the error."""
    with pytest.raises(cmcore.PasswordPolicyError) as refused:
        accounts.create_user(EMAIL, password, "Ada Lovelace")
    assert list(refused.value.codes) == codes
    assert not isinstance(password, str) or password not in str(refused.value)
    assert User.select().where(User.email == EMAIL).count() == 0
    assert work == []


@pytest.mark.parametrize(
    "password", ["a" * 12, "\u20ac" * 341, " " * 12, "e\u0301" * 12, "\U0001f600" * 12]
)
def test_long_passwords_of_any_characters_are_taken(ada: User, password: str) -> None:
    """Twelve code points to 1024 bytes; nothing is asked of their composition."""
    accounts.set_password(ada, password)
    assert login(password)


def test_a_plugin_refuses_passwords(ada: User, plugin: Callable[..., Any]) -> None:
    """Its reasons stand beside ours, and those of several plugins add up."""
    asked: list[Any] = []

    class Breached:
        @cmcore.hookimpl
        def cmcore_check_password(self, user: Any, password: str) -> str | None:
            asked.append(user.email)
            return "breached" if "battery" in password else None

    class Listed:
        @cmcore.hookimpl
        def cmcore_check_password(self, user: Any, password: str) -> list[str]:
            return ["listed", "listed"]

    plugin(Breached())
    plugin(Listed())
    with pytest.raises(cmcore.PasswordPolicyError) as refused:
        accounts.set_password(ada, "battery")
    assert set(refused.value.codes) == {"too_short", "breached", "listed"}
    assert asked == [EMAIL]
    assert login()


def test_a_plugin_that_raises_is_broken_and_the_rest_are_asked(
    ada: User, plugin: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """cmcore_check_password: the others decide, and no text of the error is kept."""

    class Broken:
        @cmcore.hookimpl
        def cmcore_check_password(self, user: Any, password: str) -> None:
            raise ValueError(password)

    class Listed:
        @cmcore.hookimpl
        def cmcore_check_password(self, user: Any, password: str) -> str | None:
            return "listed" if password.startswith("listed") else None

    plugin(Listed())
    plugin(Broken(), "broken")
    with pytest.raises(cmcore.PasswordPolicyError):
        accounts.set_password(ada, "listed, but long")
    accounts.set_password(ada, "not on any list")
    (info,) = [i for i in cmcore.plugins.list() if i.name == "broken"]
    assert info.status == "error"
    assert "ValueError" in str(info.error)
    assert "listed, but" not in caplog.text + str(info.error)


def test_an_address_is_taken_once(ada: User) -> None:
    """In whatever case; a deleted user does not hold it."""
    with pytest.raises(cmcore.DuplicateError):
        accounts.create_user(EMAIL.upper(), PASSWORD, "Ada Again")
    ada.delete_instance()
    again = accounts.create_user(EMAIL.upper(), "another good one", "Ada Again")
    assert login("another good one").user == again


def test_who_sets_a_password_is_told_apart(ada: User) -> None:
    """A change by the user himself, a reset by anybody else."""
    with cmcore.acting_as(ada):
        accounts.set_password(ada, "another good one")
    assert (newest().action, newest().user_id) == ("password_change", ada.id)
    accounts.set_password(ada, "and another one")
    assert (newest().action, newest().user_id) == ("password_reset", "system")
    assert newest().resource_id == ada.id


def test_a_deleted_user_gets_no_password(ada: User) -> None:
    """It is refused, and nothing changes."""
    User.delete().where(User.id == ada.id).execute()
    with pytest.raises(cmcore.StaleDeletedError):
        accounts.set_password(ada, "another good one")


def test_system_is_let_in_by_nobody(database: peewee.Database, work: list[Any]) -> None:
    """It gets no password and is not enabled; nothing is hashed, nothing told."""
    system = User.get_by_id("system")
    before = AuditLog.select().count()
    with pytest.raises(cmcore.ProtectedRowError, match="log in"):
        accounts.set_password(system, "another good one")
    with pytest.raises(cmcore.ProtectedRowError, match="log in"):
        accounts.enable_user(system)
    row = User.get_by_id("system")
    assert (row.is_active, row.password_hash) == (False, system.password_hash)
    assert AuditLog.select().count() == before
    assert work == []
