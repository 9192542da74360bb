"""Users: created, given passwords, disabled and enabled, each with its entry."""

from cmcore.accounts import passwords
from cmcore.accounts.events import TABLE, is_self, tell
from cmcore.accounts.rows import compare_and_set, shown
from cmcore.audit import AuditAction
from cmcore.errors import ProtectedRowError
from cmcore.models import User, UserRole
from cmcore.models.actors import SYSTEM
from cmcore.models.base import whole
from cmcore.models.security import save_alone


def create_user(
    email: str, password: str, full_name: str, *, role: UserRole = UserRole.CLIENT
) -> User:
    """Create a user who can log in.

    Raises:
        PasswordPolicyError: The password breaks rules; nothing was hashed.
        DuplicateError: A live user has the address.
        InvalidValueError: The address, the name or the role is none.
    """
    user = User(email=email, full_name=full_name, role=role)
    passwords.check_policy(user, password)
    user.password_hash = passwords.hashed(password)
    user.save(force_insert=True)
    return user


@shown
def set_password(user: User, new_password: str) -> None:
    """Give a user a new password, which ends his sessions by `auth_epoch`.

    The second factor stays on. It is a `password_change` if the user himself acts,
    else a `password_reset`.

    Raises:
        PasswordPolicyError: The password breaks rules; nothing was hashed.
        StaleDeletedError: The user was deleted.
        ProtectedRowError: It is `system`, who never logs in.
    """
    _refuse_system(user)
    passwords.check_policy(user, new_password)
    new = passwords.hashed(new_password)
    changes = AuditAction.PASSWORD_CHANGE, "Password changed"
    resets = AuditAction.PASSWORD_RESET, "Password reset by somebody else"
    with whole(User, always=True):
        save_alone(user, User.password_hash, new)
        action, description = changes if is_self(user) else resets
        tell(action, user, description)


@shown
def disable_user(user: User) -> None:
    """Let a user log in no more, which ends his sessions by `auth_epoch`.

    Where he is disabled already, nothing is written.

    Raises:
        LastAdminError: He is the last active admin.
    """
    _set_active(user, AuditAction.USER_SUSPEND, "User disabled", is_active=False)


@shown
def enable_user(user: User) -> None:
    """Let a disabled user log in again; where he is enabled, nothing is written.

    Raises:
        ProtectedRowError: It is `system`, who never logs in.
    """
    _refuse_system(user)
    _set_active(user, AuditAction.USER_ACTIVATE, "User enabled", is_active=True)


def _refuse_system(user: User) -> None:
    if user.id == SYSTEM:
        raise ProtectedRowError(TABLE, SYSTEM)


def _set_active(
    user: User, action: AuditAction, description: str, *, is_active: bool
) -> None:
    with whole(User, always=True):
        # It holds the row: of two who do this at once the second finds it done.
        same, other = {User.is_active: User.is_active}, User.is_active != is_active
        changes = compare_and_set(User, same, User.id == user.id, other)
        save_alone(user, User.is_active, is_active)
        if changes:
            tell(action, user, description)
