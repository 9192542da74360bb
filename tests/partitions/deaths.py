"""Processes that are killed in the middle of something."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

import peewee

from cmcore.engines.introspection import rows


def die_before(step: int, calls: Iterable[tuple[Any, str]]) -> None:
    """Let this process be killed before a step: the n-th of some calls, from 1.

    Args:
        step: Which one.
        calls: What counts, each as an owner and a name.
    """
    seen = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    for owner, name in calls:
        setattr(owner, name, deadly(getattr(owner, name)))


def wait_for_the_dead(db: peewee.Database, engine: str) -> None:
    """Wait until the server has noticed that nobody is there any more."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    while engine == "postgresql" and rows(db, sql) != [(0,)]:
        time.sleep(0.01)
