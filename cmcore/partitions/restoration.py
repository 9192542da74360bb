"""Putting an archived month back into the trail, to read it there again."""

import functools
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path

import peewee

from cmcore.engines.failures import first_line, is_refusal
from cmcore.engines.introspection import rows
from cmcore.engines.lines import Lines
from cmcore.engines.partitioning import is_partitioned
from cmcore.engines.session import connected
from cmcore.errors import ArchiveError
from cmcore.layout import quoted
from cmcore.models.schema_state import require_schema
from cmcore.partitions.archives import Archive, newest, verified
from cmcore.partitions.detached import detached_months
from cmcore.partitions.entries import BATCH, Held, entries_of, has_come_back, read
from cmcore.partitions.manifests import ENDING, Manifest
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL, add_month
from cmcore.partitions.turns import alone_with

Parts = Mapping[Path, set[str]]
"""A file and the later parts of its month, each with the columns that it tells."""

_LONGEST = 16_000_000
_SHOWN = 3
_KEYS = 500

logger = logging.getLogger("cmcore.partitions")


def restore(db: peewee.Database | peewee.Proxy, archive_file: Path | str) -> int:
    """Put the entries of a file back into the trail; all of them, or none.

    An entry that a later part beside the file has as well comes back as it is there,
    whichever is restored first. One that is in the trail already is left as it is, and
    logged as a warning if it is not the same. A reference to a user who is gone becomes
    NULL, as it would have when that user went, which is a warning as well. The file
    stays, and the next `retain` takes the month out again without writing anew what is
    as it is in the file.

    Args:
        db: The database; connected for the length of the call if it is not. It may be
            on the other engine than the one the file is from.
        archive_file: The .jsonl.gz file, with its manifest beside it.

    Returns:
        How many entries were put back; 0 if all of them are there.

    Raises:
        ArchiveError: The file or a later part is not what its manifest says or has
            none, or the trail has no place for its entries. Nothing was changed.
        MigrationError: A transaction is open, others kept a table locked, or something
            else has the name of a partition that is missing.
        PendingMigrationsError: The database has no trail, or an older one.
    """
    path = Path(archive_file)
    if not path.name.endswith(ENDING):
        msg = f"{path} is no archive. Name the {ENDING} file; its manifest is found."
        raise ArchiveError(msg)
    with connected(db, "Archives") as database:
        require_schema(database, TRAIL)
        manifest, names = verified(path)
        archive = Archive(path.parent, manifest.month, is_rehearsal=True)
        later = archive.since(path)[1:]
        columns = {path: names, **{part: verified(part)[1] for part in later}}
        lines = entries_of(database)
        unknown = set().union(*columns.values()) - {c.name for c in lines.columns}
        if unknown:
            msg = (
                f"{TRAIL} has no column {', '.join(sorted(unknown))}, and entries of "
                f"{path} have. Add it first; nothing was changed."
            )
            raise ArchiveError(msg)
        with alone_with(database):
            _make_room(database, manifest.month)
            count = _insert(lines, columns)
            others = _others(lines, columns, manifest) if count < manifest.rows else []
        gone = _missing(lines, columns) if count else []
    if others:
        logger.warning(
            "%s of the entries of %s are in the trail with other content, and stay as "
            "they are there: %s",
            len(others),
            path,
            _some(others),
        )
    if gone:
        logger.warning(
            "%s names users who are no longer here, and whose references are NULL in "
            "the trail therefore; the file keeps them: %s",
            path,
            _some(gone),
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


def _others(lines: Lines, parts: Parts, manifest: Manifest) -> list[str]:
    """Return the ids of entries that are not in the trail as they are in the files."""
    trail = Held(
        _trail(lines, manifest.month),
        functools.partial(has_come_back, references=lines.references),
    )
    return [read(line)["id"] for _, line in _told(parts) if not trail.holds(line)]


def _trail(lines: Lines, month: Month) -> Iterator[str]:
    """Yield the lines of the entries of a month that are in the trail."""
    after = None
    while batch := lines.batch(month.start, month.end, after, BATCH):
        after = batch[-1]
        yield from (line.text for line in batch if line.text is not None)


def _told(parts: Parts) -> Iterator[tuple[Path, str]]:
    """Yield the lines of the first part in their newest versions, with their parts."""
    return newest(list(parts), of_first=True)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)


def _missing(lines: Lines, parts: Parts) -> list[str]:
    """Return what the entries of a file refer to and is not there any more."""
    named: dict[tuple[str, str], set[str]] = {}
    if lines.references:
        for _, line in _told(parts):
            entry = read(line)
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


def _batches(lines: Iterable[tuple[Path, str]]) -> Iterator[list[str]]:
    """Yield lines of one part, as many at a time as a statement may well take."""
    batch: list[str] = []
    size = 0
    for _, line in lines:
        batch.append(line)
        size += len(line)
        if len(batch) == BATCH or size > _LONGEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(lines: Lines, parts: Parts) -> int:
    try:
        with lines.db.transaction(*lines.begin):
            return sum(
                lines.insert(batch, parts[part])
                for part, some in itertools.groupby(_told(parts), itemgetter(0))
                for batch in _batches(some)
            )
    except (peewee.DatabaseError, ValueError) as error:
        if not is_refusal(error):
            raise
        msg = (
            f"{TRAIL} does not take the entries of {next(iter(parts))}: "
            f"{first_line(error)}. "
            "Nothing was changed."
        )
        raise ArchiveError(msg) from error
