"""Failures are counted and lock an account for a while, up to a quarter of an hour."""

from datetime import timedelta
from typing import Any

import peewee

from cmcore.accounts import clock
from cmcore.accounts.events import tell
from cmcore.accounts.rows import (
    compare_and_return,
    compare_and_set,
    fresh,
    in_order,
    shown,
    state,
)
from cmcore.audit import AuditAction
from cmcore.models import User
from cmcore.models.base import whole

EVERY = 5
MINUTES = (1, 2, 4, 8)  # for the first locks
LONGEST = 15  # minutes, for all that follow

CLEARED: dict[Any, Any] = {
    User.failed_login_attempts: 0,
    User.last_failed_login: None,
    User.locked_until: None,
}
COUNTING = frozenset({"wrong_password", "unusable_hash", "wrong_code"})


def refuse(user: User | None, problem: str) -> str:
    """Count a failure if it is one that counts, and write its entry.

    One UPDATE counts and locks. It leaves an account alone that is locked meanwhile.

    Returns:
        The problem, which is "locked" or another one if that came in between.
    """
    with whole(User, always=True):
        counted: dict[str, Any] = {}
        if user is not None and problem in COUNTING:
            fields = (User.failed_login_attempts, User.locked_until)
            values = {
                User.failed_login_attempts: User.failed_login_attempts + 1,
                User.last_failed_login: clock.now(),
                User.locked_until: _lock(),
            }
            found = compare_and_return(User, values, fields, *in_order(user))
            if found is None:
                problem = state(fresh(user)) or problem
            else:
                until = found[1] and found[1].isoformat()
                counted = {"attempts": found[0], "locked_until": until}
        tell(
            AuditAction.LOGIN_FAILED,
            user,
            f"Login refused: {problem.replace('_', ' ')}",
            success=False,
            internal_reason=problem,
            **counted,
        )
    return problem


@shown
def unlock(user: User) -> None:
    """Let a locked user try again, and forget the failures.

    Where there are none, nothing is written.
    """
    with whole(User, always=True):
        has_failed = User.failed_login_attempts > 0
        if compare_and_set(User, CLEARED, User.id == user.id, has_failed):
            tell(AuditAction.USER_ACTIVATE, user, "Account unlocked", event="unlock")


def _lock() -> peewee.Node:
    """Return until when the next failure locks: as before, unless it is a fifth one."""
    now = clock.now()
    ends = [
        (EVERY * (i + 1), now + timedelta(minutes=minutes))
        for i, minutes in enumerate(MINUTES)
    ]
    attempts = User.failed_login_attempts + 1
    is_fifth = attempts / EVERY * EVERY == attempts  # whole numbers, on both engines
    firsts = [(attempts == count, _moment(end)) for count, end in ends]
    longest = _moment(now + timedelta(minutes=LONGEST))
    lock: peewee.Node = peewee.Case(
        None, [*firsts, (is_fifth, longest)], User.locked_until
    )
    return lock


def _moment(moment: Any) -> peewee.Node:
    value: peewee.Node = peewee.Value(moment, converter=User.locked_until.db_value)
    return value
