"""Archives: a month of the trail in files, which cmcore writes and never removes.

A part of a month is `audit_logs_2026_03.jsonl.gz`, one JSON object a line, and its
`audit_logs_2026_03.manifest.json`; entries that are found later go to further parts,
`audit_logs_2026_03.2.jsonl.gz` and so on. A part is there once its .gz file is: the
manifest without it is what a killed run left.
"""

import gzip
import hashlib
import heapq
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple, Self

from cmcore.errors import ArchiveError
from cmcore.partitions.entries import key_of
from cmcore.partitions.files import kept, partial, put, sync
from cmcore.partitions.months import Month

FORMAT = 1
ENDING = ".jsonl.gz"
_MANIFEST_ENDING = ".manifest.json"
_COMPRESSION = 3  # half the time of 6, for a tenth more of the disk
_NOT_READABLE = (OSError, EOFError, ValueError, zlib.error)


class Manifest(NamedTuple):
    """What stands beside a file.

    Attributes:
        format: The number of the format of file and manifest.
        rows: How many entries the file has.
        first_id: The id of the first one; they are in order of `created_at` and id.
        last_id: The id of the last one.
        start: The first moment of the month.
        end: The first moment after it.
        sha256: The digest of the file as it is, compressed.
    """

    format: int
    rows: int
    first_id: str
    last_id: str
    start: str
    end: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest of a file.

        Raises:
            ArchiveError: There is none, or it is none of ours.
        """
        place = manifest_path(path)
        try:
            manifest = cls(**json.loads(place.read_bytes()))
            manifest.check()
        except FileNotFoundError as error:
            msg = (
                f"{path} has no manifest. {place.name} belongs beside it; without it "
                "nobody can tell whether the file is whole."
            )
            raise ArchiveError(msg) from error
        except OSError as error:
            msg = f"{place} cannot be read: {error.strerror}."
            raise ArchiveError(msg) from error
        except TypeError as error:
            msg = f"{place} is not a manifest of cmcore: it has other fields."
            raise ArchiveError(msg) from error
        except ValueError as error:
            msg = f"{place} is not a manifest of cmcore: {error}."
            raise ArchiveError(msg) from error
        if manifest.format != FORMAT:
            msg = (
                f"{place} has format {manifest.format!r}, and this version of cmcore "
                f"knows {FORMAT} alone. Use a newer version."
            )
            raise ArchiveError(msg)
        return manifest

    def check(self) -> None:
        """Raise ValueError if it cannot be the manifest of a month."""
        kinds = type(self).__annotations__
        wrong = [n for n, v in self._asdict().items() if type(v) is not kinds[n]]
        if wrong:
            msg = f"{', '.join(wrong)}: of another type"
            raise ValueError(msg)
        bounds = datetime.fromisoformat(self.start), datetime.fromisoformat(self.end)
        if bounds != (self.month.start, self.month.end):
            msg = f"{self.start} to {self.end} is no month"
            raise ValueError(msg)

    @property
    def month(self) -> Month:
        """The month whose entries the file has."""
        return Month.of(datetime.fromisoformat(self.start))

    @property
    def text(self) -> str:
        """The manifest as it is written."""
        return json.dumps(self._asdict(), indent=2, ensure_ascii=False) + "\n"


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a file is."""
    return path.with_name(path.name.removesuffix(ENDING) + _MANIFEST_ENDING)


def part_of(path: Path) -> int:
    """Return which part of its month a file is, from its name: 1, or the number."""
    _, _, number = path.name.removesuffix(ENDING).rpartition(".")
    return int(number) if number.isdecimal() else 1


