"""Whatever was done to an archive or its manifest is noticed."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest

from cmcore.errors import ArchiveError
from cmcore.partitions import restore, retain
from tests.partitions.old_months import (
    ago,
    fill,
    gz,
    ids,
    manifest,
)


def truncated(path: Path) -> None:
    """Take away the end of the file."""
    path.write_bytes(path.read_bytes()[:-20])


def one_bit(path: Path) -> None:
    """Change one bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    """Take away all of the file."""
    path.write_bytes(b"")


def without_a_row(path: Path) -> None:
    """Take an entry out, and let the digest be right again."""
    again(path, lambda lines: lines[1:])


def with_another_text(path: Path) -> None:
    """Change an entry, and nothing else."""
    lines = gzip.decompress(path.read_bytes()).replace(b"Made", b"Done")
    path.write_bytes(gzip.compress(lines))


def without_json(path: Path) -> None:
    """Put in a line that is no JSON."""
    again(path, lambda lines: [lines[0], b"{", lines[2]])


def without_an_id(path: Path) -> None:
    """Put in a line that is no entry."""
    again(path, lambda lines: [lines[0], b"[]", lines[2]])


def of_another_month(path: Path) -> None:
    """Put in an entry of another month."""
    month, other = str(ago(-2)).encode(), str(ago(-3)).encode()
    month, other = (text.replace(b"_", b"-") for text in (month, other))
    again(path, lambda lines: [lines[0], lines[1].replace(month, other), lines[2]])


def not_packed(path: Path) -> None:
    """Unpack the file, and let the digest be right again."""
    path.write_bytes(gzip.decompress(path.read_bytes()))
    change(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def again(path: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    """Write other lines, and let the digest be right again."""
    lines = edit(gzip.decompress(path.read_bytes()).splitlines())
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    change(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def change(path: Path, **values: Any) -> None:
    """Edit the manifest of a file."""
    place = manifest(path)
    place.write_text(json.dumps(json.loads(place.read_text()) | values))


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        one_bit,
        emptied,
        without_a_row,
        with_another_text,
        without_json,
        without_an_id,
        of_another_month,
        not_packed,
        Path.unlink,
    ],
)
def test_a_file_that_was_changed_is_refused(
    database: peewee.Database, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """Whatever was done to the file, nothing of it comes into the trail."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    path = gz(tmp_path, ago(-2))
    damage(path)
    with pytest.raises(ArchiveError, match=path.name):
        restore(database, path)
    assert ids(database) == []


@pytest.mark.parametrize(
    "edit",
    [
        {"rows": 4},
        {"rows": "3"},
        {"rows": None},
        {"first_id": "m02-000001"},
        {"last_id": "m02-000001"},
        {"start": ago(-3).start.isoformat()},
        {"end": ago(0).end.isoformat()},
        {"start": ago(-3).start.isoformat(), "end": ago(-3).end.isoformat()},
        {"start": "soon"},
        {"sha256": "0" * 64},
        {"format": 2},
        {"more": 1},
    ],
)
def test_a_manifest_that_was_changed_is_refused(
    database: peewee.Database, tmp_path: Path, edit: dict[str, Any]
) -> None:
    """Each of its values is compared with the file."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    path = gz(tmp_path, ago(-2))
    change(path, **edit)
    with pytest.raises(ArchiveError, match=f"audit_logs_{ago(-2)}"):
        restore(database, path)
    assert ids(database) == []


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "7", '{"rows": 3}', "\xff", "[" * 2000]
)
def test_what_is_no_manifest_is_refused(
    database: peewee.Database, tmp_path: Path, text: str
) -> None:
    """A manifest that cannot be read is named."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    path = gz(tmp_path, ago(-2))
    manifest(path).write_text(text, encoding="latin-1")
    with pytest.raises(ArchiveError, match="not a manifest"):
        restore(database, path)


def test_swapped_manifests_are_refused(
    database: peewee.Database, tmp_path: Path
) -> None:
    """Each manifest belongs to one file."""
    fill(database, -2, -3)
    retain(database, 1, tmp_path)
    paths = [gz(tmp_path, ago(shift)) for shift in (-2, -3)]
    texts = [manifest(path).read_text() for path in paths]
    for path, text in zip(paths, reversed(texts), strict=True):
        manifest(path).write_text(text)
    for path in paths:
        with pytest.raises(ArchiveError, match="SHA-256"):
            restore(database, path)
