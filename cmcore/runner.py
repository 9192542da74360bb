"""Run the packaged scripts in the application's own process.

The stock runner does the work, with two of its habits left out. It keeps the history
model in one class for all runners of a process; here every call has a class of its own.
And before it runs a script it replays all earlier ones with a peewee that is patched
for the whole process, in which other threads would lose their writes; the scripts do
not need that.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import peewee
from peewee_migrate.migrator import Migrator
from peewee_migrate.models import MigrateHistory
from peewee_migrate.router import Router

from cmcore.engines.catalog import table_exists, taken_names
from cmcore.engines.session import connected
from cmcore.errors import DatabaseLockedError, MigrationError
from cmcore.models.schema_state import forget_schema
from cmcore.schema import history
from cmcore.schema.guard import begin_locked
from cmcore.schema.online import in_turn, prepare
from cmcore.schema.tables import taken_text

__all__ = ["migrate", "migrate_each", "pending", "rollback", "rollback_each"]


def migrate(
    db: peewee.Database | peewee.Proxy,
    target: str | None = None,
    *,
    trail_only: bool = False,
    online: bool = False,
) -> list[str]:
    """Run the packaged scripts that are still pending, each in its own transaction.

    Several processes may do so at once: each script runs once, and every process
    returns when all of them have run. A script that fails changes nothing; those before
    it stay. None runs where a table of the application has the name of one of ours.

    Args:
        db: The database; connected for the length of the call if it is not.
        target: The name of the last script to run; all of them by default.
        trail_only: Only the trail, for a database with users of its own.
        online: On PostgreSQL, build indexes and check rows ahead of each script, in
            small steps that lock nobody out for long. It takes longer, and what was
            made ahead of a script that fails stays. No difference on SQLite.

    Returns:
        The names of the scripts that this call ran.

    Raises:
        MigrationError: No such target, a schema of the other kind, a table in the way,
            a script that refuses, or a transaction that is open.
        DatabaseLockedError: Somebody else is writing, and did not finish in time.
    """
    return list(migrate_each(db, target, trail_only=trail_only, online=online))


def migrate_each(
    db: peewee.Database | peewee.Proxy,
    target: str | None = None,
    *,
    trail_only: bool = False,
    online: bool = False,
) -> Iterator[str]:
    """Do as `migrate`, and yield the name of each script once it has run."""
    with connected(db, "Migrations") as database:
        _refuse_other_kind(database, trail_only=trail_only)
        if not trail_only:
            _refuse_taken(database)
        packaged = history.scripts(trail_only=trail_only)
        wanted = packaged[: _position(packaged, target) + 1]
        forget_schema(database)
        router = _Router(database, trail_only=trail_only)
        run = router.run_prepared if online else router.run_next
        done: list[str] = []
        while todo := [n for n in wanted if n not in router.applied]:
            with _telling(done, "Run before it, and still there: {}."):
                is_ours = run(todo[0])
            if is_ours:
                done.append(todo[0])
                yield todo[0]


def rollback(db: peewee.Database | peewee.Proxy, count: int = 1) -> list[str]:
    """Roll the last scripts back, each in its own transaction.

    Args:
        db: The database; connected for the length of the call if it is not.
        count: How many of them.

    Returns:
        The names of the scripts in the order of rolling back.

    Raises:
        MigrationError: There are not as many, one that refuses, or a transaction that
            is open. Those rolled back before it stay so.
        DataLossRefusedError: Rows would be lost.
    """
    return list(rollback_each(db, count))


def rollback_each(db: peewee.Database | peewee.Proxy, count: int = 1) -> Iterator[str]:
    """Do as `rollback`, and yield the name of each script once it is rolled back."""
    if type(count) is not int:
        msg = f"count is {count!r}: how many scripts, 1 or more? Nothing was changed."
        raise MigrationError(msg)
    with connected(db, "Migrations") as database:
        trail_only = bool(history.applied(database, history.TRAIL_HISTORY))
        router = _Router(database, trail_only=trail_only)
        names = router.applied[::-1][: max(count, 0)]
        unknown = set(names) - set(history.scripts(trail_only=trail_only))
        if not 1 <= count <= len(names) or unknown:
            msg = (
                f"Cannot roll back {count} script(s): the database has seen "
                f"{', '.join(router.applied) or 'none'}"
                + (f", and {', '.join(unknown)} is not packaged" if unknown else "")
                + ". Nothing was changed."
            )
            raise MigrationError(msg)
        forget_schema(database)
        for i, name in enumerate(names):
            back = "Taken back before it: {}; `cmcore migrate` brings that back."
            with _telling(names[:i], back):
                router.run_one(name, Migrator(database), fake=False, downgrade=True)
            yield name


def pending(db: peewee.Database | peewee.Proxy) -> list[str]:
    """Return the names of the scripts still to run; changes nothing."""
    with connected(db, "Migrations", in_transaction=True) as database:
        return list(history.inspect(database).pending)


class _Router(Router):
    """The stock runner, bound to one of cmcore's folders."""

    def __init__(self, db: peewee.Database, *, trail_only: bool) -> None:
        self._db = db
        self._log = history.TRAIL_HISTORY if trail_only else history.FULL_HISTORY
        super().__init__(
            db,
            migrate_dir=history.migrations_path(trail_only=trail_only),
            migrate_table=self._log,
        )

    @cached_property
    def model(self) -> Any:
        """A history model of this runner alone, with its table."""
        options = {"database": self._db, "table_name": self._log}
        meta = type("Meta", (), options)
        return type("History", (MigrateHistory,), {"Meta": meta})

    def _create_history(self) -> None:
        """Make the table, which the guard will look at, once for all processes."""
        if not table_exists(self._db, self._log):
            with begin_locked(self._db):
                self.model.create_table(safe=True)

    @property
    def applied(self) -> list[str]:
        """The names of the scripts that have run, in their order."""
        return history.applied(self._db, self._log)

    def run_next(self, name: str) -> bool:
        """Run one script; False if another process was faster."""
        self._create_history()
        try:
            self.run_one(name, Migrator(self._db), fake=False)
        except MigrationError:
            if name not in self.applied:
                raise
            return False
        return True

    def run_prepared(self, name: str) -> bool:
        """Run one script after what can be made ahead; False if it has run already."""
        with in_turn(self._db):
            if name in self.applied:
                return False
            trail_only = self._log == history.TRAIL_HISTORY
            try:
                prepare(self._db, history.load(name, trail_only=trail_only))
            except (MigrationError, peewee.DatabaseError):
                if name not in self.applied:
                    raise
                return False
            return self.run_next(name)


