"""Accounts: passwords, second factors and lockout, with an entry for each event."""

from cmcore.accounts.lockout import unlock
from cmcore.accounts.login import AuthResult, authenticate
from cmcore.accounts.people import (
    create_user,
    disable_user,
    enable_user,
    set_password,
)
from cmcore.accounts.rotation import rotate_secrets
from cmcore.accounts.seeds import generate_key
from cmcore.accounts.totp import (
    Enrolment,
    begin_totp,
    confirm_totp,
    disable_totp,
    regenerate_recovery_codes,
    remove_totp,
)

__all__ = [
    "AuthResult",
    "Enrolment",
    "authenticate",
    "begin_totp",
    "confirm_totp",
    "create_user",
    "disable_totp",
    "disable_user",
    "enable_user",
    "generate_key",
    "regenerate_recovery_codes",
    "remove_totp",
    "rotate_secrets",
    "set_password",
    "unlock",
]
