"""Create the audit trail alone, for a database with users of its own."""

import peewee

from cmcore.schema.columns import flag, json, key, moment, text, user
from cmcore.schema.history import TRAIL_HISTORY
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "001_create_audit_logs_table"


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Create the table; ids of users are taken as given, without foreign keys."""
    script = forward(migrator, NAME, fake=fake, history=TRAIL_HISTORY)
    script.create_table(
        "audit_logs",
        [
            key("id"),
            text("action", 50),
            text("resource_type", 100),
            text("resource_id", 255, null=True),
            text("description"),
            user("user_id", field_name="user"),
            text("user_email", 255, null=True),
            text("user_role", 50, null=True),
            text("ip_address", 45, null=True),
            text("user_agent", null=True),
            text("request_method", 10, null=True),
            text("request_path", null=True),
            text("request_id", 128, null=True),
            text("transaction_id", 36, null=True),
            json("old_values"),
            json("new_values"),
            json("extra_data"),
            flag("success", default=True),
            text("error_message", null=True),
            moment("created_at"),
            moment("updated_at"),
            user("created_by"),
            user("updated_by"),
            moment("deleted_at", null=True),
            user("deleted_by"),
        ],
        comment="Comprehensive audit log for all system activities and security events",
        checks=[
            "ck_audit_logs_action_not_empty",
            "ck_audit_logs_resource_type_not_empty",
            "ck_audit_logs_description_not_empty",
            "ck_audit_logs_ip_address_format",
        ],
        has_rowid=False,
    )
    script.create_index("idx_audit_logs_created_at", "audit_logs", "created_at")
    script.create_index("idx_audit_logs_transaction_id", "audit_logs", "transaction_id")
    script.create_index("idx_audit_user_action", "audit_logs", "user_id", "action")
    script.create_index(
        "idx_audit_resource", "audit_logs", "resource_type", "resource_id"
    )
    for column in (
        "request_id",
        "created_by",
        "updated_by",
        "deleted_at",
        "deleted_by",
    ):
        script.create_index(
            f"idx_audit_logs_{column}",
            "audit_logs",
            column,
            where=f'"{column}" IS NOT NULL',
        )


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the table, unless that would lose entries."""
    script = backward(migrator, NAME, fake=fake, history=TRAIL_HISTORY)
    script.drop_table("audit_logs")
