"""What a user's row keeps for logins: counters, locks, second factors, an epoch."""

from typing import Any

import peewee

from cmcore.fields import SecretField, UTCDateTimeField
from cmcore.models.base import Model
from cmcore.schema.constraints import default

# Events of the trail tell what happens to these, not changes of rows.
COUNTERS = (
    "failed_login_attempts",
    "last_failed_login",
    "locked_until",
    "totp_last_step",
    "totp_pending_secret",
    "totp_pending_at",
)


class Epoch(peewee.IntegerField):
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
    """

    failed_login_attempts = peewee.IntegerField(default=0, constraints=[default(0)])
    last_failed_login = UTCDateTimeField(null=True)
    locked_until = UTCDateTimeField(null=True)
    auth_epoch = Epoch(
        default=0,
        constraints=[default(0)],
        watched=(
            "password_hash",
            "totp_secret",
            "is_2fa_enabled",
            "role",
            "is_active",
            "deleted_at",
        ),
    )
    totp_last_step = peewee.BigIntegerField(null=True)
    totp_pending_secret = SecretField(null=True)
    totp_pending_at = UTCDateTimeField(null=True)
