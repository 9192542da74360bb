"""`retain`: old months go to files, and only what is in a file goes."""

import hashlib
import json
import logging
import stat
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.introspection import run
from cmcore.engines.lines import Line
from cmcore.engines.partitioning import pieces
from cmcore.models import AuditLog
from cmcore.partitions import holds, retain
from cmcore.partitions.entries import entries_of
from cmcore.partitions.months import Month
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import (
    TICK,
    ago,
    entries,
    fill,
    gz,
    ids,
    manifest,
    moments_of,
    snapshot,
)
from tests.partitions.tables import add, content


def test_whole_months_leave_and_the_rest_stays(
    trail: peewee.Database, folder: Path
) -> None:
    """The current month and the one before stay; each older one is in a file."""
    fill(trail, 0, -1, -2, -3, -5)
    before = content(trail)
    found = retain(trail, 2, folder)
    assert [(m.month, m.rows, m.file) for m in found.months] == [
        (str(ago(shift)), 3, gz(folder, ago(shift))) for shift in (-5, -3, -2)
    ]
    assert (found.rows, found.held) == (9, [])
    kept = {f"m{-shift:02}-{i:06}" for shift in (0, -1) for i in range(3)}
    assert set(ids(trail)) == kept
    assert content(trail) == [row for row in before if row[0] in kept]
    assert sorted(snapshot(folder)) == sorted(
        path.name
        for shift in (-5, -3, -2)
        for path in (gz(folder, ago(shift)), manifest(gz(folder, ago(shift))))
    )


def test_thirteen_months_stay_by_default(trail: peewee.Database, folder: Path) -> None:
    """The current month and the twelve before it: the thirteenth before goes."""
    add(trail, [ago(-12).start, ago(-12).start - TICK])
    assert [m.month for m in retain(trail, archive=folder).months] == [str(ago(-13))]
    assert ids(trail) == ["e000000"]


def test_one_month_is_the_current_one(trail: peewee.Database, folder: Path) -> None:
    """With months=1 everything before this month goes, to the microsecond."""
    add(trail, [ago(0).start, ago(0).start - TICK])
    assert retain(trail, 1, folder).rows == 1
    assert ids(trail) == ["e000000"]
    assert [e["id"] for e in entries(gz(folder, ago(-1)))] == ["e000001"]


