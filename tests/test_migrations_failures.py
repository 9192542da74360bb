"""A failure anywhere in a script leaves everything as it was."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cmcore.schema.history import FULL_HISTORY
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump, fetch, migrate, rollback

# Every script stands before rows that give it all of its work.
ORPHANS, DELETED = 4, 5


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


@pytest.fixture(autouse=True)
def consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orphans go to u1, and deleted rows may be parked."""
    monkeypatch.setenv("CMCORE_ORPHAN_USER", "u1")
    monkeypatch.setenv("CMCORE_ALLOW_DATA_LOSS", "1")


def everything(db: Any) -> list[Any]:
    """Return schema, rows, history, settings, and whether a transaction is open."""
    tables = [t for t in sorted(stock.tables(db)) if t != FULL_HISTORY]
    rows = [sorted(map(repr, fetch(db, f"SELECT * FROM {t}"))) for t in tables]  # noqa: S608
    names = fetch(db, f"SELECT name FROM {FULL_HISTORY} ORDER BY id")  # noqa: S608
    settings = (
        [db.pragma(name) for name in ("foreign_keys", "legacy_alter_table")]
        if stock.is_sqlite(db)
        else fetch(db, "SHOW lock_timeout")
    )
    return [dump(db), rows, names, settings, db.in_transaction()]


def prepare(db: Any, number: int) -> None:
    """Apply the scripts before one, and insert rows in its way."""
    migrate(db, max(number - 1, 1))
    if number == 1:
        rollback(db)
    if number < ORPHANS:
        return
    stock.fill(db)
    if number == ORPHANS:
        stock.insert_customer(db, "c9", created_by="ghost", updated_by="ghost")
    if number == DELETED:
        migrate(db, number)
        for table in ("customers", "audit_logs"):
            db.execute_sql(f"UPDATE {table} SET deleted_at = created_at")  # noqa: S608
        rollback(db)


@pytest.mark.parametrize("number", range(1, len(SCRIPTS) + 1), ids=SCRIPTS)
def test_a_failure_at_any_operation_changes_nothing(db: Any, number: int) -> None:
    """At each statement, up and down; a rerun works."""
    prepare(db, number)
    for run in (lambda: migrate(db, number), lambda: rollback(db)):
        before = everything(db)
        at = 0
        while fails(db, run, at := at + 1):
            assert everything(db) == before, f"statement {at}"
        assert at > number
        assert everything(db) != before


def fails(db: Any, run: Callable[[], Any], at: int) -> bool:
    """Run with a planted failure; False if there was no statement of that number."""
    with stock.failing_at(db, at):
        try:
            run()
        except stock.PlantedError:
            return True
    return False
