"""Passwords that cost tests next to nothing."""

import contextlib
from collections.abc import Iterator

from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from cmcore.accounts.settings import settings


@contextlib.contextmanager
def cheap_passwords() -> Iterator[None]:
    """Hash passwords with next to no work inside the block; never outside tests."""
    before = settings.hasher
    settings.hasher = PasswordHasher.from_parameters(CHEAPEST)
    try:
        yield
    finally:
        settings.hasher = before
