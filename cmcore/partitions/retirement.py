"""One month leaves the trail, or rehearses to.

An entry goes only after its line has been read again from a file that is whole, and
what is next is read from the database each time. So a run that was killed is followed
by one that goes on from there, and an entry that is written or changed meanwhile goes
to a further file.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import peewee

from cmcore.engines.failures import first_line, is_refusal, read_failure
from cmcore.engines.lines import Line, Lines
from cmcore.errors import ArchiveError, DatabaseLockedError, StillReferencedError
from cmcore.partitions.archives import Archive
from cmcore.partitions.detached import detached_months, drop, has_piece, table_of
from cmcore.partitions.entries import BATCH, Held, entries_of
from cmcore.partitions.pieces import TRAIL, detach

logger = logging.getLogger("cmcore.partitions")

Progress = Callable[[int, int], Any]

_PASSES = 20


class Meter:
    """Tells how far a run is; an entry that is in a file, and not gone, counts half."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        """Take the number of all entries, and whom to tell."""
        self._total = total
        self._progress = progress
        self._before = 0
        self._rows = 0
        self._halves = 0
        self._tell()

    def begin(self, rows: int) -> None:
        """Begin a month, which is done when the next one begins, or nothing follows."""
        self._before += self._rows
        self._rows, self._halves = rows, 0
        self._tell()

    def add(self, halves: int) -> None:
        """Count entries that were passed once."""
        self._halves += halves
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None and self._total:
            within = min(self._halves // 2, self._rows)
            self._progress(self._before + within, self._total)


class Retirement:
    """The way of one month from the trail to its archive."""

    def __init__(self, db: peewee.Database, archive: Archive, meter: Meter) -> None:
        """Take the archive of the month; nothing happens yet."""
        self._db = db
        self._archive = archive
        self._month = archive.month
        self._meter = meter

    def rehearse(self) -> int:
        """Do all but keep and remove; return how many entries would go."""
        is_detached = self._month in detached_months(self._db)
        tables = [table_of(self._month)] if is_detached else []
        tables.append(TRAIL)
        return sum(self._export(entries_of(self._db, t), halves=2) for t in tables)

    def carry_out(self) -> int:
        """Take the month out; return how many entries went.

        Entries that come to the month again and again meanwhile stay for the next run.

        Raises:
            ArchiveError: Entries change each time before they can go, and none went.
        """
        gone = self._drop() if self._month in detached_months(self._db) else 0
        lines = entries_of(self._db)
        for _ in range(_PASSES):
            if not self._next(lines, None, 1):
                return gone
            self._export(lines)
            if has_piece(self._db, self._month):
                with _refusals():
                    detach(self._db, table_of(self._month))
                gone += self._drop()
            else:
                gone += self._remove(lines)
        if gone:
            logger.warning("%s is still written to; the rest stays", self._month)
            return gone
        msg = (
            f"Entries of {self._month} were written or changed each time when they "
            "were in a file already. Find out what writes to so old a month, and run "
            "again."
        )
        raise ArchiveError(msg)

    def _drop(self) -> int:
        """Drop the table of a detached month, and return how many entries it had."""
        gone = self._export(entries_of(self._db, table_of(self._month)))
        with _refusals():
            drop(self._db, self._month)
        return gone

    def _export(self, lines: Lines, halves: int = 1) -> int:
        """Write what no file has, and return how many entries there are."""
        count = 0

        def missing() -> Iterator[str]:
            nonlocal count
            held = Held(self._archive.entries())
            after = None
            while batch := self._next(lines, after):
                after = batch[-1]
                count += len(batch)
                self._meter.add(halves * len(batch))
                yield from (t for t in map(_text_of, batch) if not held.holds(t))

        self._archive.add(missing())
        return count

    def _remove(self, lines: Lines) -> int:
        """Remove what the files have, and return how many entries went."""
        held = Held(self._archive.entries())
        gone = 0
        after = None
        while True:
            with _refusals(), self._db.transaction(*lines.begin):
                batch = self._next(lines, after, is_locked=True)
                going = [line for line in batch if held.holds(_text_of(line))]
                if going and lines.remove(going) != len(going):
                    raise ArchiveError(_STAYED)
            if not batch:
                return gone
            after = batch[-1]
            gone += len(going)
            self._meter.add(len(going))

    def _next(
        self,
        lines: Lines,
        after: Line | None,
        size: int = BATCH,
        *,
        is_locked: bool = False,
    ) -> list[Line]:
        start, end = self._month.start, self._month.end
        return lines.batch(start, end, after, size, is_locked=is_locked)


_STAYED = (
    f"Entries of {TRAIL} stay though they were deleted; is there a trigger? They are "
    "in the archive, and still in the trail. Drop the trigger, and run again."
)
_REFUSED = (
    f"The database does not let entries of {TRAIL} go: {{}}. They are in the archive, "
    "and still in the trail. Drop what guards them, a trigger most likely, and run "
    "again; it can be made again afterwards."
)


def _text_of(line: Line) -> str:
    if line.text is None:
        msg = (
            f"The entry {line.id} of {line.created_at} has a text that is no JSON, or "
            "is nested too deeply, in old_values, new_values or extra_data, and is "
            "in no file therefore. Correct it, and run again."
        )
        raise ArchiveError(msg)
    return line.text


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Raise cmcore's error where the database does not let entries go."""
    try:
        yield
    except peewee.DatabaseError as error:
        failure = read_failure(error)
        kind = failure and failure.kind
        if kind == "locked":
            raise DatabaseLockedError(TRAIL) from error
        if failure and kind in {"referenced", "reference"}:
            raise StillReferencedError(
                table=TRAIL,
                constraint=failure.constraint,
                detail=f"{first_line(error)}.",
            ) from error
        if not is_refusal(error):
            raise
        raise ArchiveError(_REFUSED.format(first_line(error))) from error
