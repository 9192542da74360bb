"""Who acts, from where, and why: one ContextVar that holds the innermost block."""

import contextvars
import functools
import inspect
import ipaddress
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, ParamSpec, Self, TypeVar, cast

import peewee

from cmcore.errors import ConfigurationError, InvalidValueError, TooLongError
from cmcore.generators import async_stepwise, stepwise

P = ParamSpec("P")
R = TypeVar("R")

_LENGTHS = {"user_id": 36, "request_method": 10, "request_id": 128}


@dataclass(frozen=True)
class Context:
    """A snapshot of who acts; the fields are the columns of an audit entry.

    `user_id` is None outside every block that names a user. `user_email` and
    `user_role` of a user named by id are looked up at the first write.
    """

    user_id: str | None = None
    user_email: str | None = None
    user_role: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_method: str | None = None
    request_path: str | None = None
    request_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    resolved: dict[Any, "Context"] = field(
        default_factory=dict, repr=False, compare=False
    )


class _Block:
    """One entered block: what it names itself, and the block around it."""

    __slots__ = ("cached", "known", "outer", "owner")

    def __init__(
        self, owner: "acting_as", outer: "_Block | None", known: dict[str, Any]
    ) -> None:
        self.owner = owner
        self.outer = outer
        self.known = known
        self.cached: tuple[int, Context] | None = None

    def snapshot(self) -> Context:
        version = _late_users.version  # before the merge: a set_user() may race with it
        if self.cached is None or self.cached[0] != version:
            chain = [self.known]
            block = self.outer
            while block is not None:
                chain.append(block.known)
                block = block.outer
            merged: dict[str, Any] = {}
            extra: dict[str, Any] = {}
            for known in reversed(chain):
                merged.update(known)
                extra.update(known.get("extra", ()))
            merged["extra"] = MappingProxyType(extra)
            self.cached = (version, Context(**merged))
        return self.cached[1]


class _LateUsers:
    """Counts the calls of `set_user`, which make every cached snapshot old."""

    def __init__(self) -> None:
        self._counter = itertools.count(1)
        self.version = 0

    def count(self) -> None:
        self.version = next(self._counter)


_NOBODY = Context()
_late_users = _LateUsers()
_current: contextvars.ContextVar[_Block | None] = contextvars.ContextVar(
    "cmcore_acting_as", default=None
)


