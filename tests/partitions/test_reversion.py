"""revert undoes convert: one table, as it was, with all entries."""

from typing import Any

import peewee
import pytest

from cmcore.engines.catalog import rows
from cmcore.engines.partitioning import is_partitioned, pieces
from cmcore.errors import MigrationError
from cmcore.keys import now
from cmcore.partitions import convert, ensure, reversion, revert
from cmcore.partitions.months import Month
from tests.partitions.tables import add, anatomy, content, day, places

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("way")]

THIS = Month.of(now())


def test_the_table_is_as_it_was(server: peewee.Database) -> None:
    """To the name of every index and constraint, and nothing else is left."""
    add(server, [day(2025, 5), now()])
    before, entries = anatomy(server), content(server)
    convert(server)
    ensure(server, 5)
    told = revert(server, dry_run=True)
    assert is_partitioned(server, "audit_logs")
    assert revert(server) == told
    assert anatomy(server) == before
    assert content(server) == entries


def test_entries_of_all_partitions_move(server: peewee.Database) -> None:
    """Those of later months and of the default partition as well."""
    add(server, [day(2025, 5)] * 3)
    convert(server)
    late = [THIS.shifted(3).start] * 2 + [THIS.shifted(9).start]
    add(server, late, prefix="late")
    before = content(server)
    assert len(places(server)) == 3
    revert(server)
    assert content(server) == before


def test_a_month_may_be_the_largest(converted: peewee.Database) -> None:
    """Years later no first partition is left; the table comes out the same."""
    [first] = [p.name for p in pieces(converted, "audit_logs") if p.start is None][:1]
    add(converted, [THIS.shifted(2).start] * 4 + [THIS.shifted(3).start])
    converted.execute_sql(f"DROP TABLE {first}")
    before = content(converted)
    revert(converted)
    assert content(converted) == before
    there = anatomy(converted)
    convert(converted)
    revert(converted)
    assert anatomy(converted) == there


def test_a_schema_after_years_is_that_of_the_first_day(
    server: peewee.Database,
) -> None:
    """Whichever partition becomes the table."""
    fresh = anatomy(server)
    convert(server)
    [first] = [p.name for p in pieces(server, "audit_logs") if p.start is None][:1]
    add(server, [THIS.shifted(2).start])
    server.execute_sql(f"DROP TABLE {first}")
    revert(server)
    there = anatomy(server)
    for part, found in fresh.items():
        assert sorted(map(str, there[part])) == sorted(map(str, found))


def test_an_id_that_is_there_twice_is_named(converted: peewee.Database) -> None:
    """Two months may have the same id; one table cannot."""
    add(converted, [now()])
    add(converted, [THIS.shifted(3).start])
    before = anatomy(converted)
    with pytest.raises(MigrationError, match="id e000000"):
        revert(converted)
    assert anatomy(converted) == before


def test_a_plain_table_is_left_alone(server: peewee.Database) -> None:
    """There is nothing to do, twice."""
    before = anatomy(server)
    assert revert(server) == []
    assert anatomy(server) == before


def test_progress_ends_at_all_steps(converted: peewee.Database, way: str) -> None:
    """It counts as a conversion does; each partition and index that is made is one."""
    total = 2 if way == "moved" else len(pieces(converted, "audit_logs")) + 13
    seen: list[Any] = []
    revert(converted, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, total) for done in range(total + 1)]


def test_the_number_of_entries_decides_the_way(
    converted: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would have to move counts, and what is in the largest partition does not."""
    add(converted, [day(2025, 5)] * 3)
    add(converted, [THIS.shifted(3).start] * 2, prefix="late")
    monkeypatch.setattr(reversion, "_FEW", 2)
    assert "move 2 entries of" in revert(converted, dry_run=True)[1]
    monkeypatch.setattr(reversion, "_FEW", 1)
    assert "Copy 5 entries of" in revert(converted, dry_run=True)[0]


def test_settings_of_the_table_stay(server: peewee.Database) -> None:
    """How full its pages are, and when it is vacuumed."""
    settings = "fillfactor=70, toast.autovacuum_enabled=false"
    server.execute_sql(f"ALTER TABLE audit_logs SET ({settings})")
    convert(server)
    revert(server)
    sql = (
        "SELECT c.reloptions, t.reloptions FROM pg_class c JOIN pg_class t"
        " ON t.oid = c.reltoastrelid WHERE c.oid = 'audit_logs'::regclass"
    )
    assert rows(server, sql) == [(["fillfactor=70"], ["autovacuum_enabled=false"])]


def test_no_setting_of_the_copy_stays(converted: peewee.Database) -> None:
    """Autovacuum is at work again."""
    revert(converted)
    sql = "SELECT reloptions FROM pg_class WHERE relname = 'audit_logs'"
    assert rows(converted, sql) == [(None,)]
