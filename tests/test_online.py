"""`migrate(online=True)`: what is made ahead of the scripts, and what comes of it."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import peewee
import pytest
from playhouse.db_url import connect

from cmcore.errors import MigrationError, OrphanRowsError
from cmcore.models.security import COUNTERS
from cmcore.runner import migrate, pending
from cmcore.schema import online, patience
from cmcore.schema.history import load, migrations_path
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump, fetch

PW_MIGRATE = ("-c", "from peewee_migrate.cli import cli; cli()")
FOLDER = ("--directory", str(migrations_path()))

# A name of something that is made ahead, what is there instead, and its script.
IMPOSTORS = [
    (
        "idx_customers_created_by",
        "CREATE INDEX idx_customers_created_by ON customers (created_by DESC)",
        3,
    ),
    (
        "fk_customers_updated_by",
        "ALTER TABLE customers ADD CONSTRAINT fk_customers_updated_by"
        " FOREIGN KEY (updated_by) REFERENCES users (id) ON DELETE CASCADE",
        3,
    ),
    ("deleted_by", "ALTER TABLE audit_logs ADD COLUMN deleted_by VARCHAR(40)", 4),
    (
        "ck_customers_name_length",
        "ALTER TABLE customers ADD CONSTRAINT ck_customers_name_length"
        " CHECK (length(name) > 2)",
        5,
    ),
]


@pytest.fixture
def db(make_url: MakeUrl) -> Iterator[Any]:
    """An empty PostgreSQL database."""
    with stock.opened(make_url, "postgresql") as database:
        yield database


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience, so that giving up does not take long."""
    monkeypatch.setattr(patience, "ATTEMPTS", 3)
    monkeypatch.setattr(patience, "PATIENTLY", "200ms")
    monkeypatch.setattr(patience, "PAUSE", 0.05)


def prepare(db: Any, number: int) -> None:
    """Make ahead what one script would take long for, and do not run it."""
    with online.in_turn(db):
        online.prepare(db, load(SCRIPTS[number - 1]))


def without_order(db: Any) -> list[Any]:
    """Return the schema without the history, sorted."""
    return sorted(map(str, (r for r in dump(db) if "migrations" not in str(r))))


