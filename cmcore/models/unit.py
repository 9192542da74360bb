"""One call as one unit: all of it happens, or nothing; and which transaction it is in.

Whether a transaction is open is asked of the connection: raw `begin()`,
`manual_commit()` and sessions do not show on peewee's stack.
"""

import functools
import threading
import weakref
from typing import Any

import peewee

from cmcore.engines.binding import Engine
from cmcore.keys import new_key
from cmcore.layout import Layout


class Unit:
    """A context manager around everything that one call of the ORM sends.

    Outside a transaction it opens one. Inside one of the caller's it takes the write
    lock first where the engine has one, and a savepoint where something other than
    the database may raise after a statement; without a savepoint such an error aborts
    the caller's transaction, so that a change without its audit rows is never kept.

    Args:
        savepoint: Whether hooks of plugins, or further statements, may raise.
    """

    __slots__ = ("_database", "_engine", "_layout", "_leave", "_savepoint")

    def __init__(
        self, database: Any, engine: Engine, layout: Layout, *, savepoint: bool
    ) -> None:
        """Prepare; nothing is sent before the block is entered."""
        self._database = database
        self._engine = engine
        self._layout = layout
        self._savepoint = savepoint or engine.needs_savepoint
        self._leave: Any = None

    def __enter__(self) -> None:
        """Open a transaction, or a savepoint in the one that is open."""
        database, engine = self._database, self._engine
        if engine.in_transaction(database):
            engine.lock(database, self._layout)
            self._leave = self._leave_open
            if self._savepoint:
                engine.savepoint(database)
                self._leave = self._leave_savepoint
        elif database.transaction_depth() == 0:
            transaction = database.atomic(*engine.begin_args)
            transaction.__enter__()
            self._leave = transaction.__exit__
        else:  # manual_commit(), or after txn.commit(begin=False)
            database.begin(*engine.begin_args)
            self._leave = self._leave_raw

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Keep everything, or undo everything."""
        self._leave(kind, error, trace)

    def _leave_savepoint(self, kind: Any, *_: object) -> None:
        if kind is not None:
            self._engine.rollback_to_savepoint(self._database)
        self._engine.release_savepoint(self._database)

    def _leave_open(self, kind: Any, *_: object) -> None:
        if kind is not None:
            self._engine.poison(self._database)

    def _leave_raw(self, kind: Any, *_: object) -> None:
        if kind is None:
            self._database.commit()
        else:
            self._database.rollback()


class _Current(threading.local):
    """The transaction of each database, as this thread last saw it."""

    def __init__(self) -> None:
        self.known: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = (
            weakref.WeakKeyDictionary()
        )


_current = _Current()


def transaction_id(database: Any) -> str:
    """Return the id of the outermost transaction, which must be open.

    A commit or rollback in mid-block ends it, and the next write begins a new one.
    """
    stack = database._state.transactions
    outermost = stack[0] if stack else None
    known = _current.known.get(database)
    if known is not None and known[0] is outermost:
        return known[1]
    identifier = new_key()
    _current.known[database] = (outermost, identifier)
    if isinstance(outermost, peewee._transaction):
        database.after_commit(functools.partial(forget_transaction, database))
    else:
        _watch(database)
    return identifier


def forget_transaction(database: Any) -> None:
    """Let the next write begin a new transaction id."""
    _current.known.pop(database, None)


def _watch(database: Any) -> None:
    """Learn of raw commits and rollbacks, of which peewee tells nobody."""
    if "commit" in vars(database):
        return
    for name in ("commit", "rollback"):
        setattr(database, name, functools.partial(_end, database, name))


def _end(database: Any, name: str) -> None:
    getattr(type(database), name)(database)
    forget_transaction(database)
