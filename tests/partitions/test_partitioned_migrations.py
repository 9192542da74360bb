"""Every script runs forward and back over a partitioned trail, and after a revert."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.partitioning import is_partitioned
from cmcore.errors import DataLossRefusedError
from cmcore.partitions import convert, revert
from cmcore.schema.promise import examine_schema
from cmcore.schema.tables import ALLOW_DATA_LOSS
from tests import stock
from tests.conftest import MakeUrl
from tests.partitions.tables import anatomy
from tests.stock import SCRIPTS

pytestmark = pytest.mark.postgresql

FIRST = 3  # makes the trail
SOFT_DELETE = 5
CONVERTIBLE = range(FIRST, len(SCRIPTS) + 1)


@pytest.fixture
def db(make_url: MakeUrl) -> Iterator[Any]:
    """An empty database, opened as an application might."""
    with stock.opened(make_url, "postgresql") as database:
        yield database


@pytest.fixture
def plain(make_url: MakeUrl) -> Iterator[Any]:
    """Another one, whose trail stays one table."""
    with stock.opened(make_url, "postgresql") as database:
        yield database


def assert_alike(partitioned: Any, plain: Any) -> None:
    """Check that two trails differ in nothing but the key and the kind of the table."""
    one, other = anatomy(partitioned), anatomy(plain)
    assert is_partitioned(partitioned, "audit_logs")
    assert one["columns"] == other["columns"]
    assert one["table"][0][1:] == other["table"][0][1:]
    for part in ("constraints", "indexes"):
        kept = [
            [(name, text.replace(" ONLY", "")) for name, text, *_ in each[part]]
            for each in (one, other)
        ]
        assert [item for item in kept[0] if item[0] != "audit_logs_pkey"] == [
            item for item in kept[1] if item[0] != "audit_logs_pkey"
        ]
    assert [f.is_fine for f in examine_schema(partitioned)] == [True]


@pytest.mark.parametrize("number", CONVERTIBLE)
@pytest.mark.parametrize("online", [False, True])
def test_later_scripts_run_over_partitions(
    db: Any, plain: Any, number: int, *, online: bool
) -> None:
    """Converted after any script: the rest goes forward, back, and forward again."""
    stock.migrate(db, number)
    stock.migrate(plain)
    stock.fill(db)
    before = stock.contents(db)["audit_logs"]
    convert(db)
    assert len(before) == 2
    assert stock.contents(db)["audit_logs"] == before
    cmcore.migrate(db, online=online)
    assert_alike(db, plain)
    stock.rollback_to(db, FIRST)
    stock.rollback_to(plain, FIRST)
    assert_alike(db, plain)
    cmcore.migrate(db, online=online)
    stock.migrate(plain)
    assert_alike(db, plain)
    added = () if number >= SOFT_DELETE else ("deleted_at", "deleted_by")
    assert stock.contents(db, without=added)["audit_logs"] == before


@pytest.mark.parametrize("number", CONVERTIBLE)
def test_reverted_at_any_script_it_is_the_plain_table(
    db: Any, plain: Any, number: int
) -> None:
    """Whatever ran in between, a revert leaves the schema of a database without it."""
    stock.migrate(db, FIRST)
    stock.fill(db)
    convert(db)
    if number > FIRST:
        stock.migrate(db, number)
    stock.migrate(plain, number)
    rows = stock.contents(db)
    revert(db)
    assert stock.dump(db) == stock.dump(plain)
    assert stock.contents(db) == rows
    stock.rollback_to(db, FIRST)
    stock.rollback_to(plain, FIRST)
    assert stock.dump(db) == stock.dump(plain)


def test_the_trail_with_entries_is_not_dropped(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last rollback refuses; with leave to lose rows all partitions go."""
    stock.migrate(db, FIRST)
    stock.insert_entry(db, "a1")
    convert(db)
    with pytest.raises(DataLossRefusedError, match="1 row"):
        stock.rollback(db)
    monkeypatch.setenv(ALLOW_DATA_LOSS, "1")
    stock.rollback(db)
    assert not [name for name in stock.tables(db) if name.startswith("audit_logs")]
    stock.migrate(db)
    assert not is_partitioned(db, "audit_logs")


def test_deleted_entries_are_parked_and_put_back(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollback of 005 moves them out of the partitions, and 005 back."""
    stock.migrate(db, 6)
    stock.fill(db)
    convert(db)
    db.execute_sql("UPDATE audit_logs SET deleted_at = now() WHERE id = 'a1'")
    rows = stock.contents(db)["audit_logs"]
    monkeypatch.setenv(ALLOW_DATA_LOSS, "1")
    stock.rollback_to(db, 4)
    assert len(stock.contents(db)["audit_logs"]) == 1
    stock.migrate(db)
    assert stock.contents(db)["audit_logs"] == rows


def test_parity_with_the_models_holds(converted: peewee.Database) -> None:
    """What the models declare is there; a second migrate finds nothing to do."""
    assert cmcore.pending(converted) == []
    assert cmcore.migrate(converted) == []
    fields = {field.column_name for field in cmcore.AuditLog._meta.sorted_fields}
    assert {column.name for column in converted.get_columns("audit_logs")} == fields
