"""Scripts and the applications that work meanwhile, on PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from playhouse.db_url import connect

from cmcore.errors import MigrationError
from cmcore.runner import migrate, pending, rollback
from cmcore.schema import patience
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump, fetch

pytestmark = pytest.mark.postgresql

WRITE = {
    "users": "UPDATE users SET full_name = 'Some Body' WHERE id = 'u1'",
    "customers": "UPDATE customers SET name = 'Some Body' WHERE id = 'c1'",
    "audit_logs": "INSERT INTO audit_logs (id, action, resource_type, description,"
    " user_id, created_at, updated_at) VALUES (gen_random_uuid(), 'create', 't', 'd',"
    " {user}, now(), now())",
}


@pytest.fixture
def url(make_url: MakeUrl) -> str:
    """The URL of an empty database."""
    return make_url("postgresql")


@pytest.fixture
def db(url: str) -> Iterator[Any]:
    """A connection to it."""
    database: Any = connect(url)
    yield database
    database.close()


@pytest.fixture
def other(url: str) -> Iterator[Any]:
    """Another connection to it, which does not wait for ever."""
    database: Any = connect(url)
    database.execute_sql("SET lock_timeout = '20s'")
    yield database
    database.close()


def beginning(db: Any, sql: str, act: Callable[[], Any]) -> Any:
    """Do something once, right before the first statement that begins with a text."""
    original = db.execute_sql

    def execute(statement: str, *rest: Any) -> Any:
        if statement.startswith(sql):
            db.execute_sql = original
            act()
        return original(statement, *rest)

    db.execute_sql = execute


@pytest.mark.parametrize("number", [4, 5, 6])
@pytest.mark.parametrize("is_forward", [True, False], ids=["forward", "back"])
@pytest.mark.parametrize(
    "tables",
    [("users", "audit_logs"), ("audit_logs", "users"), ("customers", "users")],
    ids=" then ".join,
)
def test_who_is_in_mid_transaction_comes_to_an_end(
    db: Any, other: Any, *, number: int, is_forward: bool, tables: tuple[str, str]
) -> None:
    """A writer that holds one table and wants another: no deadlock, both succeed."""
    migrate(db, SCRIPTS[number - 1 - is_forward])
    stock.fill(db)
    done: list[list[str]] = []

    def run() -> None:
        script = SCRIPTS[number - 1]
        done.append(migrate(db, script) if is_forward else rollback(db))

    thread = threading.Thread(target=run)
    with other.atomic():
        other.execute_sql(WRITE[tables[0]].format(user="NULL"))
        thread.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        while thread.is_alive() and not fetch(other, waiting):
            time.sleep(0.01)
        other.execute_sql(WRITE[tables[1]].format(user="'u1'"))
    thread.join(30)
    assert done == [[SCRIPTS[number - 1]]]


def test_readers_go_on_while_004_runs(db: Any, other: Any) -> None:
    """It keeps writers away, and needs no table for itself."""
    migrate(db, SCRIPTS[2])
    stock.fill(db)
    with other.atomic():
        for table in ("users", "customers", "audit_logs"):
            fetch(other, f"SELECT count(*) FROM {table}")  # noqa: S608
        assert migrate(db, SCRIPTS[3]) == [SCRIPTS[3]]


@pytest.mark.parametrize("is_online", [False, True])
def test_rows_that_came_in_between_are_refused(
    db: Any, other: Any, *, is_online: bool
) -> None:
    """Written after the look at the rows: said so, and the next run names them."""
    migrate(db, SCRIPTS[4])
    stock.fill(db)
    before = dump(db)

    def act() -> None:
        stock.insert_customer(other, "c9", phone="none")

    locking = 'ALTER TABLE "customers" ADD CONSTRAINT' if is_online else "LOCK TABLE"
    beginning(db, locking, act)
    with pytest.raises(MigrationError, match=r"not there before.*ck_customers_phone"):
        migrate(db, online=is_online)
    assert not db.in_transaction()
    assert pending(db) == SCRIPTS[5:]
    assert (dump(db) == before) is not is_online
    with pytest.raises(MigrationError, match=r"phone_format.*'c9'"):
        migrate(db, online=is_online)
    db.execute_sql("DELETE FROM customers WHERE id = 'c9'")
    assert migrate(db, online=is_online) == SCRIPTS[5:]


@pytest.mark.parametrize("number", [4, 5, 6])
def test_a_stock_runner_that_overtakes_the_preparation(
    db: Any, other: Any, number: int
) -> None:
    """It finds what it was about to make, and goes on with the next script."""
    migrate(db, SCRIPTS[number - 2])
    stock.fill(db)
    beginning(db, "ALTER TABLE", lambda: stock.migrate(other, number))
    assert migrate(db, online=True) == SCRIPTS[number:]
    assert pending(db) == []
    assert not db.in_transaction()


def test_another_index_of_the_name_beside_is_kept(db: Any) -> None:
    """What stands where the new index is built, and is not it, is nobody's to drop."""
    migrate(db, SCRIPTS[3])
    db.execute_sql('CREATE INDEX "uq_users_email__cm_next" ON customers (name)')
    with pytest.raises(MigrationError, match="uq_users_email__cm_next already"):
        migrate(db, online=True)
    assert fetch(db, "SELECT to_regclass('\"uq_users_email__cm_next\"') IS NULL") == [
        (False,)
    ]


def test_an_old_transaction_delays_an_index(
    db: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for and tried again; in the end the next run builds it."""
    monkeypatch.setattr(patience, "PATIENTLY", "50ms")
    monkeypatch.setattr(patience, "PAUSE", 0.05)
    monkeypatch.setattr(patience, "ATTEMPTS", 3)
    migrate(db, SCRIPTS[2])
    stock.fill(db)
    with other.atomic():
        other.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        fetch(other, "SELECT count(*) FROM customers")
        for _ in range(2):  # the second finds what the first could not finish
            with pytest.raises(MigrationError, match="kept a table locked through 3"):
                migrate(db, online=True)
    assert migrate(db, online=True) == SCRIPTS[3:]
    assert fetch(db, "SELECT 1 FROM pg_index WHERE NOT indisvalid") == []


def test_an_error_that_is_no_lock_is_not_tried_again(db: Any) -> None:
    """It passes as it is, and the next run goes on."""
    migrate(db, SCRIPTS[3])

    def act() -> None:
        message = "the disk is full"
        raise peewee.OperationalError(message)

    beginning(db, "CREATE INDEX CONCURRENTLY", act)
    with pytest.raises(peewee.OperationalError, match="the disk is full"):
        migrate(db, online=True)
    assert migrate(db, online=True) == SCRIPTS[4:]
