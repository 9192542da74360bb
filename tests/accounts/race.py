"""One call in many threads of several processes, all at the same moment."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cmcore
from cmcore import accounts
from cmcore.models import User
from cmcore.testing import cheap_passwords

PROCESSES = 4
THREADS = 5
RUNNERS = PROCESSES * THREADS


def log_in(_: int, *credentials: Any) -> Any:
    """Try to sign in; all with the same credentials."""
    return accounts.authenticate(*credentials).internal_reason or "ok"


def demote(number: int, *keys: str) -> str:
    """Take the role away from one of some admins."""
    try:
        User.update(role="client").where(User.id == keys[number % len(keys)]).execute()
    except cmcore.LastAdminError:
        return "last"
    return "ok"


def disable(_: int, user_id: str) -> None:
    """Disable a user, as an administrator does."""
    accounts.disable_user(User.get_by_id(user_id))


def confirm(_: int, user_id: str, code: str) -> str:
    """Confirm an enrolment; all with the same code."""
    try:
        return f"{len(accounts.confirm_totp(User.get_by_id(user_id), code))} codes"
    except cmcore.InvalidCredentialsError as error:
        return error.reason


def race(url: str, key: str, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return what each of the calls returned.

    Args:
        url: The database.
        key: The key of seeds.
        job: One of the functions of this file.
        *arguments: What the job gets behind its number.
    """
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(RUNNERS), context.Queue()
    runners = [
        context.Process(target=_run, args=(i, start, results, url, key, job, arguments))
        for i in range(PROCESSES)
    ]
    for runner in runners:
        runner.start()
    found = [results.get(timeout=120) for _ in range(RUNNERS)]
    for runner in runners:
        runner.join()
    return found


def _run(  # noqa: PLR0913, PLR0917 - of a process
    number: int, start: Any, results: Any, url: str, key: str, job: Any, arguments: Any
) -> None:
    db = cmcore.connect(url, timeout=60) if "sqlite" in url else cmcore.connect(url)
    cmcore.configure(secret_key=key)

    def call(thread: int) -> None:
        with db.connection_context():
            User.select().count()
            start.wait(timeout=60)
            try:
                results.put(job(number * THREADS + thread, *arguments))
            except Exception as error:  # noqa: BLE001 - told to the test
                results.put(repr(error))

    with cheap_passwords(), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, range(THREADS)))
    db.close()
