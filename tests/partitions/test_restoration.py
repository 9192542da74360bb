"""`restore`: an archived month is back, equal to what it was."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.introspection import rows, run
from cmcore.engines.lines import Lines
from cmcore.errors import ArchiveError, MigrationError, PendingMigrationsError
from cmcore.models import AuditLog, Customer, User
from cmcore.partitions import restore, retain
from cmcore.partitions.entries import entries_of
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import (
    ago,
    entries,
    fill,
    gz,
    ids,
    manifest,
    moments_of,
    others_told,
)
from tests.partitions.tables import add, content, places


def test_the_rows_are_equal(trail: peewee.Database, tmp_path: Path) -> None:
    """Entries of every kind come back exactly; a second time there is nothing to do."""
    history(trail)
    before = content(trail)
    retain(trail, 1, tmp_path)
    assert ids(trail) == []
    path = gz(tmp_path, ago(-2))
    assert restore(trail, path) == len(before)
    assert content(trail) == before
    assert restore(trail, str(path)) == 0
    assert content(trail) == before


def history(db: peewee.Database) -> None:
    """Write entries of every kind, as if it had been in an old month."""
    with cmcore.acting_as("system", reason="a test", ip_address="::1", ticket=2**70):
        customer = Customer.create(name='Ada "é" \u2028\n', email="ada@example.org")
        customer.name = "\\ 😀"
        customer.save()
        customer.delete_instance()
        cmcore.record(
            "config_change",
            resource_type="settings",
            description="Two\nlines, and a tab\t.",
            success=False,
            error_message="",
            numbers=[1.5, -0.0, 10**40, True, None, {"deep": ["'", '"', "%", "?"]}],
        )
    AuditLog.delete().where(AuditLog.action == "create").execute()
    moments = iter(moments_of(ago(-2), 20))
    for key in ids(db):
        run(
            db,
            "UPDATE audit_logs SET created_at = ? WHERE id = ?",
            [next(moments).isoformat(" ", "microseconds"), key],
        )


@pytest.mark.postgresql
def test_an_archive_restores_on_the_other_engine(
    make_url: MakeUrl, tmp_path: Path
) -> None:
    """There and back again: files of both engines say the same, and are known as such.

    The same entries leave the other engine without a further file.
    """
    urls = [make_url(engine, migrated=True) for engine in ("sqlite", "postgresql")]
    for here, there in (urls, urls[::-1]):
        folder = tmp_path / here.partition(":")[0]
        with connected(here) as db:
            history(db)
            retain(db, 1, folder)
            path = gz(folder, ago(-2))
            count = len(entries(path))
        with connected(there) as db:
            assert restore(db, path) == count
            told = [e.__data__ for e in AuditLog.trail().order_by(AuditLog.created_at)]
            retain(db, 1, folder)
            assert sorted(folder.glob("*.gz")) == [path]
            retain_again(db, path, tmp_path / "new")
        with connected(here) as db:
            restore(db, path)
            again = [e.__data__ for e in AuditLog.trail().order_by(AuditLog.created_at)]
            assert again == told
            retain(db, 1, folder)


def retain_again(db: peewee.Database, path: Path, folder: Path) -> None:
    """Restore a file and archive it anew: the entries are the same."""
    restore(db, path)
    retain(db, 1, folder)
    assert entries(gz(folder, ago(-2))) == entries(path)
    for file in folder.iterdir():
        file.unlink()


def test_entries_that_are_there_are_left_alone(
    trail: peewee.Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what is missing comes back, and nobody's change is undone, but told."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    add(trail, [ago(-2).start], prefix="m02-")
    run(trail, "UPDATE audit_logs SET description = 'newer'")
    assert restore(trail, gz(tmp_path, ago(-2))) == 2
    assert ids(trail) == ["m02-000000", "m02-000001", "m02-000002"]
    found = rows(trail, "SELECT description FROM audit_logs WHERE id = 'm02-000000'")
    assert found == [("newer",)]
    assert others_told(caplog) == ["m02-000000"]


def test_an_id_that_is_in_another_month(
    trail: peewee.Database,
    shape: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is another entry where the key of the table allows that, else it is told."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    add(trail, [ago(0).start], prefix="m02-")
    is_parted = shape in {"converted", "monthly"}
    assert restore(trail, gz(tmp_path, ago(-2))) == (3 if is_parted else 2)
    again = ["m02-000000"] * is_parted
    assert ids(trail) == [*again, "m02-000000", "m02-000001", "m02-000002"]
    warned = [] if is_parted else ["m02-000000"]
    assert others_told(caplog) == warned


@pytest.mark.postgresql
def test_one_id_twice_comes_back_twice(
    converted: peewee.Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the key is (id, created_at), it is by both that an entry is known."""
    fill(converted, -2)
    run(converted, "UPDATE audit_logs SET id = 'm02-000001' WHERE id = 'm02-000002'")
    add(converted, [ago(-3).start], prefix="m02-")
    before = content(converted)
    retain(converted, 1, tmp_path)
    assert restore(converted, gz(tmp_path, ago(-2))) == 3
    assert restore(converted, gz(tmp_path, ago(-3))) == 1
    assert content(converted) == before
    assert restore(converted, gz(tmp_path, ago(-2))) == 0
    assert others_told(caplog) == []


