"""Making the trail one plain table again.

The partition with the most entries becomes the table, and the entries of all others
move into it. Nobody can read or write the trail for as long as that takes.
"""

from typing import NamedTuple

import peewee

from cmcore.engines.catalog import columns, primary_key
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import PARTED_BY, is_partitioned, needed_by, pieces
from cmcore.engines.session import connected
from cmcore.errors import MigrationError
from cmcore.layout import quoted
from cmcore.partitions.belongings import Belongings, in_the_way
from cmcore.partitions.conversion import Progress, key_name_of, lock_for_swap, refusal
from cmcore.partitions.leftovers import (
    PLAIN_KEY_ENDING,
    drop_check,
    drop_indexes,
    leftovers,
)
from cmcore.partitions.pieces import TRAIL, refusing, require_engine, require_trail
from cmcore.schema import present
from cmcore.schema.columns import NewIndex, names
from cmcore.schema.online import build, in_turn
from cmcore.schema.patience import BRIEFLY, attempt

_GONE = "audit_logs_partitioned"
_SHOWN = 3


class _Heir(NamedTuple):
    """The partition that becomes the table, and the key that it gets."""

    piece: str
    key: NewIndex


def revert(
    db: peewee.Database | peewee.Proxy,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Undo `convert`: one table, the primary key (id), everything else as it was.

    The key is built beside writers; then the trail is locked while the entries of all
    partitions but the largest move, in one transaction.

    Args:
        db: The database; connected for the length of the call if it is not.
        dry_run: Only tell; nothing is changed.
        progress: Is called with the steps that are done, and how many there are.

    Returns:
        What was done, or would be, in sentences. Of a plain table only what a
        conversion left that was interrupted goes.

    Raises:
        ConfigurationError: The engine has no partitions.
        PendingMigrationsError: There is no trail.
        MigrationError: Something is in the way, or locked; the text names it. Nothing
            was changed.
    """
    with connected(db, "Partitions") as database:
        require_engine(database)
        require_trail(database)
        with in_turn(database):
            if not is_partitioned(database, TRAIL):
                return _tidied(database, dry_run)
            return _revert(database, dry_run, progress or (lambda *_: None))


def _tidied(db: peewee.Database, dry_run: bool) -> list[str]:
    """Drop what an interrupted conversion left on a plain table."""
    left = leftovers(db)
    if left and not dry_run:
        with refusing("The rest of a conversion stays"):
            drop_check(db)
            drop_indexes(db)
    return [f"Drop {name}, which an interrupted conversion left." for name in left]


def _revert(db: peewee.Database, dry_run: bool, progress: Progress) -> list[str]:
    _refuse(db)
    counts = {
        piece.name: int(rows(db, f"SELECT count(*) FROM {quoted(piece.name)}")[0][0])
        for piece in pieces(db, TRAIL)
    }
    piece = max(counts, key=lambda name: counts[name])
    key = tuple(name for name in primary_key(db, TRAIL) if name != PARTED_BY)
    heir = _Heir(piece, NewIndex(f"{piece}{PLAIN_KEY_ENDING}", piece, key, True, None))
    moving = sum(counts.values()) - counts[piece]
    told = [
        f"Build the key ({', '.join(key)}) on {piece}, beside writers.",
        f"Make {piece} the table {TRAIL}, and move {moving} entries of"
        f" {len(counts) - 1} other partitions into it; nobody can use it meanwhile.",
    ]
    if dry_run:
        return told
    try:
        with refusing(f"{TRAIL} is partitioned as before"):
            progress(0, len(told))
            drop_indexes(db, but=heir.key.name)
            if not present.has_index(db, heir.key):
                build(db, heir.key)
            progress(1, len(told))
            attempt(db, BRIEFLY, lambda: _swap_back(db, heir))
            progress(len(told), len(told))
    except BaseException as error:
        if is_partitioned(db, TRAIL):
            try:
                drop_indexes(db)
            except peewee.DatabaseError:
                error.add_note(f"The index {heir.key.name} stays: revert again.")
        raise
    return told


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


def _swap_back(db: peewee.Database, heir: _Heir) -> None:
    table, piece, gone = quoted(TRAIL), quoted(heir.piece), quoted(_GONE)
    lock_for_swap(db)
    belongings = Belongings.read(db)
    others = [each.name for each in pieces(db, TRAIL) if each.name != heir.piece]
    key_name, old_key = key_name_of(db, TRAIL), key_name_of(db, heir.piece)
    index_names = _index_names(db, heir.piece)
    own = names(c.name for c in columns(db, TRAIL) if not c.is_generated)
    belongings.leave(db)
    run(db, f"ALTER TABLE {table} DETACH PARTITION {piece}")
    for name in others:
        run(db, f"INSERT INTO {piece} ({own}) SELECT {own} FROM {quoted(name)}")
    run(db, f"ALTER TABLE {table} RENAME TO {gone}")
    run(db, f"ALTER TABLE {piece} RENAME TO {table}")
    key = quoted(heir.key.name)
    run(
        db,
        f"ALTER TABLE {table} DROP CONSTRAINT {quoted(old_key)},"
        f" ADD CONSTRAINT {key} PRIMARY KEY USING INDEX {key}",
    )
    belongings.arrive(db)
    run(db, f"DROP TABLE {gone}")
    run(db, f"ALTER INDEX {key} RENAME TO {quoted(key_name)}")
    for here, there in index_names.items():
        run(db, f"ALTER INDEX {quoted(here)} RENAME TO {quoted(there)}")


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
