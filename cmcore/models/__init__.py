"""The models: `Model`, the mixins, and the tables that cmcore owns.

`User` comes first: references to users aim at the first model that has one.
"""

from cmcore.models.base import Model
from cmcore.models.mixins import ActorMixin, AuditMixin, TimestampMixin
from cmcore.models.soft_delete import SoftDeleteMixin

from cmcore.models.user import User, UserRole  # isort: skip
from cmcore.models.audit_log import AuditLog
from cmcore.models.customer import Customer, CustomerStatus, CustomerType

__all__ = [
    "ActorMixin",
    "AuditLog",
    "AuditMixin",
    "Customer",
    "CustomerStatus",
    "CustomerType",
    "Model",
    "SoftDeleteMixin",
    "TimestampMixin",
    "User",
    "UserRole",
]