def _position(packaged: list[str], target: str | None) -> int:
    if target is None:
        return len(packaged) - 1
    if target not in packaged:
        msg = f"There is no script {target!r}. The scripts are {', '.join(packaged)}."
        raise MigrationError(msg)
    return packaged.index(target)


@contextlib.contextmanager
def _telling(done: Sequence[str], what: str) -> Iterator[None]:
    """Add to an error of a script what the scripts before it changed."""
    try:
        yield
    except MigrationError as error:
        if done:
            text = str(error).rstrip(". ")
            error.args = (f"{text}. {what.format(', '.join(done))}",)
        raise
    except DatabaseLockedError as error:
        if done:
            error.add_note(what.format(", ".join(done)))
        raise


def _refuse_other_kind(db: peewee.Database, *, trail_only: bool) -> None:
    other = history.FULL_HISTORY if trail_only else history.TRAIL_HISTORY
    done = history.applied(db, other)
    if not done:
        return
    if not trail_only:
        found = (
            "the trail alone, without users and customers of cmcore. Use `cmcore "
            "migrate --trail-only`, or cmcore.migrate(db, trail_only=True)"
        )
    elif set(done) >= set(history.scripts()):
        found = (
            "all tables of cmcore. Use `cmcore migrate`, or cmcore.migrate(db), "
            "without the option for the trail alone"
        )
    else:
        found = (
            f"seen {', '.join(done)}, which belong to all tables of cmcore. Go on with "
            "`cmcore migrate`, or cmcore.migrate(db); or take them back first, with "
            f"`cmcore rollback --count {len(done)}`, or "
            f"cmcore.rollback(db, {len(done)}), and make the trail alone then"
        )
    msg = f"This database has {found}. Nothing was changed."
    raise MigrationError(msg)


def _refuse_taken(db: peewee.Database) -> None:
    """Refuse tables of the application before the first script, not at the second.

    The history is read last: another process may have run the scripts just now.
    """
    taken = taken_names(db, "customers", "users", "audit_logs")
    if taken and not history.applied(db, history.FULL_HISTORY):
        msg = f"Nothing was changed: {taken_text(taken)}"
        raise MigrationError(msg)
