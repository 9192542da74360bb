"""Codes of an authenticator (RFC 6238), and recovery codes that stand in for them."""

import hashlib
import hmac
import secrets
from typing import Any

import pyotp

from cmcore.accounts import clock
from cmcore.keys import new_key
from cmcore.models import RecoveryCode

STEP = 30  # seconds
DIGITS = 6
DRIFT = (-1, 0, 1)
HOW_MANY = 10

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: 5 bits a character
_ALIKE = str.maketrans("OIL", "011")
_GROUPS, _GROUP = 6, 4  # 120 bits


def new_seed() -> str:
    """Return a new seed of 160 bits, as RFC 4226 recommends, in base 32."""
    return pyotp.random_base32()


def uri(seed: str, email: str, issuer: str) -> str:
    """Return what an authenticator reads from a QR code."""
    return pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=issuer)


def digits(code: Any) -> str | None:
    """Return a code of an authenticator without its spaces; None for another text."""
    if not isinstance(code, str):
        return None
    plain = "".join(code.split())
    is_code = len(plain) == DIGITS and plain.isascii() and plain.isdigit()
    return plain if is_code else None


def step_of(seed: str, code: str) -> int | None:
    """Return the newest step whose code this is, of the last, this and the next one.

    Steps are counted in whole seconds of Unix time, which no local clock changes.
    """
    this = int(clock.now().timestamp()) // STEP
    generator = pyotp.HOTP(seed)
    steps = [
        this + drift
        for drift in DRIFT
        if hmac.compare_digest(generator.at(this + drift), code)
    ]
    return max(steps, default=None)


def recovery_hash(code: Any) -> str | None:
    """Return how a recovery code is stored; None for what is none.

    A plain SHA-256 is enough for 112 random bits and more (ASVS 6.5.2).
    """
    if not isinstance(code, str):
        return None
    plain = "".join(code.replace("-", " ").split()).upper().translate(_ALIKE)
    if len(plain) != _GROUPS * _GROUP or not set(plain) <= set(_ALPHABET):
        return None
    return hashlib.sha256(plain.encode()).hexdigest()


def renew_recovery_codes(user: Any) -> list[str]:
    """Give a user ten new recovery codes; the old ones are void."""
    forget_recovery_codes(user)
    codes = [_new_recovery_code() for _ in range(HOW_MANY)]
    at = clock.now()
    rows = [
        {
            "id": new_key(),
            "user": user.id,
            "code_hash": recovery_hash(code),
            "created_at": at,
        }
        for code in codes
    ]
    RecoveryCode.insert_many(rows).execute()
    return codes


def forget_recovery_codes(user: Any) -> None:
    """Delete the recovery codes of a user, used ones included."""
    RecoveryCode.delete().where(RecoveryCode.user == user.id).execute()


def _new_recovery_code() -> str:
    groups = (
        "".join(map(secrets.choice, [_ALPHABET] * _GROUP)) for _ in range(_GROUPS)
    )
    return "-".join(groups)