def test_what_a_manifest_says(trail: peewee.Database, folder: Path) -> None:
    """Rows, first and last id, the month's bounds and the digest of the file."""
    fill(trail, -2)
    retain(trail, 1, folder)
    path = gz(folder, ago(-2))
    assert json.loads(manifest(path).read_text()) == {
        "format": 1,
        "rows": 3,
        "first_id": "m02-000000",
        "last_id": "m02-000002",
        "start": ago(-2).start.isoformat(),
        "end": ago(-2).end.isoformat(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def test_files_are_for_their_owner(trail: peewee.Database, folder: Path) -> None:
    """What stood in the trail is not to be read by everybody on the machine."""
    fill(trail, -2)
    retain(trail, 1, str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}


def test_the_same_month_gives_the_same_bytes(
    trail: peewee.Database, folder: Path
) -> None:
    """An archive says nothing but its entries: two of the same are equal."""
    fill(trail, -2)
    retain(trail, 1, folder)
    cmcore.partitions.restore(trail, gz(folder, ago(-2)))
    retain(trail, 1, folder.with_name("other"))
    assert snapshot(folder.with_name("other")) == snapshot(folder)


def test_a_dry_run_tells_the_same_and_changes_nothing(
    trail: peewee.Database, folder: Path
) -> None:
    """The reports are equal; the database is as it was, and there is no folder."""
    fill(trail, 0, -1, -2, -3)
    before = content(trail), places_of(trail)
    told = retain(trail, 2, folder, dry_run=True)
    assert (content(trail), places_of(trail)) == before
    assert not folder.parent.exists()
    assert told == retain(trail, 2, folder)
    assert told.rows == 6


def test_a_dry_run_tells_the_same_for_a_restored_month(
    trail: peewee.Database, folder: Path
) -> None:
    """What is in a file already, and what has come since, are told apart."""
    fill(trail, -2, -3)
    retain(trail, 1, folder)
    for shift in (-2, -3):
        cmcore.partitions.restore(trail, gz(folder, ago(shift)))
    add(trail, [ago(-2).start], prefix="late")
    before = snapshot(folder)
    told = retain(trail, 1, folder, dry_run=True)
    assert snapshot(folder) == before
    assert [m.file for m in told.months] == [
        gz(folder, ago(-3)),
        gz(folder, ago(-2), 2),
    ]
    assert told == retain(trail, 1, folder)


def places_of(db: peewee.Database) -> Any:
    """Return what partitions there are."""
    return pieces(db, "audit_logs")


def test_late_entries_go_to_a_further_part(
    trail: peewee.Database, folder: Path
) -> None:
    """No archive is touched: what comes later to a month has a file of its own."""
    fill(trail, -2)
    retain(trail, 1, folder)
    before = snapshot(folder)
    add(trail, moments_of(ago(-2)), prefix="late")
    assert retain(trail, 1, folder).months == [
        (str(ago(-2)), 3, gz(folder, ago(-2), 2)),
    ]
    assert before.items() <= snapshot(folder).items()
    assert [e["id"] for e in entries(gz(folder, ago(-2), 2))] == [
        "late000000",
        "late000001",
        "late000002",
    ]
    assert ids(trail) == []


def test_entries_that_changed_go_to_a_further_part(
    trail: peewee.Database, folder: Path
) -> None:
    """An entry that was soft-deleted after its month came back is written again."""
    fill(trail, -2)
    retain(trail, 1, folder)
    cmcore.partitions.restore(trail, gz(folder, ago(-2)))
    AuditLog.delete().where(AuditLog.id == "m02-000001").execute()
    retain(trail, 1, folder)
    [entry] = entries(gz(folder, ago(-2), 2))
    assert entry["id"] == "m02-000001"
    assert entry["deleted_at"] is not None
    assert [e["deleted_at"] for e in entries(gz(folder, ago(-2)))] == [None] * 3


def test_a_restored_month_leaves_again_without_a_file(
    trail: peewee.Database, folder: Path
) -> None:
    """What all is in the archive goes at once."""
    fill(trail, -2, count=40)
    retain(trail, 1, folder)
    before = snapshot(folder)
    assert cmcore.partitions.restore(trail, gz(folder, ago(-2))) == 40
    [month] = retain(trail, 1, folder).months
    assert month == (str(ago(-2)), 40, gz(folder, ago(-2)))
    assert snapshot(folder) == before
    assert ids(trail) == []


def test_soft_deleted_entries_go_as_well(trail: peewee.Database, folder: Path) -> None:
    """An archive has all entries of a month, also those marked as deleted."""
    fill(trail, -2)
    AuditLog.delete().where(AuditLog.id == "m02-000001").execute()
    assert retain(trail, 1, folder).rows == 3
    assert [e["deleted_at"] is None for e in entries(gz(folder, ago(-2)))] == [
        True,
        False,
        True,
    ]


def test_nothing_to_do_does_nothing(trail: peewee.Database, folder: Path) -> None:
    """Without old entries there is no report, no folder, and no progress."""
    fill(trail, 0)
    calls: list[Any] = []
    assert retain(trail, 1, folder, progress=lambda *n: calls.append(n)) == ([], [])
    assert not folder.exists()
    assert calls == []


def test_progress_ends_with_all(trail: peewee.Database, folder: Path) -> None:
    """The numbers rise from nothing to the number of all entries that go."""
    fill(trail, -2, -3, count=1200)
    calls: list[tuple[int, int]] = []
    retain(trail, 1, folder, progress=lambda *n: calls.append(n))
    assert {total for _, total in calls} == {2400}
    done = [n for n, _ in calls]
    assert (done[0], done[-1]) == (0, 2400)
    assert done == sorted(done)
    assert len(set(done)) > 4


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_held_month_stays_and_is_told(
    trail: peewee.Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    dry_run: bool,
) -> None:
    """What something still needs is kept, with the reason; other months go."""

    def hold(db: peewee.Database, month: Month) -> str | None:
        assert db is trail
        return "not delivered yet" if month == ago(-3) else None

    monkeypatch.setattr(holds, "HOLDS", (hold,))
    fill(trail, -2, -3, -4)
    found = retain(trail, 1, folder, dry_run=dry_run)
    assert [m.month for m in found.months] == [str(ago(-4)), str(ago(-2))]
    assert found.held == [(str(ago(-3)), "not delivered yet")]
    if not dry_run:
        assert {i[:3] for i in ids(trail)} == {"m03"}


def test_a_relative_folder_and_one_that_is_there(
    trail: peewee.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are told as they were given, and other files are left alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("mine")
    fill(trail, -2)
    [month] = retain(trail, 1, "here").months
    assert month.file == gz(Path("here"), ago(-2))
    assert (tmp_path / "here" / "notes.txt").read_text() == "mine"


def test_a_manifest_alone_is_not_overwritten(
    trail: peewee.Database, folder: Path
) -> None:
    """Its file may have been taken elsewhere, and would have no manifest then."""
    fill(trail, -2)
    retain(trail, 1, folder)
    path = gz(folder, ago(-2))
    elsewhere = path.rename(folder.parent / path.name)
    before = manifest(path).read_bytes()
    fill(trail, -2)  # the same entries give the same file
    retain(trail, 1, folder)
    assert path.read_bytes() == elsewhere.read_bytes()
    path.unlink()
    add(trail, moments_of(ago(-2)), prefix="late")  # and others do not
    retain(trail, 1, folder)
    assert manifest(path).read_bytes() == before
    assert [e["id"][:4] for e in entries(gz(folder, ago(-2), 2))] == ["late"] * 3


def test_it_connects_for_the_length_of_the_call(
    trail: peewee.Database, folder: Path
) -> None:
    """A database that is closed, or behind a proxy, is opened and closed again."""
    fill(trail, -2)
    trail.close()
    proxy = peewee.Proxy()
    proxy.initialize(trail)
    assert retain(proxy, 1, folder).rows == 3
    assert trail.is_closed()
    trail.connect()


def test_the_trail_alone_is_enough(
    engine: str, make_url: MakeUrl, folder: Path
) -> None:
    """A database with users of its own has a trail without foreign keys."""
    with connected(make_url(engine)) as db:
        cmcore.migrate(db, trail_only=True)
        fill(db, -2)
        run(db, "UPDATE audit_logs SET user_id = 'somebody'")
        before = content(db)
        retain(db, 1, folder)
        assert ids(db) == []
        cmcore.partitions.restore(db, gz(folder, ago(-2)))
        assert content(db) == before


def test_columns_of_the_application_are_kept(
    trail: peewee.Database, folder: Path
) -> None:
    """Columns that were added to the trail are in the file and come back."""
    fill(trail, -2)
    run(trail, "ALTER TABLE audit_logs ADD COLUMN tenant INTEGER DEFAULT 7")
    run(trail, 'ALTER TABLE audit_logs ADD COLUMN "odd name\'s %" TEXT')
    run(trail, "UPDATE audit_logs SET tenant = 8, \"odd name's %\" = 'x'")
    before = content(trail)
    retain(trail, 1, folder)
    first = entries(gz(folder, ago(-2)))[0]
    assert (first["tenant"], first["odd name's %"]) == (8, "x")
    cmcore.partitions.restore(trail, gz(folder, ago(-2)))
    assert content(trail) == before


def test_what_a_run_does_is_logged(
    trail: peewee.Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which month went where; the trail itself has no entry of it."""
    fill(trail, -2)
    with caplog.at_level(logging.INFO, "cmcore.partitions"):
        retain(trail, 1, folder)
    [told] = [
        r.getMessage()
        for r in caplog.records
        if str(gz(folder, ago(-2))) in r.msg % r.args
    ]
    assert str(ago(-2)) in told
    assert ids(trail) == []


def test_the_batches_are_in_order(trail: peewee.Database) -> None:
    """Rows of one moment are told by id, byte by byte, and none twice."""
    moment = ago(-2).start
    for key in ("b", "B", "a", "é", "Z", "~", "_"):
        add(trail, [moment], prefix=key)
    lines = entries_of(trail)
    found: list[Line] = []
    after = None
    while batch := lines.batch(ago(-2).start, ago(-2).end, after, 2):
        after = batch[-1]
        found += batch
    keys = [line.id for line in found]
    assert keys == sorted(keys)
    assert len(keys) == 7
