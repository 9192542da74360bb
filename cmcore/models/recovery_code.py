"""Recovery codes: what a user types in who has lost the second factor."""

from typing import TYPE_CHECKING

import peewee

from cmcore.fields import KeyField, SecretField, UTCDateTimeField
from cmcore.models.base import Model
from cmcore.models.mixins import UserReference
from cmcore.schema.constraints import with_declared_lengths


@with_declared_lengths
class RecoveryCode(Model):
    """One code of a user, as its SHA-256; used where `used_at` says when.

    Events of the trail tell what happens to codes, not changes of rows. They go with
    their user.
    """

    id = KeyField(primary_key=True)
    user = UserReference(
        column_name="user_id", null=False, on_delete="CASCADE", partial_index=None
    )
    code_hash = SecretField(max_length=64)
    created_at = UTCDateTimeField()
    used_at = UTCDateTimeField(null=True)

    if TYPE_CHECKING:
        user_id: peewee.CharField[str]

    class Meta:
        table_name = "recovery_codes"
        owned = True
        audit = False


RecoveryCode.add_index(
    RecoveryCode.index(RecoveryCode.user, name="idx_recovery_codes_user_id")
)
