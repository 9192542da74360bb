"""Who changed which row, when, and from what to what: an audit trail for peewee.

The names below are loaded when they are first used; importing cmcore opens nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmcore import accounts, fields, partitions, testing, values
    from cmcore.accounts.settings import configure
    from cmcore.audit import AuditAction, record
    from cmcore.changes import Action, Change
    from cmcore.context import (
        Context,
        acting_as,
        carry_context,
        current_context,
        set_user,
    )
    from cmcore.database import connect, init
    from cmcore.engines.catalog import table_comment
    from cmcore.errors import (
        AppendOnlyError,
        ArchiveError,
        AuthenticationError,
        CmcoreError,
        ConfigurationError,
        ConstraintError,
        DatabaseLockedError,
        DataLossRefusedError,
        DuplicateError,
        InvalidCredentialsError,
        InvalidValueError,
        LastAdminError,
        MigrationError,
        MissingReferenceError,
        NaiveDatetimeError,
        OrphanRowsError,
        PasswordPolicyError,
        PendingMigrationsError,
        PluginError,
        ProtectedRowError,
        RestoreConflictError,
        SecretDecryptionError,
        SecretKeyMissingError,
        StaleDeletedError,
        StillReferencedError,
        TooLongError,
        UnboundModelError,
        UnreachableDatabaseError,
        UnsafeCascadeError,
        Veto,
    )
    from cmcore.hooks import hookimpl
    from cmcore.hooks.manager import plugins
    from cmcore.models import (
        ActorMixin,
        AuditLog,
        AuditMixin,
        Customer,
        CustomerStatus,
        CustomerType,
        Model,
        SoftDeleteMixin,
        TimestampMixin,
        User,
        UserRole,
    )
    from cmcore.runner import migrate, pending, rollback
    from cmcore.schema.history import migrations_path

__version__ = "0.1.0"

_HOMES = {
    "cmcore.accounts.settings": ("configure",),
    "cmcore.audit": (
        "AuditAction",
        "record",
    ),
    "cmcore.changes": (
        "Action",
        "Change",
    ),
    "cmcore.context": (
        "Context",
        "acting_as",
        "carry_context",
        "current_context",
        "set_user",
    ),
    "cmcore.database": (
        "connect",
        "init",
    ),
    "cmcore.engines.catalog": ("table_comment",),
    "cmcore.errors": (
        "AppendOnlyError",
        "ArchiveError",
        "AuthenticationError",
        "CmcoreError",
        "ConfigurationError",
        "ConstraintError",
        "DataLossRefusedError",
        "DatabaseLockedError",
        "DuplicateError",
        "InvalidCredentialsError",
        "InvalidValueError",
        "LastAdminError",
        "MigrationError",
        "MissingReferenceError",
        "NaiveDatetimeError",
        "OrphanRowsError",
        "PasswordPolicyError",
        "PendingMigrationsError",
        "PluginError",
        "ProtectedRowError",
        "RestoreConflictError",
        "SecretDecryptionError",
        "SecretKeyMissingError",
        "StaleDeletedError",
        "StillReferencedError",
        "TooLongError",
        "UnboundModelError",
        "UnreachableDatabaseError",
        "UnsafeCascadeError",
        "Veto",
    ),
    "cmcore.hooks": ("hookimpl",),
    "cmcore.hooks.manager": ("plugins",),
    "cmcore.models": (
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
    ),
    "cmcore.runner": (
        "migrate",
        "pending",
        "rollback",
    ),
    "cmcore.schema.history": ("migrations_path",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_SUBMODULES = frozenset(
    {"accounts", "errors", "fields", "models", "partitions", "testing", "values"}
)

__all__ = [
    "Action",
    "ActorMixin",
    "AppendOnlyError",
    "ArchiveError",
    "AuditAction",
    "AuditLog",
    "AuditMixin",
    "AuthenticationError",
    "Change",
    "CmcoreError",
    "ConfigurationError",
    "ConstraintError",
    "Context",
    "Customer",
    "CustomerStatus",
    "CustomerType",
    "DataLossRefusedError",
    "DatabaseLockedError",
    "DuplicateError",
    "InvalidCredentialsError",
    "InvalidValueError",
    "LastAdminError",
    "MigrationError",
    "MissingReferenceError",
    "Model",
    "NaiveDatetimeError",
    "OrphanRowsError",
    "PasswordPolicyError",
    "PendingMigrationsError",
    "PluginError",
    "ProtectedRowError",
    "RestoreConflictError",
    "SecretDecryptionError",
    "SecretKeyMissingError",
    "SoftDeleteMixin",
    "StaleDeletedError",
    "StillReferencedError",
    "TimestampMixin",
    "TooLongError",
    "UnboundModelError",
    "UnreachableDatabaseError",
    "UnsafeCascadeError",
    "User",
    "UserRole",
    "Veto",
    "accounts",
    "acting_as",
    "carry_context",
    "configure",
    "connect",
    "current_context",
    "fields",
    "hookimpl",
    "init",
    "migrate",
    "migrations_path",
    "partitions",
    "pending",
    "plugins",
    "record",
    "rollback",
    "set_user",
    "table_comment",
    "testing",
    "values",
]


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives, and keep it."""
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"cmcore.{name}")
    else:
        msg = f"module 'cmcore' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
