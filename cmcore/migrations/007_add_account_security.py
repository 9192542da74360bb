"""Count failed logins, and let second factors and sessions be checked."""

import peewee

from cmcore.schema.columns import key, moment, number, text, user
from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "007_add_account_security"
CODES = "recovery_codes"
COLUMNS = (
    number("failed_login_attempts", default=0),
    moment("last_failed_login", null=True),
    moment("locked_until", null=True),
    number("auth_epoch", default=0),
    number("totp_last_step", null=True, big=True),
    text("totp_pending_secret", 255, null=True),
    moment("totp_pending_at", null=True),
)


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Add the columns, and the table of recovery codes."""
    script = forward(migrator, NAME, fake=fake)
    script.add_columns("users", *COLUMNS)
    script.create_table(
        CODES,
        [
            key("id"),
            user("user_id", null=False, on_delete="CASCADE", field_name="user"),
            text("code_hash", 64),
            moment("created_at"),
            moment("used_at", null=True),
        ],
        comment="Hashed one-time codes that stand in for a second factor",
    )
    script.create_index("idx_recovery_codes_user_id", CODES, "user_id")


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop them, unless second factors would lose their codes."""
    script = backward(migrator, NAME, fake=fake)
    script.refuse_second_factors(CODES)
    script.drop_table(CODES)
    script.drop_columns("users", *(column.name for column in COLUMNS))
