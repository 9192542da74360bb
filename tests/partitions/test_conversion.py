"""A conversion keeps every entry, name and right, and blocks nobody for long."""

import itertools
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import UNFINISHED, is_partitioned, pieces
from cmcore.errors import (
    ConfigurationError,
    MigrationError,
    PendingMigrationsError,
)
from cmcore.keys import now
from cmcore.layout import quoted
from cmcore.partitions import conversion, convert
from cmcore.partitions.months import Month
from cmcore.schema import history
from cmcore.schema.promise import examine_schema
from tests.conftest import MakeUrl, connected
from tests.partitions.tables import add, anatomy, content, day, places

pytestmark = pytest.mark.postgresql

THIS = Month.of(now())
BOUND = Month.of(now() + conversion._MARGIN).shifted(1)


def names(db: peewee.Database) -> list[str]:
    """Return the names of the partitions, the oldest first."""
    return [piece.name for piece in pieces(db, "audit_logs")]


def test_the_table_becomes_the_first_partition(server: peewee.Database) -> None:
    """What was there is one partition, the next three months and the default follow."""
    add(server, [day(2024, 3, 5), day(2025, 12, 31, hour=23), now()])
    before = content(server)
    told = convert(server)
    assert len(told) == 4
    count = (THIS.shifted(4).start - BOUND.start).days // 28
    ahead = [f"audit_logs_{BOUND.shifted(i)}" for i in range(count)]
    assert names(server) == [
        f"audit_logs_before_{BOUND}",
        *ahead,
        "audit_logs_default",
    ]
    assert content(server) == before
    assert places(server) == {f"audit_logs_before_{BOUND}": 3}


def test_ranges_follow_each_other_without_a_gap(converted: peewee.Database) -> None:
    """Each partition begins where the one before it ends, at midnight UTC."""
    parts = pieces(converted, "audit_logs")[:-1]
    assert parts[0].start is None
    for left, right in itertools.pairwise(parts):
        assert left.end == right.start
        assert right.start is not None
        assert right.name == f"audit_logs_{Month.of(right.start)}"
        assert (right.start, right.end) == (
            Month.of(right.start).start,
            Month.of(right.start).end,
        )


def test_names_constraints_and_comment_are_as_before(server: peewee.Database) -> None:
    """Everything but the key is what it was, under the same names."""
    before = anatomy(server)
    convert(server)
    after = anatomy(server)
    assert after["columns"] == before["columns"]
    assert after["table"] == [("p", *before["table"][0][1:])]

    def without_key(parts: list[Any]) -> list[Any]:
        return [part for part in parts if part[0] != "audit_logs_pkey"]

    assert without_key(after["constraints"]) == without_key(before["constraints"])
    by_name = [name for name, *_ in before["indexes"]]
    assert [name for name, *_ in after["indexes"]] == by_name
    assert all(is_valid for *_, is_valid in after["indexes"])
    key = [text for name, text, *_ in after["constraints"] if name == "audit_logs_pkey"]
    assert key == ["PRIMARY KEY (id, created_at)"]
    assert [f.is_fine for f in examine_schema(server)] == [True]


def test_no_check_of_the_conversion_stays(converted: peewee.Database) -> None:
    """The CHECK that spares the swap a look at all rows is gone everywhere."""
    found = rows(
        converted,
        "SELECT conname FROM pg_constraint WHERE conname = ?",
        (UNFINISHED,),
    )
    assert found == []


def test_a_dry_run_tells_the_same_and_changes_nothing(server: peewee.Database) -> None:
    """It names the steps of the real run."""
    before = anatomy(server)
    told = convert(server, dry_run=True)
    assert anatomy(server) == before
    assert convert(server) == told


def test_progress_counts_the_steps(server: peewee.Database) -> None:
    """It begins at none and ends at all."""
    seen: list[tuple[int, int]] = []
    convert(server, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 4) for i in range(5)]


def test_converting_twice_adds_what_is_missing(converted: peewee.Database) -> None:
    """A second conversion finds nothing to do, or a month that is missing."""
    assert convert(converted) == []
    last = f"audit_logs_{THIS.shifted(3)}"
    converted.execute_sql(f"DROP TABLE {last}")
    assert convert(converted) == [f"Add the partition {last}."]
    assert last in names(converted)


