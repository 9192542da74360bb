"""Threads that go on writing and reading the trail while a test does something."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import peewee

import cmcore

WRITERS = 2


@contextlib.contextmanager
def writing(db: peewee.Database) -> Iterator[list[int]]:
    """Write and read until the block ends; then the list says how much each wrote.

    Raises:
        ExceptionGroup: What went wrong in the threads.
    """
    done = threading.Event()
    written = [0] * WRITERS

    def write(number: int) -> None:
        while not done.is_set():
            with db.atomic():
                cmcore.record(
                    "export", resource_type="reports", description="A report."
                )
                cmcore.AuditLog.trail().limit(1).get()
            written[number] += 1

    with _threads(db, *(lambda n=n: write(n) for n in range(WRITERS))):
        try:
            yield written
        finally:
            done.set()


def beside(db: peewee.Database, *work: Callable[[], object]) -> None:
    """Do several things at once, and wait for all of them."""
    with _threads(db, *work):
        pass


@contextlib.contextmanager
def _threads(db: peewee.Database, *work: Callable[[], object]) -> Iterator[None]:
    failures: list[Exception] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - raised again below
            failures.append(error)
        finally:
            db.close()

    threads = [threading.Thread(target=run, args=(function,)) for function in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if failures:
        msg = "in threads"
        raise ExceptionGroup(msg, failures)
