"""Create the users table, and the user who acts when nobody is named."""

import peewee

from cmcore.schema.columns import flag, key, moment, text, user
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "002_create_users_table"


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Create the table; users are created and updated by users."""
    script = forward(migrator, NAME, fake=fake)
    script.create_table(
        "users",
        [
            key("id"),
            text("email", 255),
            text("password_hash", 255),
            text("full_name", 255),
            text("role", 20, default="client"),
            flag("is_active", default=True),
            flag("is_2fa_enabled", default=False),
            text("totp_secret", 255, null=True),
            moment("created_at"),
            moment("updated_at"),
            user("created_by", default="system", on_delete="SET NULL"),
            user("updated_by", on_delete="SET NULL"),
            moment("last_login_at", null=True),
        ],
        comment="User accounts with authentication and role information",
    )
    script.create_index("uq_users_email", "users", "email", unique=True)
    script.create_index("idx_users_created_by", "users", "created_by")
    script.create_index("idx_users_updated_by", "users", "updated_by")
    script.create_index("idx_users_email_active", "users", "email", "is_active")
    script.create_index("idx_users_role_active", "users", "role", "is_active")
    script.create_index("idx_users_created_at_role", "users", "created_at", "role")
    script.insert_system_user()


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the table, unless that would lose anybody but the system user."""
    script = backward(migrator, NAME, fake=fake)
    script.drop_table("users", spare="system", parked_in="cmcore_005_deleted")
