"""Let customers refer to the users who created and updated them."""

import peewee

from cmcore.schema.columns import user
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "004_add_customer_foreign_keys"
REFERENCES = (
    user("created_by", null=False, on_delete="RESTRICT"),
    user("updated_by", on_delete="SET NULL"),
)
ORPHANS = "cmcore_004_orphans"


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Add the foreign keys, once every customer has a user."""
    script = forward(migrator, NAME, fake=fake)
    script.settle_orphans("customers", *REFERENCES, keep_in=ORPHANS)
    script.add_foreign_keys("customers", *REFERENCES)
    script.create_index("idx_customers_created_by", "customers", "created_by")
    script.create_index("idx_customers_updated_by", "customers", "updated_by")


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the foreign keys, and give orphans their users of before back."""
    script = backward(migrator, NAME, fake=fake)
    script.drop_index("idx_customers_updated_by", "customers")
    script.drop_index("idx_customers_created_by", "customers")
    script.drop_foreign_keys("customers", "created_by", "updated_by")
    script.restore_orphans("customers", kept_in=ORPHANS)
