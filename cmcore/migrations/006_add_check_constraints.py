"""Let the database itself refuse values that make no sense."""

import peewee

from cmcore.schema.state import Migrator
from cmcore.schema.steps import backward, forward

NAME = "006_add_check_constraints"
RULES = {  # the biggest table first: it keeps its lock the longest
    "audit_logs": (
        "ck_audit_logs_action_not_empty",
        "ck_audit_logs_resource_type_not_empty",
        "ck_audit_logs_description_not_empty",
        "ck_audit_logs_ip_address_format",
    ),
    "customers": (
        "ck_customers_email_format",
        "ck_customers_phone_format",
        "ck_customers_name_length",
        "ck_customers_postal_code_length",
    ),
    "users": (
        "ck_users_email_format",
        "ck_users_password_hash_length",
        "ck_users_full_name_length",
    ),
}


def migrate(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Add the rules, once no row breaks them."""
    script = forward(migrator, NAME, fake=fake)
    script.refuse_rule_breakers(*(rule for rules in RULES.values() for rule in rules))
    for table, rules in RULES.items():
        script.add_checks(table, *rules)


def rollback(
    migrator: Migrator, database: peewee.Database, *, fake: bool = False
) -> None:
    """Drop the rules."""
    script = backward(migrator, NAME, fake=fake)
    for table, rules in RULES.items():
        script.drop_checks(table, *rules)
