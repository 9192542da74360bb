"""One call as one unit: all of it happens, or nothing; and which transaction it is in.

Whether a transaction is open is asked of the connection: raw `begin()`,
`manual_commit()` and sessions do not show on peewee's stack.
"""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import peewee

from cmcore.engines.binding import Engine
from cmcore.keys import new_key
from cmcore.layout import Layout


class Unit:
    """A context manager around everything that one call of the ORM sends.

    Outside a transaction it opens one. Inside one of the caller's it takes a savepoint
    where something other than
    the database may raise after a statement; without a savepoint such an error aborts
    the caller's transaction, so that a change without its audit rows is never kept.

    Args:
        savepoint: Whether hooks of plugins, or further statements, may raise.

    Attributes:
        is_inside: Whether the transaction is the caller's.
        has_changed: To be set once the caller's statement has run: an error before
            that leaves the caller's transaction as usable as peewee would.
    """

    __slots__ = (
        "_database",
        "_engine",
        "_layout",
        "_leave",
        "_savepoint",
        "_transaction",
        "has_changed",
        "is_inside",
    )

    def __init__(
        self, database: Any, engine: Engine, layout: Layout, *, savepoint: bool
    ) -> None:
        """Prepare; nothing is sent before the block is entered."""
        self._database = database
        self._engine = engine
        self._layout = layout
        self._savepoint = savepoint or engine.needs_savepoint
        self._leave: Any = None  # a plain function: a bound one would be a cycle
        self._transaction: Any = None
        self.has_changed = self.is_inside = False

    def __enter__(self) -> "Unit":
        """Open a transaction, or a savepoint in the one that is open."""
        database, engine, kind = self._database, self._engine, type(self)
        if engine.in_transaction(database):
            self.is_inside = True
            self._leave = kind._leave_open
            if self._savepoint:
                engine.savepoint(database)
                self._leave = kind._leave_savepoint
        elif database.transaction_depth() == 0:
            self._transaction = database.atomic(*engine.begin_args)
            self._transaction.__enter__()
            self._leave = kind._leave_transaction
        else:  # manual_commit(), or after txn.commit(begin=False)
            database.begin(*engine.begin_args)
            self._leave = kind._leave_raw
        return self

    def before_reading(self) -> None:
        """Take the engine's write lock inside the caller's transaction.

        A deferred transaction that reads before it writes loses the race for it.
        """
        if self.is_inside:
            self._engine.lock(self._database, self._layout)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Keep everything, or undo everything."""
        self._leave(self, kind, error, trace)

    def _leave_transaction(self, kind: Any, error: Any, trace: Any) -> None:
        self._transaction.__exit__(kind, error, trace)

    def _leave_savepoint(self, kind: Any, *_: object) -> None:
        if kind is not None:
            self._engine.rollback_to_savepoint(self._database)
        self._engine.release_savepoint(self._database)

    def _leave_open(self, kind: Any, *_: object) -> None:
        if kind is not None and self.has_changed:
            self._engine.poison(self._database)

    def _leave_raw(self, kind: Any, *_: object) -> None:
        if kind is None:
            self._database.commit()
        else:
            self._database.rollback()
        _close(self._database, is_kept=kind is None)


class _Seen(NamedTuple):
    """A transaction as it was seen at its first write.

    Attributes:
        outermost: The bottom of peewee's stack; None for a raw transaction.
        end: What peewee calls after the commit, and drops at a rollback.
    """

    outermost: Any
    identifier: str
    end: Callable[[], None] | None


class _Current(threading.local):
    """The transaction of each database, as this thread last saw it."""

    def __init__(self) -> None:
        self.seen: weakref.WeakKeyDictionary[Any, _Seen] = weakref.WeakKeyDictionary()


_current = _Current()


def transaction_id(database: Any) -> str:
    """Return the id of the outermost transaction, which must be open.

    A commit or rollback in mid-block ends it, and the next write begins a new one.
    """
    state = database._state
    outermost = state.transactions[0] if state.transactions else None
    seen = _current.seen.get(database)
    if (
        seen is not None
        and seen.outermost is outermost
        and (seen.end is None or seen.end in state.commit_callbacks)
    ):
        return seen.identifier
    end, identifier = None, new_key()
    if isinstance(outermost, peewee._transaction):
        end = functools.partial(_committed, database, identifier)
        database.after_commit(end)
    else:
        _watch(database)
    _current.seen[database] = _Seen(outermost, identifier, end)
    return identifier


def forget_transaction(database: Any) -> None:
    """Let the next write begin a new transaction id."""
    _current.seen.pop(database, None)


def when_committed(observer: Callable[[Any, str], None]) -> None:
    """Have a function called after each commit, with database and transaction id.

    It may be called for a transaction of which nothing was kept, and must not raise.
    """
    _observers.append(observer)


_observers: list[Callable[[Any, str], None]] = []


def _committed(database: Any, identifier: str) -> None:
    """Call the observers; peewee still has the transaction on its stack by then.

    It is taken off for them: in a transaction that has ended, `atomic()` would send a
    savepoint, and a write would wait for a commit that never comes.
    """
    forget_transaction(database)
    state = database._state
    ended, state.transactions[:] = list(state.transactions), []
    try:
        for observer in _observers:
            observer(database, identifier)
    finally:
        state.transactions[:] = ended


def _close(database: Any, *, is_kept: bool) -> None:
    """End a raw transaction inside one of peewee's, which would end it too late."""
    seen = _current.seen.get(database)
    if seen is None or seen.end is None:
        return
    callbacks = database._state.commit_callbacks
    if seen.end in callbacks:
        callbacks.remove(seen.end)
    if is_kept:
        seen.end()
    else:
        forget_transaction(database)


def _watch(database: Any) -> None:
    """Learn of raw commits and rollbacks, of which peewee tells nobody."""
    if "commit" in vars(database):
        return
    for name in ("commit", "rollback"):
        setattr(database, name, functools.partial(_end, database, name))


def _end(database: Any, name: str) -> None:
    seen = _current.seen.get(database)
    getattr(type(database), name)(database)
    if seen is not None and seen.end is None:
        forget_transaction(database)
        if name == "commit":
            _committed(database, seen.identifier)
