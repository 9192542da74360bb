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
import operator
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from cmcore.errors import ArchiveError
from cmcore.partitions.entries import key_of, read
from cmcore.partitions.files import kept, partial, put, sync
from cmcore.partitions.manifests import ENDING, FORMAT, Manifest, manifest_path
from cmcore.partitions.months import Month

_COMPRESSION = 3  # half the time of 6, for a tenth more of the disk
_NOT_READABLE = (OSError, EOFError, ValueError, zlib.error)


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


def newest(
    parts: Sequence[Path], *, of_first: bool = False
) -> Iterator[tuple[Path, str]]:
    """Yield the lines of several parts in one order, each with its part.

    An entry that is in several parts was changed meanwhile: the last one counts.

    Args:
        parts: Parts of one month, the oldest first.
        of_first: Whether only entries count that the first part has.
    """
    if len(parts) == 1:
        yield from ((parts[0], line) for line in lines_in(parts[0]))
        return
    lines = heapq.merge(*itertools.starmap(_keyed, enumerate(parts)))
    for _, group in itertools.groupby(lines, key=operator.itemgetter(0)):
        versions = list(group)
        (_, first, _), (_, last, line) = versions[0], versions[-1]
        if first == 0 or not of_first:
            yield parts[last], line


def _keyed(number: int, path: Path) -> Iterator[tuple[tuple[str, str], int, str]]:
    """Yield the lines of a part with what they are sorted by."""
    for line in lines_in(path):
        yield key_of(line), number, line


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
            entry = read(line)
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
        paths = self._paths()
        for path in paths:
            if path not in self._verified:
                self._verify(path)
        return paths

    def since(self, path: Path) -> list[Path]:
        """Return a file, and the parts that were written after it."""
        paths = self._paths()
        return paths[paths.index(path) :] if path in paths else [path]

    def _paths(self) -> list[Path]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise unwritable(self._folder, error) from error
        found = filter(None, map(self._pattern.fullmatch, names))
        return [self._path(n) for n in sorted(int(m[1] or 1) for m in found)]

    @property
    def newest(self) -> Path | None:
        """The last file that was written, or would have been."""
        return next(reversed([*self.parts(), *self._rehearsed]), None)

    def entries(self) -> Iterator[str]:
        """Yield the lines of all parts in one order, each entry as it was last."""
        return (line for _, line in newest(self.parts()))

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
        first_id, last_id = (read(line)["id"] for line in (first, line))
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