def test_users_who_are_gone_become_null(
    trail: peewee.Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the foreign keys would have done in the trail is done at the return."""
    gone = User.create(
        email="gone@example.org", password_hash="x" * 60, full_name="Gone Soon"
    )
    key = gone.id
    run(trail, "DELETE FROM audit_logs")
    fill(trail, -2)
    run(trail, "UPDATE audit_logs SET user_id = ?, created_by = ?", [key, key])
    run(trail, "UPDATE audit_logs SET deleted_by = 'system', deleted_at = created_at")
    retain(trail, 1, tmp_path)
    run(trail, "DELETE FROM users WHERE id = ?", [key])
    assert restore(trail, gz(tmp_path, ago(-2))) == 3
    found = rows(trail, "SELECT user_id, created_by, deleted_by FROM audit_logs")
    assert found == [(None, None, "system")] * 3
    run(trail, "DELETE FROM audit_logs WHERE id = 'm02-000001'")
    assert restore(trail, gz(tmp_path, ago(-2))) == 1
    assert others_told(caplog) == []


def test_both_parts_come_back(trail: peewee.Database, tmp_path: Path) -> None:
    """A month in two files is restored from both, in any order."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    add(trail, moments_of(ago(-2)), prefix="late")
    retain(trail, 1, tmp_path)
    assert restore(trail, gz(tmp_path, ago(-2), 2)) == 3
    assert restore(trail, gz(tmp_path, ago(-2))) == 3
    assert len(ids(trail)) == 6
    retain(trail, 1, tmp_path)
    assert ids(trail) == []
    assert len(list(tmp_path.glob("*.gz"))) == 2


@pytest.mark.postgresql
def test_a_month_comes_back_into_a_partition(
    monthly: peewee.Database, tmp_path: Path
) -> None:
    """It has a partition of its own again, and leaves with it the next time."""
    fill(monthly, -2)
    before = content(monthly)
    retain(monthly, 1, tmp_path)
    assert restore(monthly, gz(tmp_path, ago(-2))) == 3
    assert places(monthly) == {f"audit_logs_{ago(-2)}": 3}
    assert content(monthly) == before
    retain(monthly, 1, tmp_path)
    assert places(monthly) == {}
    assert len(list(tmp_path.glob("*.gz"))) == 1


@pytest.mark.postgresql
def test_a_month_that_is_half_out_is_finished_first(
    monthly: peewee.Database, tmp_path: Path
) -> None:
    """Beside a table that a killed run has left, a month cannot come back."""
    fill(monthly, -2)
    retain(monthly, 1, tmp_path)
    restore(monthly, gz(tmp_path, ago(-2)))
    run(monthly, f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{ago(-2)}")
    with pytest.raises(ArchiveError, match="retain"):
        restore(monthly, gz(tmp_path, ago(-2)))
    retain(monthly, 1, tmp_path)
    assert restore(monthly, gz(tmp_path, ago(-2))) == 3


def test_columns_that_the_trail_lacks_are_named(
    trail: peewee.Database, tmp_path: Path
) -> None:
    """A file with more columns is refused; one with less leaves the default."""
    fill(trail, -2, -3)
    run(trail, "ALTER TABLE audit_logs ADD COLUMN tenant INTEGER DEFAULT 7")
    retain(trail, 3, tmp_path)
    run(trail, "ALTER TABLE audit_logs DROP COLUMN tenant")
    with pytest.raises(ArchiveError, match="no column tenant"):
        restore(trail, gz(tmp_path, ago(-3)))
    retain(trail, 1, tmp_path)
    run(trail, "ALTER TABLE audit_logs ADD COLUMN tenant INTEGER DEFAULT 9")
    assert restore(trail, gz(tmp_path, ago(-2))) == 3
    assert rows(trail, "SELECT DISTINCT tenant FROM audit_logs") == [(9,)]
    assert restore(trail, gz(tmp_path, ago(-3))) == 3
    found = rows(trail, "SELECT DISTINCT tenant FROM audit_logs ORDER BY tenant")
    assert found == [(7,), (9,)]


def test_entries_that_the_table_refuses_leave_nothing(
    trail: peewee.Database, tmp_path: Path
) -> None:
    """All come back or none; the database's reason is told."""
    fill(trail, -2, count=1100)
    run(trail, "UPDATE audit_logs SET user_role = 'x' WHERE id = 'm02-001099'")
    retain(trail, 1, tmp_path)
    refuse(trail)
    with pytest.raises(ArchiveError, match="no such role"):
        restore(trail, gz(tmp_path, ago(-2)))
    assert ids(trail) == []


def test_long_entries_come_back_in_small_batches(
    database: peewee.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement takes as many entries as are not too long together."""
    monkeypatch.setattr("cmcore.partitions.restoration._LONGEST", 1000)
    sizes: list[int] = []
    lines = type(entries_of(database))
    original = lines.insert

    def insert(self: Lines, texts: Sequence[str], names: Collection[str]) -> int:
        sizes.append(len(texts))
        return original(self, texts, names)

    monkeypatch.setattr(lines, "insert", insert)
    fill(database, -2, count=5)
    retain(database, 1, tmp_path)
    assert restore(database, gz(tmp_path, ago(-2))) == 5
    assert sizes == [2, 2, 1]


def refuse(db: peewee.Database) -> None:
    """Let the trail refuse one of the entries."""
    if isinstance(db, peewee.SqliteDatabase):
        run(
            db,
            "CREATE TRIGGER refuse BEFORE INSERT ON audit_logs WHEN new.user_role = 'x'"
            " BEGIN SELECT RAISE(ABORT, 'no such role'); END",
        )
        return
    rule = "\"no such role\" CHECK (user_role <> 'x')"
    run(db, f"ALTER TABLE audit_logs ADD CONSTRAINT {rule}")


def test_only_archives_are_taken(database: peewee.Database, tmp_path: Path) -> None:
    """The manifest, a missing file and a file without manifest are refused by name."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    path = gz(tmp_path, ago(-2))
    with pytest.raises(ArchiveError, match=r"Name the \.jsonl\.gz file"):
        restore(database, manifest(path))
    with pytest.raises(ArchiveError, match="no manifest"):
        restore(database, tmp_path / "nothing.jsonl.gz")
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(ArchiveError, match="cannot be read"):
        restore(database, path)
    path.write_bytes(whole)
    manifest(path).unlink()
    with pytest.raises(ArchiveError, match="no manifest"):
        restore(database, path)
    assert ids(database) == []


def test_it_needs_transactions_of_its_own(
    database: peewee.Database, tmp_path: Path
) -> None:
    """Inside an open transaction nothing happens."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    with database.atomic(), pytest.raises(MigrationError, match="Archives"):
        restore(database, gz(tmp_path, ago(-2)))
    assert ids(database) == []


def test_it_needs_the_trail(empty_database: peewee.Database, tmp_path: Path) -> None:
    """Before the migrations there is no place for entries."""
    with pytest.raises(PendingMigrationsError):
        restore(empty_database, tmp_path / "a.jsonl.gz")


def test_what_it_does_is_logged(
    database: peewee.Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what came back from where."""
    fill(database, -2)
    retain(database, 1, tmp_path)
    with caplog.at_level(logging.INFO, "cmcore.partitions"):
        restore(database, gz(tmp_path, ago(-2)))
    told: Any = [
        r.getMessage() for r in caplog.records if r.name == "cmcore.partitions"
    ]
    assert len(told) == 1
    assert str(gz(tmp_path, ago(-2))) in told[0]
