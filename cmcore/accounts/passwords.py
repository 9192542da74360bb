"""Passwords: how they are hashed, what it costs to try one, and which are refused.

Every try costs one Argon2 verification, whatever is stored, so that the time that a
login takes tells nothing about the account.
"""

import base64
import contextlib
import unicodedata
from enum import Enum
from typing import Any

from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from argon2.exceptions import (
    Argon2Error,
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)

from cmcore.accounts.settings import STANDARD_HASHER, settings
from cmcore.errors import PasswordPolicyError
from cmcore.hooks import dispatch

SHORTEST = 12  # code points
LONGEST = 1024  # bytes of UTF-8
_TAG_LENGTHS = frozenset({16, 24, 32, 48, 64})  # another one is a hash cut short
_ARGON2_VERSION = 19

# A stored hash that costs more would keep a login busy for minutes, or the machine out
# of memory; what the configured hasher itself makes is never too much.
_MOST_MEMORY = 2**21  # KiB, as RFC 9106's first choice
_MOST_WORK = 2**23  # KiB times passes: forty times the standard, 128 passes at most
_MOST_LANES = 255


class Verdict(Enum):
    """What a try of a password found."""

    RIGHT = "right"
    WRONG = "wrong_password"
    UNUSABLE = "unusable_hash"


def hashed(password: str) -> str:
    """Return the hash of a password that keeps the rules."""
    return settings.hasher.hash(_bytes(password) or b"")


def tried(stored: Any, password: Any) -> Verdict:
    """Compare a password with a stored hash, for the price of one verification.

    Args:
        stored: What the row holds; None where there is no row.
        password: What somebody typed.
    """
    given = _bytes(password)
    if _parameters(stored) is None:
        _spend(given)
        return Verdict.UNUSABLE
    try:
        settings.hasher.verify(stored, given or b"")
    except VerifyMismatchError:
        return Verdict.WRONG
    except (VerificationError, InvalidHashError):  # it was refused without any work
        _spend(given)
        return Verdict.UNUSABLE
    return Verdict.WRONG if given is None else Verdict.RIGHT


def is_weaker(stored: Any) -> bool:
    """Tell whether a hash is weaker than a new one would be; never for a stronger one.

    More of one parameter and less of another is not weaker.
    """
    held = _parameters(stored)
    if held is None:
        return False
    if held.type is not Type.ID or held.version < _ARGON2_VERSION:
        return True
    hasher = settings.hasher
    ours = (hasher.memory_cost, hasher.time_cost, hasher.hash_len, hasher.salt_len)
    theirs = (held.memory_cost, held.time_cost, held.hash_len, held.salt_len)
    return theirs != ours and all(t <= o for t, o in zip(theirs, ours, strict=True))


def check_policy(user: Any, password: Any) -> None:
    """Raise `PasswordPolicyError` with everything that is wrong with a new password."""
    codes = [*_broken_rules(user, password), *dispatch.check_password(user, password)]
    if codes:
        raise PasswordPolicyError(tuple(dict.fromkeys(codes)))


def _broken_rules(user: Any, password: Any) -> list[str]:
    if not isinstance(password, str) or not _is_encodable(password):
        return ["not_text"]
    if len(password) > LONGEST:
        return ["too_long"]
    codes = []
    text = _normal(password)
    if len(text) < SHORTEST:
        codes.append("too_short")
    if _bytes(password) is None:
        codes.append("too_long")
    email = str(user.email or "")
    if _folded(text) in {_folded(email), _folded(email.partition("@")[0])}:
        codes.append("is_email")
    if _folded(text) == _folded(str(user.full_name or "")):
        codes.append("is_name")
    return codes


def _bytes(password: Any) -> bytes | None:
    """Return what is hashed; None for what cannot be a password."""
    if not isinstance(password, str) or len(password) > LONGEST:
        return None
    if not _is_encodable(password):
        return None
    given = _normal(password).encode()
    return given if len(given) <= LONGEST else None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _folded(text: str) -> str:
    return _normal(text).strip().casefold()


def _parameters(stored: Any) -> Parameters | None:
    """Return the parameters of a hash; None for what is none that can be tried."""
    if not isinstance(stored, str) or not stored.isascii():
        return None
    try:
        found = extract_parameters(str(stored))
    except (InvalidHashError, ValueError):
        return None
    is_whole = found.hash_len in {*_TAG_LENGTHS, settings.hasher.hash_len}
    return found if is_whole and _is_bearable(found) else None


def _is_bearable(cost: Parameters) -> bool:
    ours = settings.hasher
    return (
        cost.memory_cost <= max(_MOST_MEMORY, ours.memory_cost)
        and cost.parallelism <= max(_MOST_LANES, ours.parallelism)
        and _work(cost) <= max(_MOST_WORK, _work(ours))
    )


def _work(cost: Parameters | PasswordHasher) -> int:
    """Return memory times passes, which take their time over little memory too."""
    return cost.time_cost * max(cost.memory_cost, STANDARD_HASHER.memory_cost)


def _spend(given: bytes | None) -> None:
    """Do the work of one verification with the current parameters."""
    with contextlib.suppress(Argon2Error):
        settings.hasher.verify(_nobodys_hash(settings.hasher), given or b"")


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """Return a hash that no known password has."""
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, tag = (_text(b"\0" * n) for n in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v={_ARGON2_VERSION}${costs}${salt}${tag}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")
