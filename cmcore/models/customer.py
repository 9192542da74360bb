"""Customers: whom the business deals with."""

from enum import StrEnum

import peewee

from cmcore.fields import EmailField, EnumField, KeyField
from cmcore.models.base import Model
from cmcore.models.mixins import (
    AuditMixin,
    StampedReference,
    StampedTime,
)
from cmcore.models.soft_delete import SoftDeleteMixin
from cmcore.schema.constraints import checks_of, default, with_declared_lengths


class CustomerType(StrEnum):
    """Whether a customer is a person or a company."""

    INDIVIDUAL = "individual"
    CORPORATE = "corporate"


class CustomerStatus(StrEnum):
    """Where a customer stands."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    INACTIVE = "inactive"


@with_declared_lengths
class Customer(AuditMixin, SoftDeleteMixin, Model):
    """A person or company that the business deals with.

    Addresses are stored in lower case, and unique among customers that are not deleted.
    The user who created a customer cannot be purged while the customer is there.
    """

    id = KeyField(primary_key=True)
    name = peewee.CharField()
    email = EmailField()
    phone = peewee.CharField(max_length=20, null=True)
    customer_type = EnumField(
        CustomerType,
        max_length=20,
        default=CustomerType.INDIVIDUAL,
        constraints=[default(CustomerType.INDIVIDUAL.value)],
    )
    status = EnumField(
        CustomerStatus,
        max_length=20,
        default=CustomerStatus.PENDING,
        constraints=[default(CustomerStatus.PENDING.value)],
    )
    company_name = peewee.CharField(null=True)
    tax_id = peewee.CharField(max_length=50, null=True)
    address = peewee.TextField(null=True)
    city = peewee.CharField(max_length=100, null=True)
    state = peewee.CharField(max_length=100, null=True)
    country = peewee.CharField(max_length=100, null=True)
    postal_code = peewee.CharField(max_length=20, null=True)
    created_at = StampedTime(once=True)
    updated_at = StampedTime()
    created_by = StampedReference(once=True, null=False, on_delete="RESTRICT")
    updated_by = StampedReference()

    class Meta:
        table_name = "customers"
        constraints = checks_of("customers")
        owned = True


Customer.add_index(
    Customer.index(Customer.email, unique=True, name="uq_customers_email")
)
for _column in ("name", "phone", "customer_type", "tax_id", "city", "country"):
    Customer.add_index(
        Customer.index(Customer._meta.columns[_column], name=f"idx_customers_{_column}")
    )
for _name, _columns in {
    "status_type": (Customer.status, Customer.customer_type),
    "email_status": (Customer.email, Customer.status),
    "created_at_status": (Customer.created_at, Customer.status),
}.items():
    Customer.add_index(Customer.index(*_columns, name=f"idx_customers_{_name}"))
