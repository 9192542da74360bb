"""Script 007: what it adds to a database that is in use, and when it refuses to go."""

from collections.abc import Iterator
from typing import Any

import pytest

from cmcore.errors import DataLossRefusedError, MigrationError
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import MOMENT, dump, fetch, migrate, rollback


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """A database at script 006 with rows."""
    with stock.opened(make_url, request.param) as database:
        migrate(database, 6)
        stock.fill(database)
        yield database


ADDED = (
    "failed_login_attempts",
    "last_failed_login",
    "locked_until",
    "auth_epoch",
    "totp_last_step",
    "totp_pending_secret",
    "totp_pending_at",
)


def enable(db: Any) -> None:
    """Switch a second factor on, by SQL."""
    db.execute_sql("UPDATE users SET is_2fa_enabled = TRUE WHERE id = 'u1'")


def add_code(db: Any, key: str = "r1", user: str = "u1") -> None:
    """Insert a recovery code."""
    row = {"id": key, "user_id": user, "code_hash": "0" * 64, "created_at": MOMENT}
    stock.insert(db, "recovery_codes", **row)


def test_rows_that_are_there_get_the_defaults(db: Any) -> None:
    """Nobody is locked, every epoch is 0, and all else stays."""
    before = stock.contents(db)
    migrate(db)
    assert stock.contents(db, without=ADDED) == before
    found = fetch(db, f"SELECT DISTINCT {', '.join(ADDED)} FROM users")  # noqa: S608
    assert found == [(0, None, None, 0, None, None, None)]


def test_the_rollback_restores_schema_and_rows(db: Any) -> None:
    """To the letter, also with counters that moved; and it may run again."""
    rows, schema = stock.contents(db), dump(db)
    for _ in range(2):
        migrate(db)
        db.execute_sql("UPDATE users SET failed_login_attempts = 3, auth_epoch = 2")
        rollback(db)
        assert stock.contents(db) == rows
        assert dump(db) == schema


@pytest.mark.parametrize("keep", [enable, add_code])
def test_the_rollback_refuses_to_forget_second_factors(
    db: Any, monkeypatch: pytest.MonkeyPatch, keep: Any
) -> None:
    """Nothing changes without consent; with it the rows of users stay as they are."""
    migrate(db)
    keep(db)
    before = dump(db), stock.contents(db)
    with pytest.raises(DataLossRefusedError, match="CMCORE_ALLOW_DATA_LOSS=1"):
        rollback(db)
    assert (dump(db), stock.contents(db)) == before
    monkeypatch.setenv("CMCORE_ALLOW_DATA_LOSS", "1")
    rollback(db)
    assert "recovery_codes" not in stock.tables(db)
    assert stock.contents(db) == {
        table: [row[:-7] if table == "users" else row for row in rows]
        for table, rows in before[1].items()
    }


def test_codes_belong_to_a_user_and_go_with_him(db: Any) -> None:
    """The database itself sees to both, where it keeps foreign keys."""
    migrate(db)
    if stock.is_sqlite(db):
        db.execute_sql("PRAGMA foreign_keys = 1")
    add_code(db)
    with pytest.raises(Exception, match=r"(?i)foreign key"), db.atomic():
        add_code(db, "r2", "nobody")
    db.execute_sql("DELETE FROM customers")
    db.execute_sql("DELETE FROM users WHERE id = 'u1'")
    assert fetch(db, "SELECT * FROM recovery_codes") == []


def test_a_table_of_that_name_is_not_taken_over(db: Any) -> None:
    """An application's own `recovery_codes` stops the script, and nothing changes."""
    db.execute_sql("CREATE TABLE recovery_codes (id INTEGER)")
    before = dump(db)
    with pytest.raises(MigrationError, match="has recovery_codes already"):
        migrate(db)
    assert dump(db) == before


def test_a_foreign_key_to_the_codes_stops_the_rollback(db: Any) -> None:
    """It is named, and nothing changes."""
    migrate(db)
    db.execute_sql(
        "CREATE TABLE prints (code VARCHAR(36) REFERENCES recovery_codes (id))"
    )
    before = dump(db)
    with pytest.raises(MigrationError, match="prints"):
        rollback(db)
    assert dump(db) == before
