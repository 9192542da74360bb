"""Create the customers table."""

import peewee

from cmcore.schema.columns import key, moment, text, user
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "001_create_customers_table"


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Create the table; the foreign keys have to wait for users."""
    script = forward(migrator, NAME, fake=fake)
    script.create_table(
        "customers",
        [
            key("id"),
            text("name", 255),
            text("email", 255),
            text("phone", 20, null=True),
            text("customer_type", 20, default="individual"),
            text("status", 20, default="pending"),
            text("company_name", 255, null=True),
            text("tax_id", 50, null=True),
            text("address", null=True),
            text("city", 100, null=True),
            text("state", 100, null=True),
            text("country", 100, null=True),
            text("postal_code", 20, null=True),
            moment("created_at"),
            moment("updated_at"),
            user("created_by", null=False),
            user("updated_by"),
        ],
        comment="Customer records with contact information, classification, and "
        "audit trail",
    )
    script.create_index("uq_customers_email", "customers", "email", unique=True)
    for column in ("name", "phone", "customer_type", "tax_id", "city", "country"):
        script.create_index(f"idx_customers_{column}", "customers", column)
    script.create_index(
        "idx_customers_status_type", "customers", "status", "customer_type"
    )
    script.create_index("idx_customers_email_status", "customers", "email", "status")
    script.create_index(
        "idx_customers_created_at_status", "customers", "created_at", "status"
    )


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the table, unless that would lose rows."""
    script = backward(migrator, NAME, fake=fake)
    script.drop_table("customers", parked_in="cmcore_005_deleted")
