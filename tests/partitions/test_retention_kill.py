"""Killed at any step, a retention loses nothing, and the next one finishes it."""

# ruff: noqa: S608 - constants of this test

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.introspection import rows
from cmcore.partitions import restore, retain
from cmcore.partitions.archives import lines_in, verified
from cmcore.partitions.detached import detached_months, table_of
from tests.conftest import MakeUrl, connected
from tests.partitions.deaths import die_before, wait_for_the_dead
from tests.partitions.old_months import ago, fill, ids, shape_trail
from tests.partitions.tables import content

pytestmark = pytest.mark.slow

# Whatever changes the disk or the database comes between two of these.
STEPS: list[tuple[Any, str]] = [
    (os, "fsync"),
    (Path, "unlink"),
    (Path, "rename"),
    (Path, "replace"),
    (peewee.Database, "execute_sql"),
    (peewee.Database, "commit"),
]


def retain_and_die(url: str, folder: str, step: int) -> None:
    """Retain, and die before a step."""
    database = cmcore.connect(url)
    die_before(step, STEPS)
    retain(database, 1, folder)


def died(context: Any, url: str, folder: Path, step: int) -> bool:
    """Run a retention that dies at a step; false if it ends before."""
    process = context.Process(target=retain_and_die, args=(url, str(folder), step))
    process.start()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}
    return bool(process.exitcode)


def known(db: peewee.Database, folder: Path) -> set[str]:
    """Return the lines that are in the trail, beside it, or in a file that is whole."""
    found = set()
    for path in folder.glob("*.jsonl.gz"):
        verified(path)
        found |= {line.split('"')[3] for line in lines_in(path)}
    for month in detached_months(db):
        found |= {key for (key,) in rows(db, f"SELECT id FROM {table_of(month)}")}
    return found | set(ids(db))


def test_a_kill_at_any_step_loses_nothing(
    shape: str, make_url: MakeUrl, tmp_path: Path
) -> None:
    """After each kill all is somewhere; then it is finished, and restored as it was."""
    engine = "sqlite" if shape == "sqlite" else "postgresql"
    url = make_url(engine, migrated=True)
    folder = tmp_path / "archive"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with connected(url) as db:
        shape_trail(db, shape)
        fill(db, 0, -2, -3)
        before = content(db)
        everything = set(ids(db))
        step = 0
        while died(context, url, folder, step := step + 1):
            wait_for_the_dead(db, engine)
            assert known(db, folder) == everything
            retain(db, 1, folder)
            assert len(ids(db)) == 3
            files = sorted(folder.glob("*.jsonl.gz"))
            assert [path.name[11:18] for path in files] == [str(ago(-3)), str(ago(-2))]
            assert sum(restore(db, path) for path in files) == 6
            assert content(db) == before
            for path in folder.iterdir():
                path.unlink()
        assert step > 20
        assert len(ids(db)) == 3
