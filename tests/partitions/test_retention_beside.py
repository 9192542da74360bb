"""`retain` beside others: who writes meanwhile, and who retains as well."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peewee
import pytest

from cmcore.engines.introspection import run
from cmcore.engines.lines import Line, Lines
from cmcore.errors import ArchiveError
from cmcore.partitions import retain
from cmcore.partitions.entries import entries_of
from cmcore.partitions.retirement import Retirement
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import ago, entries, fill, gz, ids
from tests.partitions.tables import add
from tests.partitions.threads import beside, writing


def test_an_entry_that_changes_meanwhile_goes_to_a_further_part(
    trail: peewee.Database,
    shape: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the file and the drop others write: no entry and no version is lost."""
    fill(trail, -2)
    original = Retirement._export
    calls = 0

    def export(self: Any, lines: Lines, halves: int = 1) -> int:
        nonlocal calls
        calls += 1
        count = original(self, lines, halves)
        if calls == 1:
            sql = "UPDATE audit_logs SET user_email = 'x' WHERE id = 'm02-000001'"
            run(trail, sql)
            add(trail, [ago(-2).start], prefix="late")
        return count

    monkeypatch.setattr(Retirement, "_export", export)
    assert retain(trail, 1, folder).rows == 4
    assert ids(trail) == []
    parts = [gz(folder, ago(-2)), gz(folder, ago(-2), 2)]
    assert [len(entries(part)) for part in parts] == [3, 2]
    changed, late = sorted(entries(parts[1]), key=lambda e: str(e["id"]), reverse=True)
    assert (late["id"], changed["id"]) == ("late000000", "m02-000001")
    assert changed["user_email"] == "x"
    assert calls == 2


def test_entries_cannot_change_between_the_last_look_and_the_end(
    database: peewee.Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared with the files is locked until it is gone."""
    fill(database, -2)
    lines = type(entries_of(database))
    original = lines.remove
    refused: list[str] = []

    def remove(self: Lines, batch: Sequence[Line]) -> int:
        other = another(database)
        with other.connection_context():
            with contextlib.suppress(peewee.ProgrammingError, peewee.OperationalError):
                run(other, "SET lock_timeout = '50ms'")
            with pytest.raises(peewee.OperationalError, match="lock") as caught:
                run(other, "UPDATE audit_logs SET user_email = 'x'")
            refused.append(str(caught.value))
        return original(self, batch)

    monkeypatch.setattr(lines, "remove", remove)
    assert retain(database, 1, folder).rows == 3
    assert len(refused) == 1


def test_only_one_at_a_time(trail: peewee.Database, shape: str, folder: Path) -> None:
    """A second run on the same database, or folder, says so, and changes nothing.

    Two runs on one file of SQLite with two folders do not harm each other: what goes
    is compared with a file, and locked.
    """
    fill(trail, -2)
    other_folder = folder if shape == "sqlite" else folder.with_name("other")
    second: list[str] = []

    def progress(_: int, __: int) -> None:
        if not second:
            second.append("begun")
            other = another(trail)
            with (
                other.connection_context(),
                pytest.raises(ArchiveError, match="Another process"),
            ):
                retain(other, 1, other_folder)

    assert retain(trail, 1, folder, progress=progress).rows == 3
    assert second == ["begun"]
    assert not folder.with_name("other").exists()


def another(db: Any) -> peewee.Database:
    """Return the same database, to be reached through a connection of its own."""
    options = {"timeout": 0.01} if isinstance(db, peewee.SqliteDatabase) else {}
    database: peewee.Database = type(db)(db.database, **(db.connect_params | options))
    return database


@pytest.mark.postgresql
def test_two_databases_do_not_write_into_one_folder_at_once(
    make_url: MakeUrl, folder: Path
) -> None:
    """The folder is one run's alone, whatever database the other one has."""
    urls = [make_url(engine, migrated=True) for engine in ("postgresql", "sqlite")]
    other = peewee.SqliteDatabase(urls[1].removeprefix("sqlite:///"))
    second: list[str] = []

    def progress(_: int, __: int) -> None:
        if not second:
            second.append("begun")
            with pytest.raises(ArchiveError, match="Another process"):
                retain(other, 1, folder)

    fill(other, -2)
    other.close()
    with connected(urls[0]) as db:
        fill(db, -3)
        retain(db, 1, folder, progress=progress)
        assert retain(other, 1, folder).rows == 3
    assert second == ["begun"]


def test_others_write_and_read_meanwhile(trail: peewee.Database, folder: Path) -> None:
    """New entries are written while old ones go; the files have all that went."""
    fill(trail, -2, -3, count=1500)
    with writing(trail) as written:
        found = retain(trail, 1, folder)
    assert min(written) > 0
    assert found.rows == 3000
    assert len(ids(trail)) == sum(written)
    paths = [gz(folder, ago(shift)) for shift in (-2, -3)]
    assert [len(entries(path)) for path in paths] == [1500, 1500]


def test_old_months_are_written_to_meanwhile(
    trail: peewee.Database, folder: Path
) -> None:
    """Entries that come to a month while it goes are in the trail or in a file."""
    fill(trail, -2, count=500)

    def write() -> None:
        for i in range(30):
            add(trail, [ago(-2).start], prefix=f"late{i}-")
            time.sleep(0.01)

    beside(trail, lambda: retain(trail, 1, folder), write)
    retain(trail, 1, folder)
    assert ids(trail) == []
    told = [e["id"] for path in folder.glob("*.gz") for e in entries(path)]
    assert len(told) == len(set(told)) == 530


def test_entries_that_never_rest_are_told(
    database: peewee.Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an entry changes each time before it can go, the run gives up."""
    fill(database, -2)
    original = Retirement._export

    def export(self: Any, lines: Lines, halves: int = 1) -> int:
        count = original(self, lines, halves)
        sql = "UPDATE audit_logs SET user_agent = COALESCE(user_agent, '') || 'x'"
        run(database, sql)
        return count

    monkeypatch.setattr(Retirement, "_export", export)
    with pytest.raises(ArchiveError, match="each time"):
        retain(database, 1, folder)
    assert len(ids(database)) == 3


def test_entries_that_never_stop_coming_wait_for_the_next_run(
    trail: peewee.Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each pass takes entries and others come, the run ends, and says so."""
    fill(trail, -2)
    original = Retirement._export
    come: list[str] = []

    def export(self: Any, lines: Lines, halves: int = 1) -> int:
        count = original(self, lines, halves)
        come.append(f"late{len(come)}-")
        add(trail, [ago(-2).start], prefix=come[-1])
        return count

    with monkeypatch.context() as patch:
        patch.setattr(Retirement, "_export", export)
        first = retain(trail, 1, folder)
    left = ids(trail)
    assert 0 < len(left) < len(come)
    second = retain(trail, 1, folder)
    assert first.rows + second.rows == 3 + len(come)
    assert second.rows == len(left)
    assert ids(trail) == []
