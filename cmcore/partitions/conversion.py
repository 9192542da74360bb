"""Making the trail a partitioned table, without copying an entry.

The table becomes the first partition of a new one that takes its name. What takes long
is done before, while others read and write; the swap itself is one short transaction.
"""

import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import peewee

from cmcore.engines.catalog import primary_key
from cmcore.engines.ddl import literal
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import (
    PARTED_BY,
    UNFINISHED,
    is_partitioned,
    taken_beside,
)
from cmcore.engines.session import connected
from cmcore.errors import MigrationError
from cmcore.keys import now
from cmcore.layout import quoted
from cmcore.partitions.belongings import Belongings, in_the_way
from cmcore.partitions.detached import table_of
from cmcore.partitions.leftovers import (
    KEY_ENDING,
    drop_check,
    drop_indexes,
    leftover_indexes,
    leftovers,
    tidied,
)
from cmcore.partitions.months import MONTHS_OF_A_YEAR, Month
from cmcore.partitions.pieces import (
    DEFAULT,
    MONTHS_AHEAD,
    TRAIL,
    add_months,
    new_months,
    refusing,
    require_engine,
    require_trail,
)
from cmcore.schema import present
from cmcore.schema.columns import NewIndex, names
from cmcore.schema.guard import wait_for_runners
from cmcore.schema.online import build, in_turn
from cmcore.schema.patience import BRIEFLY, PATIENTLY, attempt

Progress = Callable[[int, int], object]

_WHAT = "Partitions"
_LONGEST_NAME = 63
# The clocks of writers differ, and the conversion itself takes its time.
_MARGIN = timedelta(days=1)


