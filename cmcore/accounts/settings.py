"""What accounts are told once in a process: the key, and how passwords are hashed."""

import os
from typing import Any

from argon2 import PasswordHasher, Type
from argon2.profiles import RFC_9106_LOW_MEMORY

from cmcore.errors import ConfigurationError

KEY_VARIABLE = "CMCORE_SECRET_KEY"
STANDARD_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)

# OWASP's floor: so much memory (KiB) with so many passes, of equal strength.
_FLOOR = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
_KEEP: Any = object()


class Settings:
    """The settings of this process.

    Attributes:
        secret_key: The key of seeds; None leaves it to the environment.
    """

    secret_key: str | None = None
    hasher: PasswordHasher = STANDARD_HASHER

    def key(self) -> str | None:
        """Return the key of seeds, if there is one."""
        return self.secret_key or os.environ.get(KEY_VARIABLE) or None


settings = Settings()


def configure(
    *, secret_key: str | None = _KEEP, password_hasher: PasswordHasher | None = _KEEP
) -> None:
    """Set how accounts work in this process; what is left out stays as it is.

    Args:
        secret_key: From `cmcore.accounts.generate_key()`; None for the one in
            `CMCORE_SECRET_KEY`.
        password_hasher: An `argon2.PasswordHasher`; None for RFC 9106's low-memory
            profile (64 MiB, three passes).

    Raises:
        ConfigurationError: A hasher below OWASP's floor for Argon2id.
    """
    if password_hasher is not _KEEP:
        settings.hasher = _checked(password_hasher or STANDARD_HASHER)
    if secret_key is not _KEEP:
        settings.secret_key = secret_key


def _checked(hasher: PasswordHasher) -> PasswordHasher:
    memory, passes = hasher.memory_cost, hasher.time_cost
    is_enough = any(memory >= m and passes >= t for m, t in _FLOOR)
    if not is_enough or hasher.type is not Type.ID:
        msg = (
            f"Passwords would be hashed too cheaply: {hasher.type.name}, {memory} KiB, "
            f"{passes} pass(es). Use Argon2id with 19456 KiB and 2 passes at least; "
            "tests may use cmcore.testing.cheap_passwords()."
        )
        raise ConfigurationError(msg)
    return hasher
