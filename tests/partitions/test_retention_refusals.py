"""What `retain` refuses, and that nothing is dropped then."""

import os
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.introspection import run
from cmcore.errors import (
    ArchiveError,
    ConfigurationError,
    DatabaseLockedError,
    MigrationError,
    PendingMigrationsError,
)
from cmcore.partitions import restore, retain
from cmcore.partitions.archives import Archive
from cmcore.partitions.manifests import Manifest
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import (
    ago,
    fill,
    gz,
    ids,
    manifest,
    snapshot,
)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_in_the_place_of_the_folder_is_refused(
    trail: peewee.Database, tmp_path: Path, dry_run: bool
) -> None:
    """Where nothing can be written nothing goes, and the error names the folder."""
    fill(trail, -2)
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(ArchiveError, match="taken cannot be written"):
        retain(trail, 1, taken, dry_run=dry_run)
    assert len(ids(trail)) == 3


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
def test_a_full_disk_drops_nothing(
    trail: peewee.Database, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """An error while a file is written is told, and the next run does it all."""
    fill(trail, -2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr("os.fsync", full)
        elif call == "rename":
            patched.setattr(Path, "rename", full)
        else:
            patched.setattr("cmcore.partitions.archives._Hashing.write", full)
        folder.mkdir(parents=True)
        with pytest.raises(ArchiveError, match="No space left"):
            retain(trail, 1, folder)
    assert len(ids(trail)) == 3
    assert not gz(folder, ago(-2)).exists()
    assert retain(trail, 1, folder).rows == 3


@pytest.mark.parametrize("wrong", ["sha256", "rows", "first_id", "last_id"])
def test_a_new_file_is_read_again_before_anything_goes(
    trail: peewee.Database, folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """If the disk does not hold what was written, all stays in the trail."""
    fill(trail, -2)
    written = Archive._write

    def misled(self: Archive, file: Any, lines: Any) -> Manifest:
        manifest = written(self, file, lines)
        if wrong != "sha256":
            other: Any = {wrong: 4 if wrong == "rows" else "other"}
            return manifest._replace(**other)
        file.seek(-9, os.SEEK_END)
        file.write(b"?")
        return manifest

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "_write", misled)
        with pytest.raises(
            ArchiveError, match="SHA-256" if wrong == "sha256" else wrong
        ):
            retain(trail, 1, folder)
    assert len(ids(trail)) == 3
    for path in folder.iterdir():
        path.unlink()
    assert retain(trail, 1, folder).rows == 3


def test_an_archive_that_is_damaged_stops_its_month(
    trail: peewee.Database, folder: Path
) -> None:
    """A file that is not what its manifest says, or has none, lets nothing go."""
    fill(trail, -2)
    retain(trail, 1, folder)
    path = gz(folder, ago(-2))
    cmcore.partitions.restore(trail, path)
    whole = manifest(path).read_text()
    for text in (None, whole.replace('"rows": 3', '"rows": 4')):
        if text is None:
            manifest(path).unlink()
        else:
            manifest(path).write_text(text)
        for dry_run in (True, False):
            with pytest.raises(ArchiveError, match=path.name):
                retain(trail, 1, folder, dry_run=dry_run)
        assert len(ids(trail)) == 3
    manifest(path).write_text(whole)
    assert retain(trail, 1, folder).rows == 3


def test_a_file_of_another_month_is_refused(
    trail: peewee.Database, folder: Path
) -> None:
    """An archive under another month's name says so."""
    fill(trail, -2)
    retain(trail, 1, folder)
    for path in (gz(folder, ago(-2)), manifest(gz(folder, ago(-2)))):
        path.rename(folder / path.name.replace(str(ago(-2)), str(ago(-3))))
    fill(trail, -3)
    with pytest.raises(ArchiveError, match="has another name"):
        retain(trail, 1, folder)
    assert len(ids(trail)) == 3


def test_it_is_given_a_folder_and_months(
    database: peewee.Database, folder: Path
) -> None:
    """A missing archive and odd numbers of months are refused by name."""
    with pytest.raises(ConfigurationError, match="archive"):
        retain(database)
    for months in (0, -1, 1.5, "2", True, None):
        with pytest.raises(ConfigurationError, match="months"):
            retain(database, months, folder)  # type: ignore[arg-type]
    assert retain(database, 100_000, folder) == ([], [])


def test_it_needs_transactions_of_its_own(trail: peewee.Database, folder: Path) -> None:
    """Inside an open transaction nothing happens."""
    fill(trail, -2)
    with trail.atomic(), pytest.raises(MigrationError, match="Archives"):
        retain(trail, 1, folder)
    assert len(ids(trail)) == 3


def test_it_needs_the_trail(empty_database: peewee.Database, folder: Path) -> None:
    """Before the migrations there is nothing to retain."""
    with pytest.raises(PendingMigrationsError):
        retain(empty_database, 1, folder)


def test_a_trigger_that_keeps_entries_is_noticed(
    database: peewee.Database, engine: str, folder: Path
) -> None:
    """Entries that stay though they were deleted are an error, not an endless loop."""
    fill(database, -2)
    if engine == "sqlite":
        run(
            database,
            "CREATE TRIGGER keep BEFORE DELETE ON audit_logs"
            " BEGIN SELECT RAISE(IGNORE); END",
        )
    else:
        run(
            database,
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NULL; END'",
        )
        run(
            database,
            "CREATE TRIGGER keep BEFORE DELETE ON audit_logs FOR EACH ROW"
            " EXECUTE FUNCTION keep()",
        )
    with pytest.raises(ArchiveError, match="trigger"):
        retain(database, 1, folder)
    assert len(ids(database)) == 3


@pytest.mark.parametrize(
    "target", ["sqlite", "postgresql", "postgresql+psycopg", "another code"]
)
def test_a_trigger_that_guards_entries_is_told(
    make_url: MakeUrl, target: str, folder: Path
) -> None:
    """What it says is quoted, with what to do; and so it is when entries come back."""
    engine = "sqlite" if target == "sqlite" else "postgresql"
    url = make_url(engine, migrated=True)
    if target.endswith("psycopg"):
        url = url.replace("postgresql:", f"{target}:")
    with connected(url) as db:
        fill(db, -2)
        guard(db, "DELETE", "USING ERRCODE = 'CM001'" * (target == "another code"))
        with pytest.raises(ArchiveError, match=r"go: append only\. .*Drop what guards"):
            retain(db, 1, folder)
        assert len(ids(db)) == 3
        run(db, "DROP TRIGGER guard" + " ON audit_logs" * (engine != "sqlite"))
        assert retain(db, 1, folder).rows == 3
        guard(db, "INSERT")
        with pytest.raises(ArchiveError, match="append only"):
            restore(db, gz(folder, ago(-2)))


def guard(db: peewee.Database, event: str, code: str = "") -> None:
    """Let a trigger refuse something."""
    if isinstance(db, peewee.SqliteDatabase):
        run(
            db,
            f"CREATE TRIGGER guard BEFORE {event} ON audit_logs"
            " BEGIN SELECT RAISE(ABORT, 'append only'); END",
        )
        return
    run(
        db,
        "CREATE OR REPLACE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql"
        f" AS $$ BEGIN RAISE EXCEPTION 'append only' {code}; END $$",
    )
    run(
        db,
        f"CREATE TRIGGER guard BEFORE {event} ON audit_logs FOR EACH ROW"
        " EXECUTE FUNCTION guard()",
    )


def test_rows_that_refer_to_an_entry_are_told(
    database: peewee.Database, folder: Path
) -> None:
    """An application's foreign key to an entry keeps its month, and others go."""
    fill(database, -3, -2)
    run(
        database,
        "CREATE TABLE notes (entry VARCHAR(36) NOT NULL"
        " REFERENCES audit_logs (id), note TEXT)",
    )
    run(database, "INSERT INTO notes VALUES ('m02-000001', 'look')")
    told = retain(database, 1, folder)
    assert [month.month for month in told.months] == [str(ago(-3))]
    assert [month.month for month in told.held] == [str(ago(-2))]
    assert "refer" in told.held[0].reason
    assert len(ids(database)) == 3
    run(database, "DELETE FROM notes")
    assert retain(database, 1, folder).rows == 3


def test_a_locked_file_is_told(make_url: MakeUrl, folder: Path) -> None:
    """Who cannot have SQLite's write lock in time gets cmcore's error."""
    url = make_url("sqlite", migrated=True)
    with connected(url) as db:
        fill(db, -2)
        db.close()
        quick: Any = peewee.SqliteDatabase(db.database, timeout=0.01)
        with (
            db.connection_context(),
            db.atomic("IMMEDIATE"),
            pytest.raises(DatabaseLockedError),
        ):
            retain(quick, 1, folder)
        assert len(snapshot(folder)) == 2
        assert retain(db, 1, folder).rows == 3
        db.connect()


def test_a_text_that_is_no_json_stops_its_month(
    make_url: MakeUrl, folder: Path
) -> None:
    """On SQLite a column of JSON can hold any text; its entry is named."""
    with connected(make_url("sqlite", migrated=True)) as db:
        fill(db, -2)
        sql = "UPDATE audit_logs SET old_values = '{' WHERE id = 'm02-000001'"
        run(db, sql)
        with pytest.raises(ArchiveError, match="m02-000001"):
            retain(db, 1, folder)
        assert len(ids(db)) == 3
        assert snapshot(folder) == {}
