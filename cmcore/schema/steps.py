"""The verbs of which the scripts are made.

A script begins with `forward` or `backward`, which enter the guard; then it says, verb
by verb, what is to happen. Nothing happens while it speaks: every verb is queued, and
the stock runner executes the queue in one transaction. With `fake=True` the scripts
only tell the runner what the tables look like. Verbs whose work takes long on a big
table also say how to do it ahead of the script, without locking anybody out; they find
what was done ahead and do not do it again. A verb that a released script uses is never
changed, only added to.
"""

import logging
from collections.abc import Callable, Sequence

import peewee

from cmcore.engines.catalog import check_constraints
from cmcore.engines.introspection import run
from cmcore.errors import MigrationError
from cmcore.keys import now
from cmcore.schema import deleted_rows, guard, online, orphans, removal, state, tables
from cmcore.schema.checks import RULES
from cmcore.schema.columns import Column, NewIndex
from cmcore.schema.history import FULL_HISTORY
from cmcore.schema.prechecks import rule_breakers
from cmcore.schema.state import Migrator

logger = logging.getLogger("cmcore.migrations")

SYSTEM_USER = "system"

Action = Callable[[peewee.Database], None]


def forward(
    migrator: Migrator, name: str, *, fake: bool, history: str = FULL_HISTORY
) -> "Script":
    """Begin to migrate: lock the database and see whether it is this script's turn."""
    if not fake:
        guard.enter(migrator.__database__, name, history, undo=False)
    return Script(migrator, name)


def backward(
    migrator: Migrator, name: str, *, fake: bool, history: str = FULL_HISTORY
) -> "Script":
    """Begin to roll back: lock the database and see whether it is the last script."""
    if not fake:
        guard.enter(migrator.__database__, name, history, undo=True)
    return Script(migrator, name)


