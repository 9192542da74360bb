"""Taking old months out of the trail, into files."""

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import peewee

from cmcore.engines.session import connected
from cmcore.errors import ConfigurationError, StillReferencedError
from cmcore.models.schema_state import require_schema
from cmcore.partitions.archives import Archive, unwritable
from cmcore.partitions.detached import detached_months, drop_empty
from cmcore.partitions.entries import entries_of
from cmcore.partitions.files import make_folder
from cmcore.partitions.holds import reason_to_keep
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import TRAIL
from cmcore.partitions.retirement import Meter, Progress, Retirement
from cmcore.partitions.turns import alone_with, alone_with_files

logger = logging.getLogger("cmcore.partitions")

MONTHS_ONLINE = 13


class ArchivedMonth(NamedTuple):
    """A month that is out of the trail.

    Attributes:
        month: Which one, as 2026_03.
        rows: How many entries left the trail.
        file: The last file of the month, which may have fewer entries: those that
            were in a file before are not written again.
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
    """
    if archive is None or not str(archive):
        msg = "archive is missing: name the folder that old months go to."
        raise ConfigurationError(msg)
    if type(months) is not int or months < 1:
        msg = f"months is {months!r}: how many months stay in the trail, 1 or more?"
        raise ConfigurationError(msg)
    with connected(db, "Archives") as database:
        require_schema(database, TRAIL)
        run = _Retention(database, Path(archive), months, is_rehearsal=dry_run)
        with contextlib.nullcontext() if dry_run else alone_with(database):
            return run.report(progress)


class _Retention:
    """One run, or its rehearsal."""

    def __init__(
        self, db: peewee.Database, folder: Path, months: int, *, is_rehearsal: bool
    ) -> None:
        self._db = db
        self._folder = folder
        self._this = Month.of(datetime.now(UTC))
        self._cutoff = max(self._this.shifted(1 - months), Month(1, 1))
        self._is_rehearsal = is_rehearsal

    def report(self, progress: Progress | None) -> RetentionReport:
        """Take out the months that are due, the oldest first, and tell which."""
        due = self._due()
        reasons = {month: reason_to_keep(self._db, month) for month in due}
        held = [HeldMonth(str(m), why) for m, why in reasons.items() if why is not None]
        going = {month: due[month] for month in due if reasons[month] is None}
        done = []
        with self._alone() if going else contextlib.nullcontext():
            meter = Meter(sum(going.values()), progress)
            for month, rows in going.items():
                meter.begin(rows)
                try:
                    done.append(self._retired(month, meter))
                except StillReferencedError as error:
                    held.append(HeldMonth(str(month), str(error)))
                except Exception as error:
                    gone = ", ".join(each.month for each in done if each)
                    if gone:
                        error.add_note(f"Months that were taken out before: {gone}.")
                    raise
            meter.begin(0)
        if not self._is_rehearsal:
            for name in drop_empty(self._db, self._cutoff):
                logger.info("%s was empty, and is dropped", name)
        return RetentionReport([month for month in done if month is not None], held)

    def _due(self) -> dict[Month, int]:
        """Return how many entries are old enough, by month, the oldest month first.

        What a killed run has detached is due however many months this one keeps:
        nobody can read it in the trail any more.
        """
        detached = detached_months(self._db)
        due = {month: rows for month, rows in detached.items() if month < self._this}
        for _, name, count in entries_of(self._db).months(self._cutoff.start):
            month = Month.named(name)
            if month is not None:
                due[month] = due.get(month, 0) + count
        return dict(sorted(due.items()))

    def _retired(self, month: Month, meter: Meter) -> ArchivedMonth | None:
        """Take a month out; None if somebody else has done it meanwhile."""
        archive = Archive(self._folder, month, is_rehearsal=self._is_rehearsal)
        retirement = Retirement(self._db, archive, meter)
        retire = retirement.rehearse if self._is_rehearsal else retirement.carry_out
        rows = retire()
        file = archive.newest
        if file is None or not rows:
            return None
        if not self._is_rehearsal:
            logger.info("%s: %s entries are in %s, and gone", month, rows, file)
        return ArchivedMonth(str(month), rows, file)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others out of the folder, which is there then; a rehearsal does not."""
        with contextlib.ExitStack() as block:
            if not self._is_rehearsal:
                try:
                    make_folder(self._folder)
                    block.enter_context(alone_with_files(self._folder))
                except OSError as error:
                    raise unwritable(self._folder, error) from error
            yield
