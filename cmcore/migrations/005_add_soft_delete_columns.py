"""Let rows be deleted without being gone."""

import peewee

from cmcore.schema.columns import moment, user
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "005_add_soft_delete_columns"
TABLES = ("users", "customers", "audit_logs")  # referred ones first
WITH_UNIQUE_EMAIL = ("users", "customers")
DELETED_ROWS = "cmcore_005_deleted"


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Add the columns; from here on an address is unique among live rows only."""
    script = forward(migrator, NAME, fake=fake)
    for table in TABLES:
        script.add_columns(
            table,
            moment("deleted_at", null=True),
            user("deleted_by", on_delete="SET NULL"),
        )
        for column in ("deleted_at", "deleted_by"):
            script.create_index(
                f"idx_{table}_{column}", table, column, where=f'"{column}" IS NOT NULL'
            )
    for table in WITH_UNIQUE_EMAIL:
        script.replace_index(
            f"uq_{table}_email",
            table,
            "email",
            unique=True,
            where='"deleted_at" IS NULL',
        )
    script.put_back_deleted_rows(*TABLES, store=DELETED_ROWS)


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the columns, but bring no deleted row back to life."""
    script = backward(migrator, NAME, fake=fake)
    script.park_deleted_rows(*reversed(TABLES), store=DELETED_ROWS)
    for table in WITH_UNIQUE_EMAIL:
        script.replace_index(f"uq_{table}_email", table, "email", unique=True)
    for table in reversed(TABLES):
        script.drop_index(f"idx_{table}_deleted_by", table)
        script.drop_index(f"idx_{table}_deleted_at", table)
        script.drop_columns(table, "deleted_at", "deleted_by")