def lines_in(path: Path) -> Iterator[str]:
    """Yield the lines of a file, without their ends.

    Raises:
        ArchiveError: The file cannot be read to its end.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")
    except _NOT_READABLE as error:
        raise _damaged(path, f"it cannot be read ({error})") from error


def verified(path: Path) -> tuple[Manifest, set[str]]:
    """Read a file from start to end, and compare it with its manifest.

    Returns:
        The manifest, and the names of the columns that the entries have.

    Raises:
        ArchiveError: It has no manifest, or is not what that says.
    """
    manifest = Manifest.read(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _damaged(path, f"it cannot be read ({error})") from error
    if digest != manifest.sha256:
        raise _damaged(path, f"its SHA-256 is {digest}, not {manifest.sha256}")
    found, names = _contents(path, manifest)
    if found != manifest:
        wrong = [
            f"{name} is {actual!r}, not {told!r}"
            for name, actual, told in zip(found._fields, found, manifest, strict=True)
            if actual != told
        ]
        raise _damaged(path, ", ".join(wrong))
    return manifest, names


def _contents(path: Path, manifest: Manifest) -> tuple[Manifest, set[str]]:
    """Return the manifest that the lines of a file ask for, and their columns."""
    rows, first, last = 0, "", ""
    names: set[str] = set()
    start, end = manifest.start[:10], manifest.end[:10]
    for rows, line in enumerate(lines_in(path), 1):
        try:
            entry = json.loads(line)
            last, is_inside = entry["id"], start <= entry["created_at"] < end
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, f"line {rows} is no entry") from error
        if not is_inside:
            raise _damaged(path, f"the entry {last} is not of {start} to {end}")
        if rows == 1:
            first = last
        names |= entry.keys()
    return manifest._replace(rows=rows, first_id=first, last_id=last), names


def _damaged(path: Path, why: str) -> ArchiveError:
    msg = (
        f"{path} is not what its manifest says: {why}. Nothing of this month was "
        "changed in the database. Take file and manifest from a copy."
    )
    return ArchiveError(msg)


class Archive:
    """The parts of one month in a folder."""

    def __init__(self, folder: Path, month: Month, *, is_rehearsal: bool) -> None:
        """Look at nothing yet; a rehearsal does all but keep what it writes."""
        self.month = month
        ending = re.escape(ENDING)
        self._pattern = re.compile(
            rf"audit_logs_{month}(?:\.([2-9]|[1-9]\d+))?{ending}"
        )
        self._folder = folder
        self._is_rehearsal = is_rehearsal
        self._verified: set[Path] = set()
        self._rehearsed: list[Path] = []

    def parts(self) -> list[Path]:
        """Return the files that are there, the oldest first, after verifying them.

        Raises:
            ArchiveError: One of them is not what its manifest says.
        """
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise unwritable(self._folder, error) from error
        found = filter(None, map(self._pattern.fullmatch, names))
        paths = [self._path(n) for n in sorted(int(m[1] or 1) for m in found)]
        for path in paths:
            if path not in self._verified:
                self._verify(path)
        return paths

    @property
    def newest(self) -> Path | None:
        """The last file that was written, or would have been."""
        return next(reversed([*self.parts(), *self._rehearsed]), None)

    def entries(self) -> Iterator[str]:
        """Yield the lines of all parts in one order."""
        return heapq.merge(*map(lines_in, self.parts()), key=key_of)

    def add(self, lines: Iterable[str]) -> None:
        """Write entries into a further part, and verify it; nothing if there are none.

        Raises:
            ArchiveError: It cannot be written, or cannot be read again.
        """
        rest = iter(lines)
        first = next(rest, None)
        if first is None:
            return
        whole = itertools.chain([first], rest)
        if self._is_rehearsal:
            with Path(os.devnull).open("wb") as nowhere:
                self._rehearsed.append(self._free_path(self._write(nowhere, whole)))
            return
        draft = partial(self._path(1))
        try:
            with kept(draft) as file:
                manifest = self._write(file, whole)
            path = self._free_path(manifest)
            put(manifest.text, manifest_path(path))
            draft.rename(path)
            sync(self._folder)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self._verify(path)

    def _write(self, file: IO[bytes], lines: Iterable[str]) -> Manifest:
        """Write the lines; the same lines always give the same bytes."""
        hashing = _Hashing(file)
        rows, first, line = 0, "", ""
        with (
            gzip.GzipFile("", "wb", _COMPRESSION, hashing, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
        ):
            for rows, line in enumerate(lines, 1):  # noqa: B007 - a count
                first = first or line
                text.write(f"{line}\n")
        first_id, last_id = (json.loads(line)["id"] for line in (first, line))
        bounds = self.month.start.isoformat(), self.month.end.isoformat()
        digest = hashing.sha256.hexdigest()
        return Manifest(FORMAT, rows, first_id, last_id, *bounds, digest)

    def _free_path(self, manifest: Manifest) -> Path:
        """Return where a part may go: where none is, nor the manifest of another one.

        A manifest alone may be what a killed run left, or belong to a file that was
        taken elsewhere; in the first case the same part is written again.
        """
        for number in itertools.count(1):
            path = self._path(number)
            beside = manifest_path(path)
            if path.exists() or path in self._rehearsed:
                continue
            if not beside.exists() or beside.read_bytes() == manifest.text.encode():
                break
        return path

    def _path(self, number: int) -> Path:
        part = f".{number}" if number > 1 else ""
        return self._folder / f"audit_logs_{self.month}{part}{ENDING}"

    def _verify(self, path: Path) -> None:
        manifest, _ = verified(path)
        if manifest.month != self.month:
            raise _damaged(path, f"it is of {manifest.month}, and has another name")
        self._verified.add(path)


class _Hashing:
    """Passes bytes on to a file, and computes their digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def unwritable(folder: Path, error: OSError) -> ArchiveError:
    """Return what to raise where nothing can be written."""
    msg = (
        f"The archive {folder} cannot be written: {error}. What is not in a whole file "
        "there stays in the database; run again when that is mended."
    )
    return ArchiveError(msg)
