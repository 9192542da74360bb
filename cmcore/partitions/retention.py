"""Taking old months out of the trail, into files, with nothing lost in between.

An entry goes only after its line has been read again from a file that is whole. What
has been done is seen in the database and in the folder alone, so whoever was killed is
followed by a run that goes on from there.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import peewee

from cmcore.engines.lines import Line, Lines
from cmcore.engines.session import connected, turn
from cmcore.errors import ArchiveError, ConfigurationError
from cmcore.models.schema_state import require_schema
from cmcore.partitions import pieces
from cmcore.partitions.archives import Archive, unwritable
from cmcore.partitions.entries import Held, entries_of
from cmcore.partitions.files import alone_in, make_folder
from cmcore.partitions.holds import reason_to_keep
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL

logger = logging.getLogger("cmcore.partitions")

BATCH = 1000
MONTHS_ONLINE = 13
TURN = int.from_bytes(b"cmarchiv")

Progress = Callable[[int, int], Any]


class ArchivedMonth(NamedTuple):
    """A month that is out of the trail.

    Attributes:
        month: Which one, as 2026_03.
        rows: How many entries left the trail.
        file: The last file that was written for it. Entries that were in a file before
            are not written again.
    """

    month: str
    rows: int
    file: Path


class HeldMonth(NamedTuple):
    """A month that is old enough to go, and stays.

    Attributes:
        month: Which one, as 2026_03.
        reason: What still needs it.
    """

    month: str
    reason: str


class RetentionReport(NamedTuple):
    """What `retain` has done, or would do.

    Attributes:
        months: What left the trail, the oldest month first.
        held: What has to stay for now.
    """

    months: list[ArchivedMonth]
    held: list[HeldMonth]

    @property
    def rows(self) -> int:
        """How many entries left the trail."""
        return sum(month.rows for month in self.months)


def retain(
    db: peewee.Database | peewee.Proxy,
    months: int = MONTHS_ONLINE,
    archive: Path | str | None = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RetentionReport:
    """Take old months out of the trail, each into a file that is verified before.

    The current month (in UTC) and the `months - 1` before it stay. An entry belongs to
    the month of its `created_at`, and soft-deleted ones go to the file as well. Readers
    and writers go on. Killed at any point, the next run goes on from there. No archive
    is ever deleted or overwritten: entries of a month that has one already, and that
    are not in it as they are now, go to a further file. What a run does is logged to
    `cmcore.partitions`, and is no entry of the trail.

    Args:
        db: The database; connected for the length of the call if it is not.
        months: How many months stay, 1 or more.
        archive: The folder for the files, which is made if need be.
        dry_run: Only tell what would be done; neither the database nor the folder is
            changed. Takes about as long.
        progress: Called with the number of entries done and of all. One that is in a
            file counts half.

    Raises:
        ConfigurationError: No archive, or less than one month.
        MigrationError: A transaction is open, or others kept a table locked.
        PendingMigrationsError: The database has no trail, or an older one.
        ArchiveError: A file is not what its manifest says or cannot be written, or
            another run is at work. What is in no file is still in the trail.
        StillReferencedError: Rows of the application refer to an entry.
    """
    if archive is None:
        msg = "archive is missing: name the folder that old months go to."
        raise ConfigurationError(msg)
    if type(months) is not int or months < 1:
        msg = f"months is {months!r}: how many months stay in the trail, 1 or more?"
        raise ConfigurationError(msg)
    with connected(db, "Archives") as database:
        require_schema(database, TRAIL)
        cutoff = max(Month.of(_now()).shifted(1 - months), Month(1, 1))
        run = _Retention(database, Path(archive), cutoff, dry_run, progress)
        with contextlib.nullcontext() if dry_run else at_work(database):
            return run.work()


@contextlib.contextmanager
def at_work(db: peewee.Database) -> Iterator[None]:
    """Let one process at a time move entries between a database and its archives.

    Raises:
        ArchiveError: Another one is at work.
    """
    with turn(db, _TURN) as is_ours:
        if not is_ours:
            raise ArchiveError(_AT_WORK)
        yield


class _Retention:
    """One run, or its rehearsal."""

    def __init__(
        self,
        db: peewee.Database,
        folder: Path,
        cutoff: Month,
        is_rehearsal: bool,
        progress: Progress | None,
    ) -> None:
        self._db = db
        self._folder = folder
        self._cutoff = cutoff
        self._is_rehearsal = is_rehearsal
        self._progress = progress

    def work(self) -> RetentionReport:
        """Take out the months that are due, the oldest first."""
        due = self._due()
        reasons = {month: reason_to_keep(self._db, month) for month in due}
        held = [HeldMonth(str(m), why) for m, why in reasons.items() if why is not None]
        going = {month: due[month] for month in due if reasons[month] is None}
        meter = _Meter(sum(going.values()), self._progress)
        with self._alone_in_folder() if going else contextlib.nullcontext():
            done = [self._retire(month, meter) for month in going]
        if not self._is_rehearsal:
            drop_empty(self._db, self._cutoff)
        return RetentionReport([month for month in done if month.rows], held)