def convert(
    db: peewee.Database | peewee.Proxy,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Partition the trail by month of `created_at`; entries stay where they are.

    Readers and writers wait for the moment of the swap only. What was there becomes the
    partition `audit_logs_before_YYYY_MM`; `audit_logs_YYYY_MM` of the next months and
    `audit_logs_default` are added. The primary key is (id, created_at) then. Indexes,
    constraints, views, triggers, grants, owner and comment are as before. A killed
    conversion is finished by the next one; a converted table gets its missing months,
    and loses what an interrupted `revert` left.

    Args:
        db: The database; connected for the length of the call if it is not.
        dry_run: Only tell; nothing is changed.
        progress: Is called with the steps that are done, and how many there are.

    Returns:
        What was done, or would be, in sentences.

    Raises:
        ConfigurationError: The engine has no partitions.
        PendingMigrationsError: There is no trail.
        MigrationError: Something cannot go over, is in the way, or is locked; the text
            names it. Nothing was changed.
    """
    with connected(db, _WHAT) as database:
        require_engine(database)
        require_trail(database)
        with in_turn(database):
            if is_partitioned(database, TRAIL):
                left = tidied(database, dry_run=dry_run)
                added = add_months(database, MONTHS_AHEAD, dry_run=dry_run)
                return left + [f"Add the partition {name}." for name in added]
            return _Conversion(database).run(dry_run, progress or (lambda *_: None))


class _Conversion:
    """One conversion of a table that is not partitioned."""

    def __init__(self, db: peewee.Database) -> None:
        """Look at the table, and refuse what cannot be converted."""
        self._db = db
        self._bound = _bound(db)
        self._piece = f"{TRAIL}_before_{self._bound}"
        key = (*primary_key(db, TRAIL), PARTED_BY)
        self._key = NewIndex(f"{self._piece}{KEY_ENDING}", TRAIL, key, True, None)
        taken = taken_beside(db, TRAIL, self._new_names())
        obstacles = in_the_way(db, UNFINISHED)
        obstacles += [f"{what}, whose name is needed: rename it" for what in taken]
        if obstacles:
            raise MigrationError(refusal("converted", obstacles))

    def _new_names(self) -> list[str]:
        """Return what tables and indexes will be called that are made or renamed."""
        last = Month.of(now()).shifted(MONTHS_AHEAD)
        ahead = itertools.takewhile(
            last.__ge__, map(self._bound.shifted, itertools.count())
        )
        built = {self._key.name} - set(leftover_indexes(self._db))
        indexes = itertools.starmap(self._name_of, enumerate(self._indexes()))
        return [self._piece, DEFAULT, *map(table_of, ahead), *built, *indexes]

    def run(self, dry_run: bool, progress: Progress) -> list[str]:
        """Do it step by step; each is there already after a conversion that failed."""
        belongings = Belongings.read(self._db)
        indexes = f"{len(self._indexes())} indexes"
        goes_over = ", ".join([indexes, *belongings.names()])
        day, key = self._bound.start.date(), self._key
        steps: list[tuple[str, Callable[[], object]]] = [
            (f"Build the key ({', '.join(key.columns)}), beside writers.", self._build),
            (f"Check that all entries are older than {day}.", self._check),
            (
                f"Make {TRAIL} a partitioned table, and what is there its partition "
                f"{self._piece}; {goes_over} go over.",
                lambda: attempt(self._db, BRIEFLY, self._swap),
            ),
            (
                f"Add the partitions of the next {MONTHS_AHEAD} months.",
                self._add_months,
            ),
        ]
        if not dry_run:
            try:
                with refusing(f"{TRAIL} was not converted"):
                    for done, (_, step) in enumerate(steps):
                        progress(done, len(steps))
                        step()
                    progress(len(steps), len(steps))
            except BaseException as error:
                left = self._tidy()
                if left:
                    error.add_note(left)
                raise
        return [text for text, _ in steps]

    def _build(self) -> None:
        drop_indexes(self._db, but=self._key.name)
        if not present.has_index(self._db, self._key):
            build(self._db, self._key)

    def _check(self) -> None:
        table, name = quoted(TRAIL), quoted(UNFINISHED)
        bound = literal(self._bound.start.isoformat())
        add = (
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT"
            f" {name} CHECK (created_at < TIMESTAMPTZ {bound}) NOT VALID"
        )
        attempt(self._db, BRIEFLY, lambda: run(self._db, add))
        check = f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"
        attempt(self._db, PATIENTLY, lambda: run(self._db, check))

    def _swap(self) -> None:
        db, table, piece = self._db, quoted(TRAIL), quoted(self._piece)
        lock_for_swap(db)
        belongings = Belongings.read(db)
        constraints = constraints_of(db)
        indexes = self._indexes()
        key_name = key_name_of(db, TRAIL)
        belongings.leave(db)
        run(db, f"ALTER TABLE {table} DROP CONSTRAINT {quoted(key_name)}")
        run(db, f"ALTER TABLE {table} RENAME TO {piece}")
        for number, name in enumerate(indexes):
            new = quoted(self._name_of(number, name))
            run(db, f"ALTER INDEX {quoted(name)} RENAME TO {new}")
        key = quoted(self._key.name)
        given = f"ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {key}"
        run(db, f"ALTER TABLE {piece} {given}")
        run(
            db,
            f"CREATE TABLE {table} (LIKE {piece} INCLUDING DEFAULTS INCLUDING GENERATED"
            " INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS)"
            " PARTITION BY RANGE (created_at)",
        )
        constraints[key_name] = f"PRIMARY KEY ({names(self._key.columns)})"
        added = [f"ADD CONSTRAINT {quoted(n)} {sql}" for n, sql in constraints.items()]
        run(db, f"ALTER TABLE {table} {', '.join(added)}")
        for sql in indexes.values():
            if sql is not None:
                run(db, sql)
        bound = literal(self._bound.start.isoformat())
        run(
            db,
            f"ALTER TABLE {table} ATTACH PARTITION {piece}"
            f" FOR VALUES FROM (MINVALUE) TO ({bound})",
        )
        run(db, f"ALTER TABLE {piece} DROP CONSTRAINT {quoted(UNFINISHED)}")
        run(db, f"CREATE TABLE {quoted(DEFAULT)} PARTITION OF {table} DEFAULT")
        belongings.arrive(db)
        run(db, f"ALTER TABLE {quoted(DEFAULT)} OWNER TO {belongings.owner}")

    def _indexes(self) -> dict[str, str | None]:
        """Return the indexes other than the keys, each with what makes it again.

        None is an index that a constraint makes.
        """
        found = rows(
            self._db,
            "SELECT c.relname::text, CASE WHEN u.oid IS NULL THEN"
            " pg_get_indexdef(c.oid) END FROM pg_index i"
            " JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint u"
            " ON u.conindid = c.oid AND u.conrelid = i.indrelid AND u.contype = 'u'"
            f" WHERE i.indrelid = '{TRAIL}'::regclass AND NOT i.indisprimary"
            " AND i.indisvalid ORDER BY 1",
        )
        ahead = leftover_indexes(self._db)
        return {name: sql for name, sql in found if name not in ahead}

    def _name_of(self, number: int, index: str) -> str:
        """Return what an index is called as that of the partition."""
        bare = index.removeprefix("idx_").removeprefix(f"{TRAIL}_")
        name = f"{self._piece}_{bare}_idx"
        is_long = len(name.encode()) > _LONGEST_NAME
        return f"{self._piece}_{number}_idx" if is_long else name

    def _add_months(self) -> None:
        with refusing(f"{TRAIL} is converted, and its next months are missing"):
            attempt(
                self._db, BRIEFLY, lambda: new_months(self._db, MONTHS_AHEAD, False)
            )

    def _tidy(self) -> str:
        """Leave nothing behind of a swap that did not come; say what could not go."""
        if is_partitioned(self._db, TRAIL):
            return ""
        try:
            drop_check(self._db)
            drop_indexes(self._db)
        except (peewee.DatabaseError, MigrationError):
            left = ", ".join(leftovers(self._db))
            return f"{left} stays: convert again, or revert, and it goes."
        return ""


def lock_for_swap(db: peewee.Database) -> None:
    """Keep migrations and everybody else away from the trail until the commit.

    The tables that it refers to come first, as they do for whoever writes. What is made
    until the commit is made in the trail's schema.
    """
    wait_for_runners(db)
    make_beside(db)
    found = rows(
        db,
        "SELECT DISTINCT confrelid::regclass::text FROM pg_constraint"
        f" WHERE conrelid = '{TRAIL}'::regclass AND contype = 'f'",
    )
    for (referred,) in found:
        run(db, f"LOCK TABLE {referred} IN SHARE ROW EXCLUSIVE MODE")
    run(db, f"LOCK TABLE {quoted(TRAIL)} IN ACCESS EXCLUSIVE MODE")


def make_beside(db: peewee.Database) -> None:
    """Make what is made until the commit in the schema of the trail."""
    rows(
        db,
        "SELECT set_config('search_path', quote_ident(nspname) || ', ' ||"
        " current_setting('search_path'), true)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        f" WHERE c.oid = '{TRAIL}'::regclass",
    )


def _bound(db: peewee.Database) -> Month:
    """Return the first month that is not part of what is there.

    Raises:
        MigrationError: An entry is dated more than a year ahead.
    """
    moment = now()
    sql = f"SELECT id, created_at FROM {quoted(TRAIL)} ORDER BY created_at DESC LIMIT 1"
    newest = next(iter(rows(db, sql)), ("", moment))
    last = max(Month.of(moment + _MARGIN), Month.of(newest[1]))
    if last > Month.of(moment).shifted(MONTHS_OF_A_YEAR):
        msg = (
            f"{TRAIL} cannot be converted, and nothing was changed: the entry "
            f"{newest[0]} is of {newest[1]}, so that all new entries would stay in one "
            "partition until then. Correct the created_at of such entries by SQL, and "
            "record that you did."
        )
        raise MigrationError(msg)
    return last.shifted(1)


def constraints_of(db: Any) -> dict[str, str]:
    """Return the CHECKs, foreign keys and unique constraints as they are written."""
    found = rows(
        db,
        "SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE conrelid = '{TRAIL}'::regclass AND contype IN ('c', 'f', 'u')"
        " AND conname <> ? ORDER BY contype, conname",
        (UNFINISHED,),
    )
    return dict(found)


def key_name_of(db: peewee.Database, table: str) -> str:
    """Return the name of a table's primary key."""
    [(name,)] = rows(
        db,
        "SELECT conname::text FROM pg_constraint WHERE contype = 'p'"
        " AND conrelid = to_regclass(quote_ident(?))",
        (table,),
    )
    return str(name)


def refusal(what: str, obstacles: Sequence[str]) -> str:
    """Say what is in the way of something, and what can be done about it."""
    return (
        f"{TRAIL} cannot be {what}, and nothing was changed: there is "
        f"{'; '.join(obstacles)}. What is named alone has to be dropped first, and can "
        "be made again afterwards."
    )
