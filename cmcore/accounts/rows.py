"""The rows of accounts: found in whatever state, changed by compare-and-set."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import peewee

from cmcore.accounts import clock
from cmcore.engines.binding import engine_of
from cmcore.errors import InvalidCredentialsError
from cmcore.models import User
from cmcore.models.actors import SYSTEM
from cmcore.models.security import take_over

Function = TypeVar("Function", bound=Callable[..., Any])


def prepare_to_write() -> None:
    """Take the write lock inside the caller's transaction, where reads come first."""
    meta: Any = User._meta
    database = meta.database
    if isinstance(database, peewee.Proxy):
        database = database.obj or database
    engine = engine_of(database)
    if engine is not None and engine.in_transaction(database):
        engine.lock(database, meta.layout)


def find(email: Any) -> User | None:
    """Return the user with an address: the live one, or else one that is deleted."""
    if not isinstance(email, str) or not _is_storable(email):
        return None
    held = User.with_deleted().where(User.email == email.strip())
    newest_last = (User.deleted_at.is_null(False), User.deleted_at.desc())
    found: User | None = held.order_by(*newest_last).first()
    return found


def fresh(user: Any) -> User | None:
    """Return the row of a user as it is now, deleted or not."""
    found: User | None = User.with_deleted().where(User.id == user.id).get_or_none()
    return found


def shown(function: Function) -> Function:
    """Let the user whom a function is given show what it wrote, failures included."""

    @functools.wraps(function)
    def call(user: User, *args: Any, **options: Any) -> Any:
        try:
            result = function(user, *args, **options)
        except InvalidCredentialsError:
            take_over(user, fresh(user))
            raise
        take_over(user, fresh(user))
        return result

    return cast("Function", call)


def state(user: User | None) -> str | None:
    """Return why nobody can be let in with this row; None where it is in order."""
    if user is None:
        return "unknown"
    if user.deleted_at is not None:
        return "deleted"
    if not user.is_active or user.id == SYSTEM:
        return "inactive"
    locked_until = user.locked_until
    return "locked" if locked_until and locked_until > clock.now() else None


def in_order(user: User) -> list[Any]:
    """Return the conditions under which `state` is None, for a compare-and-set."""
    is_free = User.locked_until.is_null() | (User.locked_until <= clock.now())
    return [User.id == user.id, User.deleted_at.is_null(), User.is_active, is_free]


def compare_and_set(model: Any, values: dict[Any, Any], *conditions: Any) -> int:
    """Change rows that still are as they were, and return how many.

    One UPDATE past the door: what it changes is told by events of the trail.
    """
    count: int = peewee.ModelUpdate(model, values).where(*conditions).execute()
    return count


def compare_and_return(
    model: Any, values: dict[Any, Any], fields: tuple[Any, ...], *conditions: Any
) -> tuple[Any, ...] | None:
    """Change a row that still is as it was, and return fields of it as they are now."""
    query: Any = peewee.ModelUpdate(model, values).where(*conditions)
    found = list(query.returning(*fields).tuples().execute())
    return found[0] if found else None


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
