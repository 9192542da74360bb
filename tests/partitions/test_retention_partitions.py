"""`retain` on a partitioned trail: whole partitions go where there are some."""

# ruff: noqa: S608 - constants of this test

from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.health import examine_engine
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import UNFINISHED, pieces
from cmcore.errors import MigrationError
from cmcore.partitions import (
    conversion,
    convert,
    ensure,
    restore,
    retain,
    retention,
    revert,
)
from cmcore.partitions.health import examine_partitions
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import add_month
from tests.partitions.old_months import (
    ago,
    fill,
    gz,
    ids,
    snapshot,
)
from tests.partitions.tables import add, anatomy, places


@pytest.mark.postgresql
def test_partitions_of_old_months_are_dropped(
    monthly: peewee.Database, folder: Path
) -> None:
    """A month with a partition goes with it, an empty one without a file."""
    fill(monthly, -2, -4, 0)
    retain(monthly, 2, folder)
    names = [piece.name for piece in pieces(monthly, "audit_logs")]
    assert names[:2] == [f"audit_logs_{ago(-1)}", f"audit_logs_{ago(0)}"]
    assert len(snapshot(folder)) == 4


@pytest.mark.postgresql
def test_the_old_piece_goes_once_it_is_past_and_empty(
    server: peewee.Database, folder: Path
) -> None:
    """What was there at the conversion is a partition until its last month is old."""
    cmcore.partitions.convert(server)
    legacy, ahead, *_ = pieces(server, "audit_logs")
    add(server, [ago(-2).start, ago(0).start])
    retain(server, 1, folder)
    assert pieces(server, "audit_logs")[:2] == [legacy, ahead]
    assert places(server) == {legacy.name: 1}
    assert legacy.end is not None
    _as_if_in(Month.of(legacy.end).shifted(1), server, folder)
    assert legacy not in pieces(server, "audit_logs")
    assert ids(server) == []


def _as_if_in(month: Month, db: peewee.Database, folder: Path) -> None:
    """Retain the last month only, in a month to come."""

    class Clock(retention.datetime):  # type: ignore[misc, name-defined]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return month.start.astimezone(tz)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retention, "datetime", Clock)
        retain(db, 1, folder)


@pytest.mark.postgresql
def test_entries_in_the_default_partition_go_too(
    converted: peewee.Database, folder: Path
) -> None:
    """A month without a partition of its own leaves the default one row by row."""
    run(converted, f'DROP TABLE "{pieces(converted, "audit_logs")[0].name}"')
    fill(converted, -2, 0)
    assert places(converted) == {"audit_logs_default": 6}
    assert retain(converted, 1, folder).rows == 3
    assert places(converted) == {"audit_logs_default": 3}


