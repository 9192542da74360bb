"""What can be made ahead of a script while others work, on PostgreSQL.

A script does all that it does in one transaction, and keeps writers away from a big
table while it checks rows and builds indexes. Here every statement is a transaction of
its own. One that needs a table for itself waits a moment at most, and tries again; one
that takes long locks nobody out. What was made stays if something fails later, and the
script, or another attempt, goes on from there.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import peewee

from cmcore.engines.introspection import is_sqlite, rows, run
from cmcore.engines.postgresql_catalog import is_ordinary_table
from cmcore.engines.session import turn
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.schema import orphans, patience, present, tables
from cmcore.schema.columns import Column, NewIndex
from cmcore.schema.patience import BRIEFLY, attempt, is_worth_another_try
from cmcore.schema.state import Substitute, Verb

logger = logging.getLogger("cmcore.migrations")

_TURN = int.from_bytes(b"cmonline")


class _Preparation(Substitute):
    """Makes things ahead of a script."""

    def take(self, script: str, verb: Verb) -> None:
        """Make something ahead, if there is a way."""
        if verb.ahead is None:
            return
        logger.info("ahead of %s: %s", script, verb.what)
        try:
            verb.ahead(self.__database__)
        except MigrationError as error:
            text = (
                f"{script} was not run, and what was made ahead of it stays "
                f"({verb.what}): {error}"
            )
            error.args = (text,)
            raise
        except peewee.IntegrityError as error:
            text = (
                f"{script} was not run, and what was made ahead of it stays: rows "
                f"stand in the way that were not there before ({verb.what}): "
                f"{str(error).strip()}. Look at them, and run again."
            )
            raise MigrationError(text) from error


def prepare(db: peewee.Database, script: Callable[..., None]) -> None:
    """Make ahead what a script would take long for; nothing on SQLite.

    Args:
        db: The database, without a transaction, in a block of `in_turn`.
        script: The function that migrates.
    """
    if not is_sqlite(db):
        script(_Preparation(db), db, fake=True)


@contextlib.contextmanager
def in_turn(db: peewee.Database) -> Iterator[None]:
    """Let one process at a time make things ahead, without limits of time.

    The lock is asked for again and again: a statement that waits for it would be
    waited for by those who build an index.
    """
    if is_sqlite(db):
        yield
        return
    limits = ("lock_timeout", "statement_timeout")
    before = [_value(db, "SELECT current_setting(?)", name) for name in limits]
    while True:
        with turn(db, _TURN) as is_ours:
            if is_ours:
                try:
                    _value(db, "SELECT set_config('statement_timeout', '0', false)")
                    yield
                finally:
                    with contextlib.suppress(peewee.PeeweeException):
                        for name, value in zip(limits, before, strict=True):
                            _value(db, "SELECT set_config(?, ?, false)", name, value)
                return
        time.sleep(patience.PAUSE)


def add_columns(db: peewee.Database, table: str, columns: Sequence[Column]) -> None:
    """Add columns, which rewrites no row, and their foreign keys."""
    if not is_ordinary_table(db, table):
        return
    missing = present.missing_columns(db, table, columns)
    parts = [f"ADD COLUMN {column.sql(sqlite=False)}" for column in missing]
    if parts:
        _alter(db, table, parts, BRIEFLY)
    add_constraints(db, table, tables.foreign_keys(table, columns))


def add_constraints(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> None:
    """Let constraints hold for new rows, then look at those that are there."""
    if not is_ordinary_table(db, table):
        return
    add_unchecked(db, table, constraints)
    _, unchecked = present.missing_constraints(db, table, constraints)
    parts = [f"VALIDATE CONSTRAINT {quoted(name)}" for name in unchecked]
    if parts:
        _alter(db, table, parts, patience.PATIENTLY)


def add_unchecked(
    db: peewee.Database, table: str, constraints: Mapping[str, str]
) -> None:
    """Let constraints hold for new rows."""
    missing, _ = present.missing_constraints(db, table, constraints)
    parts = [f"ADD CONSTRAINT {quoted(n)} {t} NOT VALID" for n, t in missing.items()]
    if parts:
        _alter(db, table, parts, BRIEFLY)


def create_index(db: peewee.Database, index: NewIndex) -> None:
    """Build an index while others write."""
    if not is_ordinary_table(db, index.table) or present.has_index(db, index):
        return
    if not present.has_index(db, index, is_valid=False):
        tables.refuse_taken(db, index.name)
    build(db, index)


def replace_index(db: peewee.Database, index: NewIndex) -> None:
    """Build an index beside the one of its name, then let them change places."""
    if not is_ordinary_table(db, index.table) or present.has_index(db, index):
        return
    tables.refuse_to_drop_index(db, index.name, index.table)
    if not present.has_index(db, index.beside):
        if not present.has_index(db, index.beside, is_valid=False):
            tables.refuse_taken(db, index.beside.name)
        build(db, index.beside)
    drop = f"DROP INDEX {quoted(index.name)}"
    _try(db, BRIEFLY, drop, tables.index_renaming(index))


def settle_orphans(
    db: peewee.Database, table: str, references: Sequence[Column], keep_in: str
) -> None:
    """Give orphans away, or refuse, once there can be no new ones."""
    if not is_ordinary_table(db, table):
        return
    if orphans.heir_of_orphans(db, table, references) is None:
        return
    add_unchecked(db, table, tables.foreign_keys(table, references))
    with db.atomic():
        heir = orphans.heir_of_orphans(db, table, references)
        if heir is not None:
            orphans.give_away(db, table, references, keep_in, heir)


def build(db: peewee.Database, index: NewIndex) -> None:
    """Build an index anew until it is whole; no failed one stays."""
    for number in range(patience.ATTEMPTS):
        try:
            drop_index(db, index.name)
            run(db, index.sql("CONCURRENTLY"))
        except peewee.DatabaseError as error:
            if not is_worth_another_try(error, number):
                drop_index(db, index.name)
                raise
            time.sleep(patience.PAUSE)
        else:
            return


def drop_index(db: peewee.Database, name: str) -> None:
    """Drop an index, if it is there, while others write."""
    _value(db, "SELECT set_config('lock_timeout', ?, false)", patience.PATIENTLY)
    run(db, f"DROP INDEX CONCURRENTLY IF EXISTS {quoted(name)}")


def _alter(db: peewee.Database, table: str, parts: Sequence[str], wait: str) -> None:
    _try(db, wait, f"ALTER TABLE {quoted(table)} {', '.join(parts)}")


def _try(db: peewee.Database, wait: str, *statements: str) -> None:
    """Execute statements in one transaction, again while others hold their tables."""

    def execute() -> None:
        for statement in statements:
            run(db, statement)

    attempt(db, wait, execute)


def _value(db: peewee.Database, sql: str, *params: Any) -> Any:
    return rows(db, sql, params)[0][0]
