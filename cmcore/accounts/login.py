"""Signing in: one answer for every failure, at the price of one verification."""

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

from cmcore.accounts import clock, codes, passwords, rows, seeds
from cmcore.accounts.events import tell
from cmcore.accounts.lockout import CLEARED, refuse
from cmcore.accounts.passwords import Verdict
from cmcore.audit import AuditAction
from cmcore.context import acting_as
from cmcore.errors import SecretDecryptionError, SecretKeyMissingError
from cmcore.models import RecoveryCode, User
from cmcore.models.base import whole
from cmcore.models.stamps import UNRAISED

logger = logging.getLogger("cmcore.accounts")

NEEDS_CODE = "second_factor_required"
WRONG_CODE = "wrong_code"
MEANWHILE = "changed_meanwhile"


@dataclass(frozen=True)
class AuthResult:
    """What came of a login; true where it succeeded.

    Attributes:
        ok: Whether the user is let in.
        user: The user; None unless he is let in.
        reason: What the person may be told: None, "invalid_credentials", or
            "second_factor_required".
        internal_reason: The truth, for logs alone: "unknown", "deleted", "inactive",
            "locked", "wrong_password", "unusable_hash", "wrong_code",
            "changed_meanwhile", "second_factor_required"; None where it is ok.
    """

    ok: bool
    user: User | None = None
    reason: str | None = None
    internal_reason: str | None = None

    def __bool__(self) -> bool:
        """Return whether the user is let in."""
        return self.ok


class Proof(NamedTuple):
    """What password and code prove, before anything is used up.

    Attributes:
        problem: Why they prove nothing, or None.
        step: The step of an authenticator's code.
        code_hash: The hash of what may be a recovery code.
    """

    problem: str | None
    step: int | None = None
    code_hash: str | None = None

    @property
    def factor(self) -> str | None:
        """The second factor that was shown."""
        if self.step is not None:
            return "totp"
        return "recovery_code" if self.code_hash else None


def authenticate(email: Any, password: Any, code: Any = None) -> AuthResult:
    """Try to sign a user in; bad credentials are an answer, never an error.

    Call it outside a transaction: hashing takes its time. Inside one it writes into
    that, and what it counted is lost if that is rolled back.

    Args:
        email: The address, in upper or lower case.
        password: As it was typed.
        code: Of the authenticator, or a recovery code; needed where a second factor
            is on. It is only used up together with the right password.

    Raises:
        SecretDecryptionError: The second factor's seed cannot be read, since the key is
            another one, or none.
    """
    rows.prepare_to_write()
    user, problem = _tried(email, password, code)
    if problem == MEANWHILE:  # such as by another login, which made the hash anew
        user, problem = _tried(email, password, code)
    if user is None or problem is not None:
        problem = refuse(user, problem or "unknown")
        shown = NEEDS_CODE if problem == NEEDS_CODE else "invalid_credentials"
        return AuthResult(False, None, shown, problem)
    if passwords.is_weaker(user.password_hash):
        _upgrade(user, password)
    return AuthResult(True, rows.fresh(user))


def _tried(email: Any, password: Any, code: Any) -> tuple[User | None, str | None]:
    """Let a user in, or return why not."""
    user = rows.find(email)
    proof = prove(user, password, code)
    if user is None or proof.problem is not None:
        return user, proof.problem
    return user, _let_in(user, proof)


def prove(
    user: User | None, password: Any, code: Any, *, asks_code: bool = True
) -> Proof:
    """Compare password and code with a row, and change nothing.

    Args:
        user: The row.
        password: As it was typed.
        code: As it was typed.
        asks_code: Whether a second factor that is on must be shown.

    Raises:
        SecretDecryptionError: The seed cannot be read; there is an entry then.
    """
    verdict = passwords.tried(user and user.password_hash, password)
    problem = rows.state(user)
    if user is None or problem is not None:
        return Proof(problem)
    if verdict is not Verdict.RIGHT:
        return Proof(verdict.value)
    if asks_code and user.is_2fa_enabled:
        return _second_factor(user, code)
    return Proof(None)


def _second_factor(user: User, code: Any) -> Proof:
    code_hash = codes.recovery_hash(code)
    if code_hash is not None:
        return Proof(None, code_hash=code_hash)
    try:
        seed = seeds.decrypted(user.totp_secret, user.id)
    except SecretDecryptionError:
        refuse(user, "unreadable_secret")
        raise
    except SecretKeyMissingError as error:  # it was there when the seed was made
        refuse(user, "unreadable_secret")
        raise SecretDecryptionError(user.id) from error
    if code is None or code == "":
        return Proof(NEEDS_CODE)
    digits = codes.digits(code)
    step = digits and codes.step_of(seed, digits)
    return Proof(None, step=step) if step else Proof(WRONG_CODE)


class Undone(Exception):  # noqa: N818 - undoes a unit, and is caught around it
    """A proof that turned out to prove nothing any more."""

    def __init__(self, problem: str) -> None:
        """Take the problem."""
        super().__init__(problem)
        self.problem = problem


def use_up(user: User, proof: Proof, values: dict[Any, Any]) -> None:
    """Change a user's row and use the code up, if all still is as it was proved.

    Raises:
        Undone: Something changed meanwhile; the unit around this is undone by it.
    """
    conditions = [
        *rows.in_order(user),
        User.password_hash == user.password_hash,
        User.is_2fa_enabled == user.is_2fa_enabled,
    ]
    if proof.step is not None:
        values = {**values, User.totp_last_step: proof.step}
        last = User.totp_last_step
        conditions.append(User.totp_secret == user.totp_secret)
        conditions.append(last.is_null() | (last < proof.step))
    if not rows.compare_and_set(User, values, *conditions):
        raise Undone(_what_changed(user, proof))
    if proof.code_hash is None:
        return
    used = rows.compare_and_set(
        RecoveryCode,
        {RecoveryCode.used_at: clock.now()},
        RecoveryCode.user == user.id,
        RecoveryCode.code_hash == proof.code_hash,
        RecoveryCode.used_at.is_null(),
    )
    if not used:
        raise Undone(WRONG_CODE)


def _what_changed(user: User, proof: Proof) -> str:
    now = rows.fresh(user)
    problem = rows.state(now)
    if problem is not None or now is None:
        return problem or "unknown"
    if proof.step is not None and (now.totp_last_step or 0) >= proof.step:
        return WRONG_CODE
    return MEANWHILE


def _let_in(user: User, proof: Proof) -> str | None:
    """Clear the counters, use the code up, and write the entry; or say why not."""
    try:
        with acting_as(user), whole(User, always=True):
            values = {**CLEARED, User.last_login_at: clock.now()}
            use_up(user, proof, values)
            tell(
                AuditAction.LOGIN_SUCCESS,
                user,
                f"{user.email} logged in",
                second_factor=proof.factor,
            )
    except Undone as undone:
        return undone.problem
    return None


def _upgrade(user: User, password: Any) -> None:
    """Hash the password anew; a login does not fail because that fails."""
    try:
        values = {User.password_hash: passwords.hashed(password)}
        kept = {User.auth_epoch: UNRAISED}  # it is the same password
        same = (User.id == user.id) & (User.password_hash == user.password_hash)
        with acting_as(user, reason="stronger hash"), whole(User, always=True):
            User.update({**values, **kept}).where(same).execute()
    except Exception as error:  # noqa: BLE001 - logged without what it may hold
        logger.warning("The hash of %s stays weak: %s", user.id, type(error).__name__)
