"""The entries of accounts, in which no password, hash, seed or code ever stands."""

import contextlib
from typing import Any

from cmcore.audit import AuditAction, record
from cmcore.context import acting_as, current_context

TABLE = "users"


def tell(action: AuditAction, user: Any, description: str, **extra: Any) -> None:
    """Write an entry about a user; a login name that nobody has is not kept."""
    record(
        action,
        resource_type=TABLE,
        resource_id=None if user is None else user.id,
        description=description,
        **extra,
    )


def as_self(user: Any) -> Any:
    """Return a block in which a user acts who has proved to be himself.

    Whoever the application names acts instead.
    """
    named = current_context().user_id is not None
    return contextlib.nullcontext() if named else acting_as(user)


def is_self(user: Any) -> bool:
    """Tell whether the user himself is who acts."""
    return bool(current_context().user_id == user.id)
