"""What a user's row keeps for logins: counters, locks, second factors, an epoch."""

from typing import TYPE_CHECKING, Any

import peewee

from cmcore.fields import SecretField, UTCDateTimeField
from cmcore.models.base import Model
from cmcore.schema.constraints import default

if TYPE_CHECKING:  # peewee's classes are generic for type checkers only
    _IntegerField = peewee.IntegerField[int]
else:
    _IntegerField = peewee.IntegerField

# Events of the trail tell what happens to these, not changes of rows.
COUNTERS = (
    "failed_login_attempts",
    "last_failed_login",
    "locked_until",
    "totp_last_step",
    "totp_pending_secret",
    "totp_pending_at",
)
_WATCHED = ("password_hash", "totp_secret", "is_2fa_enabled", "role", "is_active")
SECURITY = (*COUNTERS, *_WATCHED, "auth_epoch", "last_login_at")


class Epoch(_IntegerField):
    """A number that rises with every change of some other fields, on every write path.

    A plain value that an update assigns is not taken, since an object that is saved
    whole may be stale. An expression is, where none of the other fields is assigned.

    Args:
        watched: The names of the fields.
    """

    def __init__(
        self, *args: Any, watched: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        """Take the names of the fields."""
        super().__init__(*args, **kwargs)
        self.watched = frozenset(watched)


class AccountSecurity(Model, abstract=True):
    """Adds what the functions of `cmcore.accounts` keep; they alone write it.

    An application stores `auth_epoch` in its sessions, and ends those that have
    another one.

    `save()` writes what decides who may log in, and as what, only where it was assigned
    on the object: an old object does not bring back a lock, a code, a password, a role.
    """

    failed_login_attempts = peewee.IntegerField(default=0, constraints=[default(0)])
    last_failed_login = UTCDateTimeField(null=True)
    locked_until = UTCDateTimeField(null=True)
    auth_epoch = Epoch(
        default=0,
        constraints=[default(0)],
        watched=(*_WATCHED, "deleted_at"),
    )
    totp_last_step = peewee.BigIntegerField(null=True)
    totp_pending_secret = SecretField(null=True)
    totp_pending_at = UTCDateTimeField(null=True)

    def save(self, force_insert: bool = False, only: Any = None) -> int:
        """Save as peewee does, but for columns of security that were not assigned."""
        updates = not force_insert and self._pk is not None
        if updates and only is None and not self._meta.only_save_dirty:
            left_out = set(SECURITY) - self._dirty
            only = [name for name in self.__data__ if name not in left_out]
        return super().save(force_insert, only)


def save_alone(user: Any, field: peewee.Field, value: Any) -> None:
    """Save one column of a user; the object itself is untouched where that fails."""
    type(user)(id=user.id, **{field.name: value}).save(only=[field])
    user.__data__[field.name] = value
    user._dirty.discard(field.name)


def take_over(user: Any, row: Any) -> None:
    """Show on a user what the row says, but for what is assigned and not saved."""
    if row is not None:
        for name in {*SECURITY, "updated_at", "updated_by"} - user._dirty:
            user.__data__[name] = row.__data__[name]
            user.__rel__.pop(name, None)