class Script:
    """One script, on its way forward or back."""

    def __init__(self, migrator: Migrator, name: str) -> None:
        """Take the runner's migrator and the script's name."""
        self._migrator = migrator
        self._name = name
        self._new_tables: set[str] = set()

    def create_table(
        self,
        table: str,
        columns: Sequence[Column],
        *,
        comment: str,
        checks: Sequence[str] = (),
        has_rowid: bool = True,
    ) -> None:
        """Create a table with a comment; refuse if something has its name."""
        state.add_table(self._migrator, table, columns)
        self._new_tables.add(table)
        new = tables.NewTable(table, columns, comment, has_rowid)
        self._queue(
            f"create table {table}",
            lambda db: tables.create_table(db, new, _definitions(db, checks)),
        )

    def drop_table(
        self, table: str, *, spare: str | None = None, parked_in: str | None = None
    ) -> None:
        """Drop a table; refuse if it has rows, or if something else needs it."""
        self._queue(
            f"drop table {table}",
            lambda db: removal.drop_table(db, table, spare=spare, parked_in=parked_in),
        )

    def create_index(
        self,
        name: str,
        table: str,
        *columns: str,
        unique: bool = False,
        where: str | None = None,
    ) -> None:
        """Create an index, partial if there is a condition."""
        state.set_index(self._migrator, table, name, columns, unique=unique)
        new = NewIndex(name, table, columns, unique, where)
        is_big = table not in self._new_tables
        self._queue(
            f"create index {name}",
            lambda db: tables.create_index(db, new),
            ahead=(lambda db: online.create_index(db, new)) if is_big else None,
        )

    def replace_index(
        self,
        name: str,
        table: str,
        *columns: str,
        unique: bool = False,
        where: str | None = None,
    ) -> None:
        """Put an index in the place of the one of that name.

        Refuses if foreign keys need the old one to be unique.
        """
        state.set_index(self._migrator, table, name, columns, unique=unique)
        new = NewIndex(name, table, columns, unique, where)
        self._queue(
            f"replace index {name}",
            lambda db: tables.replace_index(db, new),
            ahead=lambda db: online.replace_index(db, new),
        )

    def drop_index(self, name: str, table: str) -> None:
        """Drop an index; refuse if foreign keys need it to be unique."""
        self._queue(f"drop index {name}", lambda db: tables.drop_index(db, name, table))

    def add_columns(self, table: str, *columns: Column) -> None:
        """Add columns with their foreign keys."""
        state.set_columns(self._migrator, table, columns)
        self._queue(
            f"add columns to {table}",
            lambda db: tables.add_columns(db, table, columns),
            ahead=lambda db: online.add_columns(db, table, columns),
        )

    def drop_columns(self, table: str, *columns: str) -> None:
        """Drop columns, whose indexes must be gone."""
        self._queue(
            f"drop columns of {table}",
            lambda db: tables.drop_columns(db, table, columns),
        )

    def add_foreign_keys(self, table: str, *columns: Column) -> None:
        """Make columns that are there refer to users."""
        state.set_columns(self._migrator, table, columns)
        keys = tables.foreign_keys(table, columns)
        self._queue(
            f"add foreign keys to {table}",
            lambda db: tables.add_constraints(db, table, keys),
            ahead=lambda db: online.add_constraints(db, table, keys),
        )

    def drop_foreign_keys(self, table: str, *columns: str) -> None:
        """Let columns refer to nobody; their values stay."""
        self._queue(
            f"drop foreign keys of {table}",
            lambda db: tables.drop_constraints(
                db, table, [f"fk_{table}_{column}" for column in columns]
            ),
        )

    def refuse_rule_breakers(self, *rules: str) -> None:
        """Refuse if there are rows that break rules, naming all of them."""

        def look(db: peewee.Database) -> None:
            sought = [RULES[name] for name in rules]
            kept = {
                check.name
                for table in {rule.table for rule in sought}
                for check in check_constraints(db, table)
                if check.is_valid
            }
            found = [rule_breakers(db, r) for r in sought if r.name not in kept]
            offences = [str(offence) for offence in found if offence is not None]
            if offences:
                msg = f"{'; '.join(offences)}. Correct those rows, and run again."
                raise MigrationError(msg)

        self._queue("look for rows that break the rules", look, ahead=look)

    def add_checks(self, table: str, *rules: str) -> None:
        """Add CHECK constraints, all of one table at once."""
        self._queue(
            f"add checks to {table}",
            lambda db: tables.add_constraints(db, table, _definitions(db, rules)),
            ahead=lambda db: online.add_constraints(db, table, _definitions(db, rules)),
        )

    def drop_checks(self, table: str, *rules: str) -> None:
        """Drop CHECK constraints."""
        self._queue(
            f"drop checks of {table}",
            lambda db: tables.drop_constraints(db, table, rules),
        )

    def insert_system_user(self) -> None:
        """Insert the user who acted when nobody is named, and who cannot log in."""

        def insert(db: peewee.Database) -> None:
            moment = now().isoformat(" ", "microseconds")
            run(
                db,
                'INSERT INTO "users" (id, email, password_hash, full_name, is_active,'
                " created_at, updated_at) VALUES (?, ?, ?, ?, FALSE, ?, ?)",
                (
                    SYSTEM_USER,
                    "system@cmcore.invalid",
                    "!unusable-password",
                    "System",
                    moment,
                    moment,
                ),
            )

        self._queue("insert the system user", insert)

    def settle_orphans(self, table: str, *references: Column, keep_in: str) -> None:
        """Give rows whose user does not exist to another user, or refuse."""
        self._queue(
            f"settle orphans of {table}",
            lambda db: orphans.settle(db, table, references, keep_in),
            ahead=lambda db: online.settle_orphans(db, table, references, keep_in),
        )

    def restore_orphans(self, table: str, *, kept_in: str) -> None:
        """Give rows the users of before back, who do not exist."""
        self._queue(
            f"restore orphans of {table}",
            lambda db: orphans.restore(db, table, kept_in),
        )

    def park_deleted_rows(self, *of: str, store: str) -> None:
        """Move soft-deleted rows away, so that they do not come back to life."""
        self._queue("park deleted rows", lambda db: deleted_rows.park(db, of, store))

    def put_back_deleted_rows(self, *to: str, store: str) -> None:
        """Return the rows that a rollback moved away."""
        self._queue(
            "put deleted rows back", lambda db: deleted_rows.put_back(db, to, store)
        )

    def _queue(self, what: str, action: Action, *, ahead: Action | None = None) -> None:
        if isinstance(self._migrator, state.Substitute):
            self._migrator.take(self._name, state.Verb(what, action, ahead))
            return

        def step() -> None:
            logger.info("%s: %s", self._name, what)
            try:
                action(self._migrator.__database__)
            except MigrationError as error:
                text = f"{self._name} refused, and nothing was changed: {error}"
                error.args = (text,)
                raise
            except peewee.DatabaseError as error:
                msg = _gave_up(self._name, what, error)
                raise MigrationError(msg) from error

        self._migrator.run(step)


def _gave_up(name: str, what: str, error: peewee.DatabaseError) -> str:
    if guard.is_lock_conflict(error):
        return (
            f"{name} gave up, and nothing was changed: another transaction kept a "
            f"table locked for {guard.LOCK_TIMEOUT} ({what}). End it, and run again."
        )
    if isinstance(error, peewee.IntegrityError):
        return (
            f"{name} gave up, and nothing was changed: rows stand in the way that were "
            f"not there before ({what}): {_without_values(error)}. Look at them, and "
            "run again."
        )
    return f"{name} failed, and nothing was changed ({what}): {_without_values(error)}"


def _without_values(error: peewee.DatabaseError) -> str:
    """Return what the database says, without the row that PostgreSQL would quote."""
    lines = str(error).splitlines()
    return " ".join(line for line in lines if "Failing row contains" not in line)


def _definitions(db: peewee.Database, rules: Sequence[str]) -> dict[str, str]:
    return {name: f"CHECK ({RULES[name].sql_for(db)})" for name in rules}
