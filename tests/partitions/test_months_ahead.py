"""ensure adds months that are missing, and nothing else; also as a function in SQL."""

from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.partitioning import pieces
from cmcore.errors import ConfigurationError, MigrationError
from cmcore.keys import now
from cmcore.partitions import ensure
from cmcore.partitions.months import Month
from cmcore.partitions.pieces import add_month, detach, function
from tests.conftest import MakeUrl, connected
from tests.partitions.tables import add, anatomy, content, day, places
from tests.partitions.threads import beside, writing

pytestmark = pytest.mark.postgresql

THIS = Month.of(now())


def names(db: peewee.Database) -> list[str]:
    """Return the names of the partitions, the oldest first."""
    return [piece.name for piece in pieces(db, "audit_logs")]


def test_it_adds_the_months_that_are_missing(converted: peewee.Database) -> None:
    """Three by default; a second call adds nothing, more months the further ones."""
    ahead = [f"audit_logs_{THIS.shifted(n)}" for n in (1, 2, 3)]
    assert names(converted)[-4:-1] == ahead
    for name in ahead[1:]:
        converted.execute_sql(f"DROP TABLE {name}")
    assert ensure(converted) == ahead[1:]
    assert ensure(converted) == []
    further = [f"audit_logs_{THIS.shifted(n)}" for n in (4, 5)]
    assert ensure(converted, 5, dry_run=True) == further
    assert further[0] not in names(converted)
    assert ensure(converted, 5) == further
    assert ensure(converted, months=5) == []


def test_a_new_partition_is_like_the_others(converted: peewee.Database) -> None:
    """Same columns, constraints, number of indexes, and owner."""
    [name] = ensure(converted, 4)
    new, whole = anatomy(converted, name), anatomy(converted)
    assert new["columns"] == whole["columns"]
    assert new["table"][0][1] == whole["table"][0][1]
    assert len(new["indexes"]) == len(whole["indexes"])
    texts = sorted(text for _, text, *_ in whole["constraints"])
    assert sorted(text for _, text, *_ in new["constraints"]) == texts
    loose = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert rows(converted, loose) == [(0,)]


def test_the_default_partition_is_emptied(converted: peewee.Database) -> None:
    """Entries of months without a partition get one each, and are found as before."""
    late = [THIS.shifted(6).start, THIS.shifted(6).start, THIS.shifted(30).start]
    add(converted, late)
    before = content(converted)
    assert places(converted) == {"audit_logs_default": 3}
    assert ensure(converted) == [f"audit_logs_{THIS.shifted(n)}" for n in (6, 30)]
    assert content(converted) == before
    assert places(converted) == {
        f"audit_logs_{THIS.shifted(6)}": 2,
        f"audit_logs_{THIS.shifted(30)}": 1,
    }


def test_a_month_of_long_ago_is_added(converted: peewee.Database) -> None:
    """Unless there is a partition that takes its rows."""
    old = Month(2019, 12)
    assert add_month(converted, old) == []
    [first] = [p.name for p in pieces(converted, "audit_logs") if p.start is None][:1]
    detach(converted, first)
    assert add_month(converted, old) == ["audit_logs_2019_12"]
    add(converted, [day(2019, 12, 31, hour=23, minute=59)])
    assert places(converted) == {"audit_logs_2019_12": 1}


def test_the_function_in_sql_does_the_same(converted: peewee.Database) -> None:
    """It can be installed again and again, and called without arguments."""
    for _ in range(2):
        converted.execute_sql(function().replace("%", "%%"))
    call = "SELECT create_audit_log_partition"
    last = f"audit_logs_{THIS.shifted(3)}"
    converted.execute_sql(f"DROP TABLE {last}")
    assert rows(converted, f"{call}()") == [(last,)]
    assert rows(converted, f"{call}()") == []
    assert rows(converted, f"{call}(4)") == [(f"audit_logs_{THIS.shifted(4)}",)]


def test_the_function_finds_the_trail_from_any_schema(
    converted: peewee.Database,
) -> None:
    """A scheduler may have another search path and time zone than the application."""
    converted.execute_sql(function().replace("%", "%%"))
    with converted.atomic():
        converted.execute_sql("SET LOCAL search_path = pg_catalog")
        converted.execute_sql("SET LOCAL timezone = 'Pacific/Kiritimati'")
        converted.execute_sql("SET LOCAL datestyle = 'German'")
        found = rows(converted, "SELECT public.create_audit_log_partition(4)")
    assert found == [(f"audit_logs_{THIS.shifted(4)}",)]
    [piece] = [p for p in pieces(converted, "audit_logs") if p.name == found[0][0]]
    assert piece.start == THIS.shifted(4).start


def test_a_table_that_has_the_name_is_refused(converted: peewee.Database) -> None:
    """It is not ours to attach; nothing is changed."""
    name = f"audit_logs_{THIS.shifted(4)}"
    converted.execute_sql(f"CREATE TABLE {name} (id integer)")
    before = names(converted)
    with pytest.raises(MigrationError, match=name):
        ensure(converted, 5)
    assert names(converted) == before


@pytest.mark.parametrize("months", [0, -1, 1.5, True, "3"])
def test_months_are_a_number_from_one(converted: Any, months: Any) -> None:
    """Anything else is named."""
    with pytest.raises(ConfigurationError, match="months is"):
        ensure(converted, months)


def test_a_plain_table_has_no_months(server: peewee.Database) -> None:
    """The error names convert."""
    with pytest.raises(ConfigurationError, match="partition convert"):
        ensure(server)


def test_many_at_once_beside_writers(make_url: MakeUrl) -> None:
    """Each month is added once, no entry is lost, and nobody sees an error."""
    with connected(make_url("postgresql", migrated=True)) as db:
        cmcore.partitions.convert(db)
        found: list[str] = []
        with writing(db) as written:
            beside(db, *[lambda: found.extend(ensure(db, 12))] * 3)
        assert sorted(found) == [f"audit_logs_{THIS.shifted(n)}" for n in range(4, 13)]
        assert cmcore.AuditLog.select().count() == sum(written)
