"""Making the trail one plain table again.

Where few entries have to move, the partition with the most of them becomes the table,
and the others move into it, while nobody can read or write the trail. Else all of them
are copied beside readers and writers.
"""

import contextlib
from collections.abc import Callable, Mapping

import peewee

from cmcore.engines.catalog import columns, primary_key
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import PARTED_BY, is_partitioned, needed_by, pieces
from cmcore.engines.session import connected
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.partitions.belongings import in_the_way
from cmcore.partitions.conversion import Progress, key_name_of, lock_for_swap, refusal
from cmcore.partitions.leftovers import (
    PLAIN_KEY_ENDING,
    drop_copy,
    drop_indexes,
    leftover_copy,
    leftovers,
    tidied,
)
from cmcore.partitions.pieces import TRAIL, refusing, require_engine, require_trail
from cmcore.partitions.shadow import Shadow, check_references
from cmcore.partitions.succession import succeed
from cmcore.partitions.turns import alone_with
from cmcore.schema import present
from cmcore.schema.columns import NewIndex, names
from cmcore.schema.online import build, in_turn
from cmcore.schema.patience import BRIEFLY, attempt

# How many entries may move while others wait, which takes half a second at worst.
_FEW = 5_000
_SHOWN = 3


def revert(
    db: peewee.Database | peewee.Proxy,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Undo `convert`: one table, the primary key (id), everything else as it was.

    If nearly all entries are in one partition, it becomes the table. Else all of them
    are copied into a new one, for which the disk needs room. Others read and write
    meanwhile, and wait for the swap only. A killed reversion leaves a trail that works;
    the next one tidies up and begins anew, and so does `convert` to keep partitions.

    Args:
        db: The database; connected for the length of the call if it is not.
        dry_run: Only tell; nothing is changed.
        progress: Is called with the steps that are done, and how many there are.

    Returns:
        What was done, or would be, in sentences. Of a plain table only what a
        conversion or a reversion left that was interrupted goes.

    Raises:
        ConfigurationError: The engine has no partitions.
        PendingMigrationsError: There is no trail.
        ArchiveError: Entries are being taken out or put back. Nothing was changed.
        MigrationError: Something is in the way, or locked, or somebody changed the
            trail meanwhile; the text names it. Nothing was changed, unless it says
            that foreign keys are not checked.
    """
    with connected(db, "Partitions") as database:
        require_engine(database)
        require_trail(database)
        with in_turn(database):
            if not is_partitioned(database, TRAIL):
                return _finished(database, dry_run)
            return _revert(database, dry_run, progress or (lambda *_: None))


def _finished(db: peewee.Database, dry_run: bool) -> list[str]:
    """Do on a plain table what an interrupted run has left to do."""
    if not leftover_copy(db):
        return tidied(db, dry_run=dry_run)
    if not dry_run:
        check_references(db)
    return [f"Check the foreign keys of {TRAIL}, which an interrupted run has not."]


def _revert(db: peewee.Database, dry_run: bool, progress: Progress) -> list[str]:
    _refuse(db)
    counts = {
        piece.name: int(rows(db, f"SELECT count(*) FROM {quoted(piece.name)}")[0][0])
        for piece in pieces(db, TRAIL)
    }
    key = tuple(name for name in primary_key(db, TRAIL) if name != PARTED_BY)
    moving = sum(counts.values()) - max(counts.values())
    way = _Heir(db, counts, key) if moving <= _FEW else Shadow(db, counts, key)
    if dry_run:
        return way.told
    try:
        with refusing(f"{TRAIL} is partitioned as before"), alone_with(db):
            _take(way.steps(), db, progress)
    except BaseException as error:
        left = _tidy(db)
        if left:
            error.add_note(left)
        raise
    return way.told


def _take(
    steps: list[Callable[[], object]], db: peewee.Database, progress: Progress
) -> None:
    """Do one step after the other; name ids that have come twice meanwhile."""
    try:
        for done, step in enumerate(steps):
            progress(done, len(steps))
            step()
    except peewee.IntegrityError:
        _refuse(db)
        raise
    progress(len(steps), len(steps))


def _tidy(db: peewee.Database) -> str:
    """Leave nothing behind of a swap that did not come; say what could not go."""
    refusals = (peewee.PeeweeException, MigrationError)
    left = ["What was made ahead"]
    with contextlib.suppress(*refusals):
        if is_partitioned(db, TRAIL):
            with contextlib.suppress(*refusals):
                drop_copy(db)
                drop_indexes(db)
        left = leftovers(db)
    return f"{', '.join(left)} stays: revert again." if left else ""


def _refuse(db: peewee.Database) -> None:
    """Refuse what cannot go over, and ids that are there twice."""
    obstacles = in_the_way(db, "")
    for piece in pieces(db, TRAIL):
        obstacles += [f"{name}, on {piece.name}" for name in needed_by(db, piece.name)]
    twice = rows(
        db,
        f"SELECT id FROM {quoted(TRAIL)} GROUP BY id HAVING count(*) > 1"
        f" ORDER BY 1 LIMIT {_SHOWN}",
    )
    if twice:
        obstacles.append(f"more than one entry of id {', '.join(i for (i,) in twice)}")
    if obstacles:
        raise MigrationError(refusal("made one table", obstacles))


class _Heir:
    """The partition that becomes the table; all others move into it."""

    def __init__(
        self, db: peewee.Database, counts: Mapping[str, int], key: tuple[str, ...]
    ) -> None:
        """Choose the one with the most entries; nothing happens yet."""
        self._db = db
        self._piece = max(counts, key=lambda name: counts[name])
        name = f"{self._piece}{PLAIN_KEY_ENDING}"
        self._key = NewIndex(name, self._piece, key, True, None)
        moving = sum(counts.values()) - counts[self._piece]
        self.told = [
            f"Build the key ({', '.join(key)}) on {self._piece}, beside writers.",
            f"Make {self._piece} the table {TRAIL}, and move {moving} entries of"
            f" {len(counts) - 1} other partitions into it; nobody can use it then.",
        ]

    def steps(self) -> list[Callable[[], object]]:
        """Return what is to be done, in its order."""
        return [self._build, lambda: attempt(self._db, BRIEFLY, self._swap)]

    def _build(self) -> None:
        drop_copy(self._db)
        drop_indexes(self._db, but=self._key.name)
        if not present.has_index(self._db, self._key):
            build(self._db, self._key)

    def _swap(self) -> None:
        db, piece, key = self._db, quoted(self._piece), quoted(self._key.name)
        lock_for_swap(db)
        others = [each.name for each in pieces(db, TRAIL) if each.name != self._piece]
        old_key, indexes = key_name_of(db, self._piece), _index_names(db, self._piece)
        own = names(c.name for c in columns(db, TRAIL) if not c.is_generated)
        run(db, f"ALTER TABLE {quoted(TRAIL)} DETACH PARTITION {piece}")
        for name in others:
            run(db, f"INSERT INTO {piece} ({own}) SELECT {own} FROM {quoted(name)}")
        run(
            db,
            f"ALTER TABLE {piece} DROP CONSTRAINT {quoted(old_key)},"
            f" ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {key}",
        )
        succeed(db, self._piece, self._key.name, indexes)


def _index_names(db: peewee.Database, piece: str) -> dict[str, str]:
    """Return the names of a partition's indexes, each with that of the whole table."""
    found = rows(
        db,
        "SELECT own.relname::text, whole.relname::text FROM pg_inherits h"
        " JOIN pg_class own ON own.oid = h.inhrelid"
        " JOIN pg_class whole ON whole.oid = h.inhparent"
        " JOIN pg_index i ON i.indexrelid = own.oid"
        " WHERE i.indrelid = to_regclass(quote_ident(?)) AND NOT i.indisprimary",
        (piece,),
    )
    return dict(found)
