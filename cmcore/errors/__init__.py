"""Every exception of cmcore, one tree under `CmcoreError`."""

from cmcore.errors.accounts import (
    AuthenticationError,
    InvalidCredentialsError,
    LastAdminError,
    PasswordPolicyError,
    SecretDecryptionError,
    SecretKeyMissingError,
)
from cmcore.errors.migrations import (
    ArchiveError,
    DataLossRefusedError,
    MigrationError,
    OrphanRowsError,
    PendingMigrationsError,
)
from cmcore.errors.tree import (
    AppendOnlyError,
    CmcoreError,
    ConfigurationError,
    ConstraintError,
    DatabaseLockedError,
    DuplicateError,
    InvalidValueError,
    MissingReferenceError,
    NaiveDatetimeError,
    PluginError,
    ProtectedRowError,
    RestoreConflictError,
    StaleDeletedError,
    StillReferencedError,
    TooLongError,
    UnboundModelError,
    UnreachableDatabaseError,
    UnsafeCascadeError,
    Veto,
)

__all__ = [
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
]

for _name in __all__:  # tracebacks name the module from which they are imported
    globals()[_name].__module__ = __name__
