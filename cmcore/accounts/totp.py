"""Second factors: begun, confirmed, switched off; recovery codes made anew."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from cmcore.accounts import clock, codes, rows, seeds
from cmcore.accounts.events import as_self, tell
from cmcore.accounts.lockout import CLEARED, refuse
from cmcore.accounts.login import MEANWHILE, Undone, prove, use_up
from cmcore.audit import AuditAction
from cmcore.errors import InvalidCredentialsError
from cmcore.fields import Secret
from cmcore.models import User
from cmcore.models.base import whole

PENDING_FOR = timedelta(minutes=10)
_NOTHING_PENDING: dict[Any, Any] = {
    User.totp_pending_secret: None,
    User.totp_pending_at: None,
}


@dataclass(frozen=True)
class Enrolment:
    """What an authenticator needs to know; shown once, kept nowhere in clear.

    Attributes:
        secret: The seed in base 32, to be typed in.
        uri: The same for a QR code.
    """

    secret: str = field(repr=False)
    uri: str = field(repr=False)

    def qr(self) -> str:
        """Return a QR code as text for a dark terminal."""
        return seeds.qr_text(self.uri)


@rows.shown
def begin_totp(user: User, password: Any, *, issuer: str = "cmcore") -> Enrolment:
    """Make a new seed, which is pending for ten minutes.

    Nothing changes until it is confirmed: a factor that is on keeps working.

    Args:
        user: Whose factor it is.
        password: His password; a wrong one counts as at a login.
        issuer: The application's name, which authenticators show.

    Raises:
        InvalidCredentialsError: The password is wrong, or the account is locked.
        ConfigurationError: The extra is missing.
        SecretKeyMissingError: There is no key.
    """
    seeds.require()
    current = _proved_by_password(user, password)
    seed = codes.new_seed()
    values = {
        User.totp_pending_secret: seeds.encrypted(seed, current.id),
        User.totp_pending_at: clock.now(),
    }
    with as_self(current), whole(User, always=True):
        if not rows.compare_and_set(User, values, *rows.in_order(current)):
            raise InvalidCredentialsError(MEANWHILE)
        tell(
            AuditAction.CONFIG_CHANGE,
            current,
            "Second factor begun",
            event="2fa_begun",
        )
    return Enrolment(Secret(seed), codes.uri(seed, current.email, issuer))


@rows.shown
def confirm_totp(user: User, code: Any) -> list[str]:
    """Switch the pending factor on, and return ten recovery codes, shown once.

    The code is spent: it does not log in.

    Raises:
        InvalidCredentialsError: A wrong code, which counts as at a login, or nothing
            that is pending any more.
    """
    rows.prepare_to_write()
    current = rows.fresh(user)
    problem = rows.state(current)
    if current is None or problem is not None:
        raise InvalidCredentialsError(refuse(current, problem or "unknown"))
    pending, since = current.totp_pending_secret, current.totp_pending_at
    if pending is None or since is None or clock.now() - since > PENDING_FOR:
        raise InvalidCredentialsError(refuse(current, "nothing_pending"))
    digits = codes.digits(code)
    step = digits and codes.step_of(seeds.decrypted(pending, current.id), digits)
    if not step:
        raise InvalidCredentialsError(refuse(current, "wrong_code"))
    values = {
        User.totp_secret: pending,
        User.is_2fa_enabled: True,
        User.totp_last_step: step,
        **_NOTHING_PENDING,
    }
    with as_self(current), whole(User, always=True):
        is_same = User.totp_pending_secret == pending
        if not User.update(values).where(*rows.in_order(current), is_same).execute():
            raise InvalidCredentialsError(MEANWHILE)
        tell(AuditAction.TWO_FACTOR_ENABLED, current, "Second factor switched on")
        return codes.renew_recovery_codes(current)


@rows.shown
def disable_totp(user: User, password: Any, code: Any) -> None:
    """Switch the second factor off, for a user who shows password and code.

    Raises:
        InvalidCredentialsError: One of them is wrong, or there is no factor.
    """
    with _proved(user, password, code) as current:
        _switch_off(current)


@rows.shown
def remove_totp(user: User) -> None:
    """Switch off the second factor of a user who lost it; for administrators alone.

    Nothing is asked: see to it that the person is who he says. Where there is no
    factor, nothing is told; a pending seed is forgotten.
    """
    with whole(User, always=True):
        _switch_off(user)


@rows.shown
def regenerate_recovery_codes(user: User, password: Any, code: Any) -> list[str]:
    """Return ten new recovery codes, shown once; the old ones are void.

    Raises:
        InvalidCredentialsError: Password or code are wrong, or there is no factor.
    """
    with _proved(user, password, code) as current:
        tell(
            AuditAction.CONFIG_CHANGE,
            current,
            "Recovery codes made anew",
            event="recovery_codes",
        )
        return codes.renew_recovery_codes(current)


def _switch_off(user: User) -> None:
    values = {
        User.totp_secret: None,
        User.is_2fa_enabled: False,
        User.totp_last_step: None,
        **_NOTHING_PENDING,
    }
    is_on = User.is_2fa_enabled | User.totp_secret.is_null(False)
    if User.update(values).where(User.id == user.id, is_on).execute():
        codes.forget_recovery_codes(user)
        tell(AuditAction.TWO_FACTOR_DISABLED, user, "Second factor switched off")
    else:
        rows.compare_and_set(User, _NOTHING_PENDING, User.id == user.id)


def _proved_by_password(user: User, password: Any) -> User:
    """Return the row as it is now, if the password is right; a factor is not asked."""
    rows.prepare_to_write()
    current = rows.fresh(user)
    problem = prove(current, password, None, asks_code=False).problem
    if current is None or problem is not None:
        raise InvalidCredentialsError(refuse(current, problem or "unknown"))
    return current


@contextlib.contextmanager
def _proved(user: User, password: Any, code: Any) -> Iterator[User]:
    """Give the row as it is now, in a unit that uses the code up."""
    rows.prepare_to_write()
    current = rows.fresh(user)
    proof = prove(current, password, code)
    problem = proof.problem
    if problem is None and proof.factor is None:
        problem = "no_second_factor"
    if current is None or problem is not None:
        raise InvalidCredentialsError(refuse(current, problem or "unknown"))
    try:
        with as_self(current), whole(User, always=True):
            use_up(current, proof, CLEARED)
            yield current
    except Undone as undone:
        raise InvalidCredentialsError(refuse(current, undone.problem)) from None