class acting_as:  # noqa: N801 - reads as a verb: with acting_as(user)
    """Name who acts, from where and why, for all writes inside the block.

    Works as `with`, `async with`, and as a decorator of functions, coroutine
    functions and generators. The block around it is restored exactly, also after
    exceptions. Inside a generator a plain `with` block stays in force while the
    generator is suspended, as with every context variable; decorate the generator
    instead.

    Args:
        user: A `User`, a user id, or None to keep the one of the block around.
        reason: Why; kept in `extra_data` under this name.
        ip_address: An IPv4 or IPv6 address as text, without a zone.
        user_agent: The client, as it names itself.
        request_method: Up to 10 characters.
        request_path: The path of the request.
        request_id: Up to 128 characters.
        **extra: Kept in `extra_data` under their names.

    Raises:
        InvalidValueError: On entry, for an address that is none.
        TooLongError: On entry, for a value longer than its column.

    Example:
        with cmcore.acting_as(user, reason="price review", ticket=4711):
            invoice.save()
    """

    def __init__(  # noqa: PLR0913 - the columns of an entry
        self,
        /,
        user: Any = None,
        *,
        reason: str | None = None,
        ip_address: str | None = None,
        user_agent: str | None = None,
        request_method: str | None = None,
        request_path: str | None = None,
        request_id: str | None = None,
        **extra: Any,
    ) -> None:
        """Take what is known; what is left out is inherited."""
        self._user = user
        self._ip_address = ip_address
        self._request = {
            "user_agent": user_agent,
            "request_method": request_method,
            "request_path": request_path,
            "request_id": request_id,
        }
        self._extra = extra if reason is None else {"reason": reason, **extra}

    def __enter__(self) -> Context:
        """Enter the block and return its context."""
        known = user_columns(self._user)
        if self._ip_address is not None:
            known["ip_address"] = _checked_ip(self._ip_address)
        for name, value in self._request.items():
            if value is not None:
                known[name] = _checked_text(name, value)
        if self._extra:
            known["extra"] = self._extra
        block = _Block(self, _current.get(), known)
        _current.set(block)
        return block.snapshot()

    def __exit__(self, *_: object) -> None:
        """Restore the block around, unless it was left before this one."""
        block = _current.get()
        while block is not None and block.owner is not self:
            block = block.outer
        if block is not None:
            _current.set(block.outer)

    async def __aenter__(self) -> Context:
        """Enter the block in async code."""
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        """Leave the block in async code."""
        self.__exit__()

    def _again(self) -> Self:
        """Make an equal block, since calls of one decorated function may overlap."""
        return type(self)(
            self._user, ip_address=self._ip_address, **self._request, **self._extra
        )

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function so that each of its calls is one block."""
        wrapper: Any
        if inspect.iscoroutinefunction(function):

            async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        elif inspect.isgeneratorfunction(function):

            def wrapper(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
                return stepwise(self._again(), function(*args, **kwargs))

        elif inspect.isasyncgenfunction(function):

            def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
                return async_stepwise(self._again(), function(*args, **kwargs))

        else:

            def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def current_context() -> Context:
    """Return who acts now; outside every block a context without a user."""
    block = _current.get()
    return _NOBODY if block is None else block.snapshot()


def set_user(user: Any) -> None:
    """Name the user of the innermost block after it was entered.

    Code that entered the block earlier, in this thread or in another one that shares
    it, sees the user from here on.

    Raises:
        ConfigurationError: Outside every block.
    """
    block = _current.get()
    if block is None:
        msg = "set_user() needs a block: enter cmcore.acting_as() around the request."
        raise ConfigurationError(msg)
    block.known.update({"user_email": None, "user_role": None}, **user_columns(user))
    _late_users.count()


def carry_context(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function bound to today's block, for another thread to call.

    `threading.Thread`, executors and `loop.run_in_executor` start without a context;
    asyncio tasks and `asyncio.to_thread` carry it by themselves.
    """
    block = _current.get()
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _inside(block):
                return await function(*args, **kwargs)

    else:

        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _inside(block):
                return function(*args, **kwargs)

    return cast("Callable[P, R]", functools.wraps(function)(wrapper))


@contextmanager
def _inside(block: _Block | None) -> Iterator[None]:
    token = _current.set(block)
    try:
        yield
    finally:
        _current.reset(token)


def user_columns(user: Any) -> dict[str, Any]:
    """Return what a user, or a user id, says of itself for an entry."""
    if user is None:
        return {}
    if not isinstance(user, peewee.Model):
        return {
            "user_id": _checked_text("user_id", str(user)),
            "user_email": None,
            "user_role": None,
        }
    role = getattr(user, "role", None)
    return {
        "user_id": _checked_text("user_id", str(user.get_id())),
        "user_email": getattr(user, "email", None),
        "user_role": role.value if isinstance(role, Enum) else role,
    }


def storable(text: str) -> str:
    """Return a text without what PostgreSQL or UTF-8 cannot hold.

    Texts of a request carry what its sender likes; they must not make a write fail.
    """
    return text.replace("\x00", "").encode(errors="replace").decode()


def _checked_text(column: str, value: str) -> str:
    limit = _LENGTHS.get(column)
    text = storable(str(value))
    if limit is not None and len(text) > limit:
        raise TooLongError(
            table="audit_logs",
            column=column,
            value=text,
            detail=f"At most {limit} characters fit.",
        )
    if column == "user_id" and not text.strip():
        raise InvalidValueError(
            table="audit_logs",
            column=column,
            value=value,
            detail="A user id is not empty; None keeps the user of the outer block.",
        )
    return text


def _checked_ip(value: Any) -> str:
    text = str(value)
    try:
        ipaddress.ip_address(text)
        is_plain = "%" not in text  # no zone
    except ValueError:
        is_plain = False
    if not is_plain:
        raise InvalidValueError(
            table="audit_logs",
            column="ip_address",
            value=text,
            detail="It must be an IPv4 or IPv6 address without a port or zone.",
        )
    return text
