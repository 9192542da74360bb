"""A trail with entries of months that are to go, in each shape that it can have."""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import pieces
from cmcore.keys import now
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import add_month
from tests.partitions.tables import add

THIS = Month.of(now())
OLDEST = -16  # the first month that is a partition in the monthly shape
TICK = timedelta(microseconds=1)


def shape_trail(db: peewee.Database, shape: str) -> None:
    """Give an empty trail a shape: converted, or a partition for each old month."""
    if shape in {"sqlite", "plain"}:
        return
    cmcore.partitions.convert(db)
    if shape == "monthly":
        run(db, f'DROP TABLE "{pieces(db, "audit_logs")[0].name}"')
        for shift in range(OLDEST, 1):
            add_month(db, ago(shift))


def ago(shift: int) -> Month:
    """Return the month so many months from now: -1 is the last one."""
    return THIS.shifted(shift)


def moments_of(month: Month, count: int = 3) -> list[datetime]:
    """Return moments in a month, the first and the last one of it among them."""
    inner = [
        month.start + timedelta(minutes=9 * i, microseconds=i)
        for i in range(1, count - 1)
    ]
    return [month.start, *inner, month.end - TICK]


def fill(db: peewee.Database, *shifts: int, count: int = 3) -> None:
    """Add entries to months, which are told as in `ago`."""
    for shift in shifts:
        add(db, moments_of(ago(shift), count), prefix=f"m{-shift:02}-")


def ids(db: peewee.Database) -> list[str]:
    """Return the ids in the trail, sorted."""
    return sorted(key for (key,) in rows(db, "SELECT id FROM audit_logs"))


def gz(folder: Path, month: Month, part: int = 1) -> Path:
    """Return where a part of a month is in a folder."""
    number = f".{part}" if part > 1 else ""
    return folder / f"audit_logs_{month}{number}.jsonl.gz"


def manifest(path: Path) -> Path:
    """Return where the manifest of a file is."""
    return path.with_name(path.name.replace(".jsonl.gz", ".manifest.json"))


def entries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the names and contents of the files of a folder; none if it is missing."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


def others_told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the ids that were told to be in the trail otherwise, and forget them."""
    told = [r.args for r in caplog.records if "other content" in str(r.msg)]
    caplog.clear()
    found = []
    for count, _, names in (args for args in told if isinstance(args, tuple)):
        assert isinstance(names, str)
        found += names.split(", ")
        assert count == len(found)
    return found