@pytest.mark.postgresql
def test_a_detached_month_is_finished(monthly: peewee.Database, folder: Path) -> None:
    """What a killed run has left beside the trail is archived, even if it is young."""
    fill(monthly, -2)
    run(monthly, f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{ago(-2)}")
    told = retain(monthly, 13, folder, dry_run=True)
    assert retain(monthly, 13, folder) == told
    assert told.months == [(str(ago(-2)), 3, gz(folder, ago(-2)))]
    assert f"audit_logs_{ago(-2)}" not in tables(monthly)


@pytest.mark.postgresql
def test_a_detached_month_that_is_written_to_is_told(
    monthly: peewee.Database, folder: Path
) -> None:
    """Its name is taken until a retention has finished it: nobody adds partitions."""
    fill(monthly, -2, -3)
    retain(monthly, 3, folder)
    run(monthly, f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{ago(-2)}")
    add(monthly, [ago(-2).start], prefix="late-")
    for work in (convert, ensure, lambda db: restore(db, gz(folder, ago(-3)))):
        with pytest.raises(MigrationError, match=f"No partition .*{ago(-2)}"):
            work(monthly)
    assert ids(monthly) == ["late-000000"]
    assert retain(monthly, 1, folder).rows == 4
    assert convert(monthly) == []
    assert restore(monthly, gz(folder, ago(-3))) == 3


@pytest.mark.postgresql
def test_tables_of_the_application_are_left_alone(
    monthly: peewee.Database, folder: Path
) -> None:
    """A copy that somebody made of a month is not a partition that was detached."""
    fill(monthly, -2)
    months = [f"audit_logs_{ago(shift)}" for shift in (-30, -31, -32)]
    others = [*months, "audit_logs_2020_13", f"audit_logs_{ago(9)}"]
    run(monthly, f"CREATE TABLE {others[0]} AS SELECT * FROM audit_logs")
    run(monthly, f"CREATE TABLE {others[1]} (LIKE audit_logs INCLUDING ALL)")
    run(monthly, f"INSERT INTO {others[1]} SELECT * FROM audit_logs")
    run(monthly, f"CREATE TABLE {others[2]} AS SELECT * FROM audit_logs WHERE false")
    for name in others[3:]:
        run(monthly, f"CREATE TABLE {name} (LIKE audit_logs INCLUDING ALL)")
    retain(monthly, 1, folder)
    assert set(others) <= set(tables(monthly))


def tables(db: peewee.Database) -> list[str]:
    """Return the names of all tables."""
    sql = "SELECT relname::text FROM pg_class WHERE relkind = 'r'"
    return [name for (name,) in rows(db, sql)]


@pytest.mark.postgresql
def test_a_month_whose_table_others_need_is_held(
    monthly: peewee.Database, folder: Path
) -> None:
    """It stays in the trail and is named, and the others go."""
    fill(monthly, -2, -3, -4)
    table = f"audit_logs_{ago(-3)}"
    run(monthly, f"CREATE VIEW theirs AS SELECT count(*) FROM {table}")
    run(
        monthly,
        "CREATE TABLE notes (id varchar(36), at timestamptz, FOREIGN KEY"
        " (id, at) REFERENCES audit_logs (id, created_at))",
    )
    run(monthly, f"INSERT INTO notes SELECT id, created_at FROM audit_logs_{ago(-4)}")
    told = retain(monthly, 1, folder)
    assert [month.month for month in told.months] == [str(ago(-2))]
    reasons = {month.month: month.reason for month in told.held}
    assert reasons[str(ago(-3))] == f"view theirs needs {table}. Drop it first."
    assert "notes" in reasons[str(ago(-4))]
    assert len(ids(monthly)) == 6
    run(monthly, "DROP VIEW theirs")
    run(monthly, "DROP TABLE notes")
    assert retain(monthly, 1, folder).rows == 6


@pytest.mark.postgresql
def test_what_is_detached_or_left_of_a_conversion_is_a_fault(
    server: peewee.Database, folder: Path
) -> None:
    """Doctor and report name what was interrupted, and the command that ends it."""
    assert examine_partitions(server) == []
    prepared = conversion._Conversion(server)
    prepared._build()
    prepared._check()
    [finding] = examine_partitions(server)
    assert UNFINISHED in finding.text
    assert "cmcore partition convert" in finding.text
    assert [f.text for f in examine_engine(server) if not f.is_fine] == []
    told = revert(server, dry_run=True)
    assert len(told) == 2
    assert revert(server) == told
    assert examine_partitions(server) == []
    convert(server)
    add_month(server, ago(-1))
    detach_first(server)
    add_month(server, ago(-1))
    run(server, f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{ago(-1)}")
    assert "partition retain" in next(
        f.text for f in examine_partitions(server) if not f.is_fine
    )
    retain(server, 1, folder)
    assert all(f"{ago(-1)}" not in f.text for f in examine_partitions(server))


def detach_first(db: peewee.Database) -> None:
    """Take the partition of what was there before out of the trail."""
    run(db, f'DROP TABLE "{pieces(db, "audit_logs")[0].name}"')


@pytest.mark.postgresql
def test_a_key_that_an_interrupted_conversion_left_does_not_stay(
    server: peewee.Database,
) -> None:
    """Whatever month it names, the next conversion drops it."""
    fresh = anatomy(server)
    run(
        server,
        "CREATE UNIQUE INDEX audit_logs_before_2020_01_pkey"
        " ON audit_logs (id, created_at)",
    )
    assert "9 indexes" in convert(server, dry_run=True)[2]
    convert(server)
    revert(server)
    assert anatomy(server) == fresh