@pytest.mark.postgresql
def test_it_leaves_the_schema_that_the_stock_runner_leaves(
    db: Any, make_url: MakeUrl
) -> None:
    """From nothing and from filled tables, row for row; and all can be rolled back."""
    migrate(db, SCRIPTS[2])
    stock.fill(db)
    rows = stock.contents(db)
    before = dump(db)
    assert migrate(db, online=True) == SCRIPTS[3:]
    added = ("deleted_at", "deleted_by", "auth_epoch", *COUNTERS)
    assert stock.contents(db, without=added) == rows
    with stock.opened(make_url, "postgresql") as other:
        stock.migrate(other)
        expected = without_order(other)
        assert without_order(db) == expected
    stock.rollback_to(db, 3)
    assert dump(db) == before
    with stock.opened(make_url, "postgresql") as other:
        assert migrate(other, online=True) == SCRIPTS
        assert without_order(other) == expected


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [4, 5, 6])
def test_the_stock_runner_finds_everything_done(db: Any, number: int) -> None:
    """After the preparation a script changes nothing but the history."""
    migrate(db, SCRIPTS[number - 2])
    stock.fill(db)
    prepare(db, number)
    seen: list[str] = []
    original = db.execute_sql

    def execute(sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return original(sql, *rest)

    db.execute_sql = execute
    assert stock.migrate(db, number) == [SCRIPTS[number - 1]]
    del db.execute_sql
    changing = ("ALTER TABLE", "CREATE INDEX", "CREATE UNIQUE", "DROP", "LOCK")
    changes = [sql for sql in seen if sql.startswith(changing)]
    assert [sql for sql in changes if "cmcore_probe" not in sql] == []


@pytest.mark.postgresql
def test_the_stock_command_line_has_nothing_left_to_do(make_url: MakeUrl) -> None:
    """`cmcore migrate --online`, then `pw_migrate`: all done, nothing pending."""
    url = make_url("postgresql")
    commands = {
        "migrate": ("-m", "cmcore", "migrate", "--online"),
        "list": (*PW_MIGRATE, "list", *FOLDER),
        "run": (*PW_MIGRATE, "migrate", *FOLDER),
    }
    said = {}
    for name, command in commands.items():
        done = subprocess.run(
            [sys.executable, *command, "--database", url],
            capture_output=True,
            text=True,
            check=True,
        )
        said[name] = done.stdout + done.stderr
    assert said["migrate"].split()[: len(SCRIPTS)] == SCRIPTS
    assert re.search(r"Pending[^\n]*0", said["list"]), said["list"]
    assert said["run"].splitlines()[1:] == ["OK"]


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_it_goes_on_wherever_it_was_stopped(db: Any, number: int) -> None:
    """A failure at any statement: the next attempt, or the stock runner, finishes."""
    migrate(db, SCRIPTS[number - 2])
    stock.fill(db)
    before = dump(db)
    with stock.failing_at(db, 0) as sent:
        prepare(db, number)
        total = sent()
    migrate(db)
    expected = dump(db)
    stock.rollback_to(db, number - 1)
    assert dump(db) == before
    for at in range(1, total + 1):
        with stock.failing_at(db, at), pytest.raises(stock.PlantedError):
            prepare(db, number)
        assert not db.in_transaction()
        assert fetch(db, "SHOW lock_timeout") == [("0",)]
        stock.migrate(db) if at % 2 else migrate(db, online=True)
        assert dump(db) == expected
        stock.rollback_to(db, number - 1)
        assert dump(db) == before


@pytest.mark.postgresql
@pytest.mark.parametrize(("name", "statement", "applied"), IMPOSTORS)
def test_what_has_another_form_is_not_adopted(
    db: Any, name: str, statement: str, applied: int
) -> None:
    """Ahead of a script and in it, something of the same name only is refused."""
    migrate(db, SCRIPTS[applied - 1])
    db.execute_sql(statement)
    before = dump(db)
    with pytest.raises(MigrationError, match=f"{name} already"):
        stock.migrate(db)
    assert dump(db) == before
    with pytest.raises(MigrationError, match=f"was not run.*{name} already"):
        migrate(db, online=True)
    assert pending(db) == SCRIPTS[applied:]


@pytest.mark.postgresql
def test_an_index_that_failed_to_build_is_built_anew(db: Any) -> None:
    """Both ways: an invalid index of the right form is no index."""
    for run in (stock.migrate, lambda db: migrate(db, online=True)):
        migrate(db, SCRIPTS[3])
        db.execute_sql("ALTER TABLE users ADD COLUMN deleted_at TIMESTAMPTZ")
        db.execute_sql(
            "CREATE INDEX idx_users_deleted_at ON users (deleted_at)"
            " WHERE deleted_at IS NOT NULL"
        )
        db.execute_sql(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'idx_users_deleted_at'::regclass"
        )
        run(db)
        assert pending(db) == []
        assert fetch(db, "SELECT 1 FROM pg_index WHERE NOT indisvalid") == []
        stock.rollback_to(db, 3)


@pytest.mark.postgresql
def test_orphans_are_settled_once_there_can_be_no_new_ones(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused without an heir; else given away, and the rollback restores them."""
    migrate(db, SCRIPTS[2])
    stock.insert_user(db, "u1")
    stock.insert_customer(db, "c1", created_by="ghost")
    before = dump(db), stock.contents(db)
    with pytest.raises(OrphanRowsError, match=r"1 row.*fk_customers_created_by"):
        migrate(db, online=True)
    assert (dump(db), stock.contents(db)) == before
    monkeypatch.setenv("CMCORE_ORPHAN_USER", "u1")
    assert migrate(db, online=True) == SCRIPTS[3:]
    assert fetch(db, "SELECT created_by FROM customers") == [("u1",)]
    stock.rollback_to(db, 3)
    assert (dump(db), stock.contents(db)) == before


@pytest.mark.postgresql
def test_rule_breakers_are_refused_before_anything_is_made(db: Any) -> None:
    """As in the script itself, all of them are named."""
    migrate(db, SCRIPTS[4])
    stock.insert_user(db, "u1")
    stock.insert_customer(db, "c1", phone="none", name="x")
    before = dump(db)
    with pytest.raises(MigrationError, match=r"phone_format.*name_length"):
        migrate(db, online=True)
    assert dump(db) == before


@pytest.mark.postgresql
@pytest.mark.usefixtures("quick")
def test_it_gives_up_when_a_table_stays_locked(db: Any, make_url: MakeUrl) -> None:
    """It says so; nobody who came later waited for long, and a rerun goes on."""
    migrate(db, SCRIPTS[4])
    reader: Any = peewee.PostgresqlDatabase(db.database, **db.connect_params)
    with reader.atomic():
        fetch(reader, "SELECT count(*) FROM users")
        with pytest.raises(MigrationError, match="kept a table locked through 3"):
            migrate(db, online=True)
    reader.close()
    assert pending(db) == SCRIPTS[5:]
    assert not db.in_transaction()
    assert migrate(db, online=True) == SCRIPTS[5:]


@pytest.mark.postgresql
def test_it_waits_for_a_lock_and_tries_again(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that ends in time only delays it, and is not waited for in a queue."""
    monkeypatch.setattr(patience, "PAUSE", 0.05)
    migrate(db, SCRIPTS[4])
    options = dict(db.connect_params)
    reader: Any = peewee.PostgresqlDatabase(db.database, **options)
    writer: Any = peewee.PostgresqlDatabase(db.database, **options)
    done: list[list[str]] = []

    def run() -> None:
        other: Any = peewee.PostgresqlDatabase(db.database, **options)
        done.append(migrate(other, online=True))

    with reader.atomic():
        fetch(reader, "SELECT count(*) FROM users")
        thread = threading.Thread(target=run)
        thread.start()
        for _ in range(30):
            writer.execute_sql("UPDATE users SET full_name = 'Some Body'")
            time.sleep(0.02)
        assert done == []
    thread.join(30)
    reader.close()
    writer.close()
    assert done == [SCRIPTS[5:]]


@pytest.mark.postgresql
def test_several_at_once_and_a_stock_runner(make_url: MakeUrl) -> None:
    """They take turns; each script runs once, and nobody of ours fails."""
    url = make_url("postgresql")
    results: list[list[str]] = []

    def run() -> None:
        with connect(url) as database:
            pass
        database.connect()
        results.append(migrate(database, online=True))
        database.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(name for names in results for name in names) == SCRIPTS
    assert len(results) == 3


@pytest.mark.postgresql
def test_limits_of_the_session_are_lifted_and_restored(db: Any) -> None:
    """A role's statement_timeout would end every check of a big table."""
    migrate(db, SCRIPTS[4])
    db.execute_sql("SET statement_timeout = '1min'")
    db.execute_sql("SET lock_timeout = '7s'")
    seen: list[Any] = []
    with online.in_turn(db):
        seen += fetch(db, "SHOW statement_timeout")
    migrate(db, online=True)
    seen += fetch(db, "SHOW statement_timeout") + fetch(db, "SHOW lock_timeout")
    assert seen == [("0",), ("1min",), ("7s",)]
    assert fetch(db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [
        (0,)
    ]


def test_on_sqlite_it_is_the_ordinary_path(make_url: MakeUrl) -> None:
    """The same scripts, the same schema."""
    with stock.opened(make_url, "sqlite") as db:
        assert migrate(db, online=True) == SCRIPTS
        with stock.opened(make_url, "sqlite") as other:
            stock.migrate(other)
            assert dump(db) == dump(other)