def test_entries_of_later_months_move_the_bound(server: peewee.Database) -> None:
    """An entry of a clock that is ahead belongs to the table that was there."""
    ahead = THIS.shifted(4)
    add(server, [now(), ahead.start])
    convert(server)
    assert names(server)[0] == f"audit_logs_before_{ahead.shifted(1)}"
    assert sum(places(server).values()) == 2


def test_an_entry_of_a_far_year_is_refused(server: peewee.Database) -> None:
    """It would keep all new entries in one partition."""
    add(server, [day(2999, 1)])
    before = anatomy(server)
    with pytest.raises(MigrationError, match="2999"):
        convert(server)
    assert anatomy(server) == before


def test_the_trail_alone_is_converted_too(make_url: MakeUrl) -> None:
    """A database without users of cmcore has no foreign keys to go over."""
    with connected(make_url("postgresql")) as db:
        cmcore.migrate(db, trail_only=True)
        cmcore.record("export", resource_type="reports", description="A report.")
        convert(db)
        cmcore.record("export", resource_type="reports", description="Another one.")
        assert is_partitioned(db, "audit_logs")
        assert cmcore.AuditLog.select().count() == 2
        assert [f.is_fine for f in examine_schema(db)] == [True]


def test_without_a_trail_there_is_nothing_to_convert(make_url: MakeUrl) -> None:
    """The error names the migrations, here and in the other functions."""
    with connected(make_url("postgresql")) as db:
        for function in (convert, cmcore.partitions.revert, cmcore.partitions.ensure):
            with pytest.raises(PendingMigrationsError, match="cmcore migrate"):
                function(db)


def test_an_open_transaction_is_refused(server: peewee.Database) -> None:
    """It would keep its locks until the caller's commit."""
    with server.atomic(), pytest.raises(MigrationError, match="atomic"):
        convert(server)
    assert not is_partitioned(server, "audit_logs")


def test_a_database_that_is_not_connected_is_closed_again(make_url: MakeUrl) -> None:
    """A proxy will do as well."""
    with connected(make_url("postgresql", migrated=True)) as db:
        db.close()
        proxy = peewee.Proxy()
        proxy.initialize(db)
        convert(proxy)
        assert db.is_closed()


@pytest.mark.usefixtures("way")
def test_partitions_are_made_in_the_schema_of_the_trail(make_url: MakeUrl) -> None:
    """An application may have another schema before that one in its search path."""
    with connected(make_url("postgresql", migrated=True)) as db:
        cmcore.record("export", resource_type="reports", description="A report.")
        fresh = anatomy(db)
        db.execute_sql("CREATE SCHEMA app")
        db.execute_sql("CREATE TABLE app.users (id integer)")
        db.execute_sql("SET search_path = app, public")
        convert(db)
        own = "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace"
        assert rows(db, own) == [("users",)]
        assert cmcore.partitions.ensure(db, 4)
        assert cmcore.AuditLog.select().count() == 1
        cmcore.partitions.revert(db)
        assert rows(db, own) == [("users",)]
        db.execute_sql("SET search_path = public")
        assert anatomy(db) == fresh


@pytest.mark.parametrize("schema", ["Tenant-1", "My App", 'a"b'])
def test_a_schema_may_have_any_name(make_url: MakeUrl, schema: str) -> None:
    """Migrations and partitions work where the name of the schema needs quotes."""
    with connected(make_url("postgresql")) as db:
        run(db, f"CREATE SCHEMA {quoted(schema)}")
        run(db, f"SET search_path = {quoted(schema)}")
        cmcore.migrate(db, online=True)
        fresh = anatomy(db)
        convert(db)
        assert cmcore.partitions.ensure(db, 4)
        assert len(cmcore.partitions.report(db).partitions) > 5
        cmcore.partitions.revert(db)
        assert anatomy(db) == fresh
        cmcore.rollback(db, len(history.scripts()))


def test_sqlite_says_what_to_do_instead(make_url: MakeUrl) -> None:
    """The engine without partitions names retain."""
    with connected(make_url("sqlite", migrated=True)) as db:
        for function in (convert, cmcore.partitions.revert, cmcore.partitions.ensure):
            with pytest.raises(ConfigurationError, match="partition retain"):
                function(db)
