"""Seeds under a new key: all of them, or none."""

from typing import Any

from cmcore.accounts import rows, seeds
from cmcore.accounts.events import tell
from cmcore.audit import AuditAction
from cmcore.errors import SecretDecryptionError
from cmcore.models import User
from cmcore.models.base import whole


def rotate_secrets(old_key: str, new_key: str) -> int:
    """Encrypt every seed anew, those of deleted users and pending ones included.

    It may be repeated: seeds under the new key already stay as they are. Processes
    with the old key cannot read seeds from then on, so restart them with the new one.

    Returns:
        How many seeds were encrypted anew.

    Raises:
        ConfigurationError: One of the two is no key.
        SecretDecryptionError: A seed is under neither key; nothing was changed.
    """
    seeds.require_key(old_key, "old_key")
    seeds.require_key(new_key, "new_key")
    count = 0
    with whole(User, always=True) as unit:
        unit.before_reading()
        for field in (User.totp_secret, User.totp_pending_secret):
            for user in list(User.with_deleted().where(field.is_null(False))):
                count += _rotate(user, field, old_key, new_key)
        tell(
            AuditAction.CONFIG_CHANGE,
            None,
            f"{count} seed(s) encrypted under a new key",
            event="rotate_secrets",
        )
    return count


def _rotate(user: User, field: Any, old_key: str, new_key: str) -> int:
    """Encrypt one seed anew; one that changed meanwhile is looked at again."""
    while (stored := getattr(user, field.name)) is not None:
        if _is_under(new_key, stored, user.id):
            return 0
        new = seeds.encrypted(
            seeds.decrypted(stored, user.id, old_key), user.id, new_key
        )
        if rows.compare_and_set(
            User, {field: new}, User.id == user.id, field == stored
        ):
            return 1
        current = rows.fresh(user)
        if current is None:
            return 0
        user = current
    return 0


def _is_under(key: str, stored: Any, user_id: str) -> bool:
    try:
        seeds.decrypted(stored, user_id, key)
    except SecretDecryptionError:
        return False
    return True
