"""`report`: how many entries there are, where, and how much they take."""

from datetime import UTC
from pathlib import Path

import peewee
import pytest

import cmcore
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import pieces
from cmcore.errors import PendingMigrationsError
from cmcore.partitions import Partition, report, retain
from tests.partitions.old_months import ago, fill
from tests.partitions.tables import add, places


def test_a_plain_table_is_one_partition(database: peewee.Database) -> None:
    """Rows are counted, months are told in order, and the size is one of a table."""
    fill(database, -1, -14, count=5)
    fill(database, 0)
    found = report(database)
    [table] = found.partitions
    assert table == Partition("audit_logs", 13, table.bytes, None, None)
    assert found.total_bytes == table.bytes > 4096
    assert found.default_rows == 0
    assert found.growth == [(str(ago(-14)), 5), (str(ago(-1)), 5), (str(ago(0)), 3)]


def test_an_empty_trail_has_no_growth(trail: peewee.Database) -> None:
    """Without entries there are partitions and no months."""
    found = report(trail)
    assert found.growth == []
    assert sum(partition.rows for partition in found.partitions) == 0


@pytest.mark.postgresql
def test_each_partition_is_told(monthly: peewee.Database) -> None:
    """Name, rows, size and bounds of each one, and what is in the default one."""
    fill(monthly, -1, -2)
    add(monthly, [ago(-40).start], prefix="old")
    found = report(monthly)
    parts = pieces(monthly, "audit_logs")
    assert [(p.name, p.start, p.end) for p in found.partitions] == [
        (p.name, p.start, p.end) for p in parts
    ]
    assert {p.name: p.rows for p in found.partitions if p.rows} == places(monthly)
    assert found.default_rows == 1
    assert found.total_bytes == sum(p.bytes for p in found.partitions)
    assert all(p.bytes > 0 for p in found.partitions)
    assert found.growth == [(str(ago(-40)), 1), (str(ago(-2)), 3), (str(ago(-1)), 3)]


@pytest.mark.postgresql
def test_bounds_are_in_utc(monthly: peewee.Database) -> None:
    """Whatever zone an application's own session has."""
    run(monthly, "SET TimeZone = 'Asia/Tokyo'")
    bounds = [b for p in report(monthly).partitions for b in (p.start, p.end) if b]
    assert ago(-2).start in bounds
    assert {bound.tzinfo for bound in bounds} == {UTC}


def test_it_works_in_a_transaction_and_without_a_connection(
    database: peewee.Database,
) -> None:
    """It reads only, so it may stand anywhere."""
    fill(database, -1)
    with database.atomic():
        inside = report(database)
    database.close()
    assert report(database) == inside
    assert database.is_closed()
    database.connect()


def test_it_needs_the_trail(empty_database: peewee.Database) -> None:
    """Before the migrations there is nothing to tell."""
    with pytest.raises(PendingMigrationsError):
        report(empty_database)


def test_it_shows_what_retention_leaves(trail: peewee.Database, tmp_path: Path) -> None:
    """After a retention only the kept months are there."""
    fill(trail, 0, -2)
    retain(trail, 1, tmp_path)
    assert report(trail).growth == [(str(ago(0)), 3)]


def test_the_size_without_a_table_of_sizes(
    database: peewee.Database, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite may be built without the table that tells sizes: the file's is told."""
    if engine == "sqlite":
        sql = "cmcore.engines.sqlite_lines._SIZES"
        monkeypatch.setattr(sql, "SELECT sum(pgsize) FROM no_such WHERE name = ?")
    run(database, "CREATE TABLE other (n INTEGER)")
    assert cmcore.partitions.report(database).total_bytes > 4096
