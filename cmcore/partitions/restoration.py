"""Putting an archived month back into the trail, to read it there again."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import peewee

from cmcore.engines.failures import first_line
from cmcore.engines.introspection import rows
from cmcore.engines.lines import Lines
from cmcore.engines.partitioning import is_partitioned
from cmcore.engines.session import connected
from cmcore.errors import ArchiveError
from cmcore.layout import quoted
from cmcore.models.schema_state import require_schema
from cmcore.partitions.archives import ENDING, lines_in, verified
from cmcore.partitions.detached import detached_months
from cmcore.partitions.entries import BATCH, entries_of
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL, add_month
from cmcore.partitions.turns import alone_with

_LONGEST = 16_000_000
_SHOWN = 3
_KEYS = 500

logger = logging.getLogger("cmcore.partitions")


def restore(db: peewee.Database | peewee.Proxy, archive_file: Path | str) -> int:
    """Put the entries of a file back into the trail; all of them, or none.

    An entry whose id is in the trail already is left as it is there. A reference to a
    user who is gone becomes NULL, as it would have when that user went, and is logged
    as a warning. The file stays, and the next `retain` takes the month out again
    without writing anew what is as it is in the file.

    Args:
        db: The database; connected for the length of the call if it is not. It may be
            on the other engine than the one the file is from.
        archive_file: The .jsonl.gz file, with its manifest beside it.

    Returns:
        How many entries were put back; 0 if all of them are there.

    Raises:
        ArchiveError: The file is not what its manifest says or has none, or the trail
            has no place for its entries. Nothing was changed.
        MigrationError: A transaction is open, or others kept a table locked.
        PendingMigrationsError: The database has no trail, or an older one.
    """
    path = Path(archive_file)
    if not path.name.endswith(ENDING):
        msg = f"{path} is no archive. Name the {ENDING} file; its manifest is found."
        raise ArchiveError(msg)
    with connected(db, "Archives") as database:
        require_schema(database, TRAIL)
        manifest, names = verified(path)
        lines = entries_of(database)
        unknown = names - {column.name for column in lines.columns}
        if unknown:
            msg = (
                f"{TRAIL} has no column {', '.join(sorted(unknown))}, and entries of "
                f"{path} have. Add it first; nothing was changed."
            )
            raise ArchiveError(msg)
        with alone_with(database):
            _make_room(database, manifest.month)
            count = _insert(lines, path, names)
        gone = _missing(lines, path) if count else []
    if gone:
        logger.warning(
            "%s names users who are no longer here, and whose references are NULL in "
            "the trail therefore; the file keeps them: %s",
            path,
            ", ".join(gone[:_SHOWN]) + ", …" * (len(gone) > _SHOWN),
        )
    logger.info("%s: %s entries are back in the trail", path, count)
    return count


def _make_room(db: peewee.Database, month: Month) -> None:
    """See to it that a partitioned trail has a place for the month."""
    if month in detached_months(db):
        msg = (
            f"A retention that was killed has left entries of {month} outside the "
            "trail. Run `cmcore partition retain`, which finishes it, and then restore."
        )
        raise ArchiveError(msg)
    if is_partitioned(db, TRAIL):
        add_month(db, month)


def _missing(lines: Lines, path: Path) -> list[str]:
    """Return what the entries of a file refer to and is not there any more."""
    named: dict[tuple[str, str], set[str]] = {}
    if lines.references:
        for line in lines_in(path):
            entry = json.loads(line)
            for column, reference in lines.references.items():
                if entry.get(column) is not None:
                    named.setdefault(reference, set()).add(entry[column])
    gone: set[str] = set()
    for (table, column), keys in named.items():
        for some in peewee.chunked(sorted(keys), _KEYS):
            marks = ", ".join("?" * len(some))
            sql = f"SELECT {quoted(column)} FROM {quoted(table)}"
            found = rows(lines.db, f"{sql} WHERE {quoted(column)} IN ({marks})", some)
            gone |= set(some) - {key for (key,) in found}
    return sorted(gone)


def _batches(path: Path) -> Iterator[list[str]]:
    """Yield the lines of a file, as many at a time as a statement may well take."""
    batch: list[str] = []
    size = 0
    for line in lines_in(path):
        batch.append(line)
        size += len(line)
        if len(batch) == BATCH or size > _LONGEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(lines: Lines, path: Path, names: set[str]) -> int:
    try:
        with lines.db.transaction(*lines.begin):
            return sum(lines.insert(batch, names) for batch in _batches(path))
    except (peewee.IntegrityError, peewee.DataError, ValueError) as error:
        msg = (
            f"{TRAIL} does not take the entries of {path}: {first_line(error)}. "
            "Nothing was changed."
        )
        raise ArchiveError(msg) from error
