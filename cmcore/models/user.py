"""Users: who acts, and who may log in."""

from enum import StrEnum

import peewee

from cmcore.fields import (
    EmailField,
    EnumField,
    KeyField,
    SecretField,
    UTCDateTimeField,
)
from cmcore.models.actors import SYSTEM
from cmcore.models.base import Model
from cmcore.models.guards import ProtectedRow
from cmcore.models.mixins import (
    AuditMixin,
    StampedReference,
    StampedTime,
)
from cmcore.models.soft_delete import SoftDeleteMixin
from cmcore.schema.constraints import checks_of, default, with_declared_lengths


class UserRole(StrEnum):
    """What a user may do, in the words of the application."""

    ADMIN = "admin"
    CORPORATE = "corporate"
    CLIENT = "client"


@with_declared_lengths
class User(AuditMixin, SoftDeleteMixin, Model):
    """A person who can log in, or `system`, who acts when nobody is named.

    Addresses are stored in lower case, and unique among users that are not deleted.
    """

    id = KeyField(primary_key=True)
    email = EmailField()
    password_hash = SecretField()
    full_name = peewee.CharField()
    role = EnumField(
        UserRole,
        max_length=20,
        default=UserRole.CLIENT,
        constraints=[default(UserRole.CLIENT.value)],
    )
    is_active = peewee.BooleanField(default=True, constraints=[default(True)])
    is_2fa_enabled = peewee.BooleanField(default=False, constraints=[default(False)])
    totp_secret = SecretField(null=True)
    created_at = StampedTime(once=True)
    updated_at = StampedTime()
    created_by = StampedReference(once=True, constraints=[default(SYSTEM)])
    updated_by = StampedReference()
    last_login_at = UTCDateTimeField(null=True)

    class Meta:
        table_name = "users"
        constraints = checks_of("users")
        owned = True
        guard = ProtectedRow(SYSTEM, unique="email")


User.add_index(User.index(User.email, unique=True, name="uq_users_email"))
User.add_index(User.index(User.email, User.is_active, name="idx_users_email_active"))
User.add_index(User.index(User.role, User.is_active, name="idx_users_role_active"))
User.add_index(User.index(User.created_at, User.role, name="idx_users_created_at_role"))
