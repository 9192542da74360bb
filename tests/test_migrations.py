"""The six scripts under the stock runner: up, down, and what has to survive it."""

# ruff: noqa: S608 - constants of this test

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from cmcore.engines.catalog import table_comment
from cmcore.errors import MigrationError
from cmcore.schema.history import FULL_HISTORY, migrations_path
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import (
    SCRIPTS,
    dump,
    fetch,
    insert,
    migrate,
    rollback,
    rollback_to,
)
from tests.test_plain_sql import at_the_cursor

PW_MIGRATE = "from peewee_migrate.cli import cli; cli()"


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


@pytest.fixture
def sqlite(make_url: MakeUrl) -> Iterator[Any]:
    """An empty SQLite database with foreign keys on."""
    with stock.opened(make_url, "sqlite with foreign keys") as database:
        yield database


def pw_migrate(url: str, *arguments: str) -> str:
    """Run the stock command line on the packaged folder and return what it said."""
    command = [sys.executable, "-c", PW_MIGRATE, *arguments]
    options = ["--directory", str(migrations_path()), "--database", url]
    done = subprocess.run(
        [*command, *options], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_stock_command_line_runs_and_lists_the_scripts(
    engine: str, make_url: MakeUrl
) -> None:
    """`pw_migrate` takes the history table from conf.py, and nothing is left to do."""
    url = make_url(engine)
    pw_migrate(url, "migrate", "--name", SCRIPTS[0])
    pw_migrate(url, "migrate")
    assert [f"- [x] {name}" for name in SCRIPTS] == pw_migrate(url, "list").split("\n")[
        2:-3
    ]
    assert f"Done: {len(SCRIPTS)}, Pending: 0" in pw_migrate(url, "list")
    pw_migrate(url, "rollback", "--count", str(len(SCRIPTS)))
    assert f"Done: 0, Pending: {len(SCRIPTS)}" in pw_migrate(url, "list")


def test_scripts_apply_one_by_one_or_all_at_once(db: Any) -> None:
    """Both ways lead to the same schema, and a second run applies nothing."""
    assert [migrate(db, name) for name in SCRIPTS] == [[name] for name in SCRIPTS]
    assert migrate(db) == []
    stepwise = dump(db)
    rollback_to(db, 0)
    assert migrate(db) == SCRIPTS
    assert dump(db) == stepwise
    assert fetch(db, f"SELECT name FROM {FULL_HISTORY} ORDER BY id") == [
        (name,) for name in SCRIPTS
    ]


def test_a_rollback_restores_the_schema_to_the_letter(db: Any) -> None:
    """After each single rollback the dump equals the dump before that step."""
    migrate(db, 1)
    rollback(db)
    before = [dump(db)]
    for name in SCRIPTS:
        migrate(db, name)
        before.append(dump(db))
    for expected in reversed(before[:-1]):
        rollback(db)
        assert dump(db) == expected


def test_nothing_is_left_over_but_the_history(db: Any) -> None:
    """Up and down, three times: only the history table stays."""
    for _ in range(3):
        migrate(db)
        rollback_to(db, 0)
        assert stock.tables(db) == {FULL_HISTORY}


def test_rows_come_through_unchanged(db: Any) -> None:
    """Rows are equal before 004, after 006, and after rolling back to 003."""
    migrate(db, 3)
    stock.fill(db)
    before = stock.contents(db)
    migrate(db, 6)
    assert stock.contents(db, without=("deleted_at", "deleted_by")) == before
    migrate(db)
    rollback_to(db, 3)
    assert stock.contents(db) == before


def test_rows_of_an_application_survive(db: Any) -> None:
    """Children with CASCADE, SET NULL and RESTRICT keep their rows and references."""
    migrate(db, 3)
    stock.fill(db)
    for number, action in enumerate(("CASCADE", "SET NULL", "RESTRICT")):
        for parent, key in (("users", "u1"), ("customers", "c1")):
            child = f"child_{parent}_{number}"
            db.execute_sql(
                f"CREATE TABLE {child} (id INTEGER PRIMARY KEY, parent VARCHAR(36)"
                f" REFERENCES {parent} (id) ON DELETE {action})"
            )
            insert(db, child, id=1, parent=key)
    children = sorted(name for name in stock.tables(db) if name.startswith("child"))

    def kept() -> list[Any]:
        return [fetch(db, f"SELECT * FROM {child}") for child in children]

    before = kept()
    migrate(db)
    assert kept() == before
    rollback_to(db, 3)
    assert kept() == before
    own = fetch(db, "SELECT created_by, updated_by FROM users WHERE id = 'u2'")
    assert own == [("u1", "u2")]


def test_objects_of_an_application_survive_on_sqlite(sqlite: Any) -> None:
    """Views, triggers here and elsewhere, and indexes exist and work afterwards."""
    migrate(sqlite, 3)
    stock.fill(sqlite)
    for statement in (
        "CREATE TABLE log (what TEXT)",
        "CREATE VIEW names AS SELECT id, full_name FROM users",
        "CREATE TRIGGER here AFTER UPDATE OF city ON customers"
        " BEGIN INSERT INTO log VALUES ('city ' || new.city); END",
        "CREATE TRIGGER there AFTER DELETE ON log"
        " BEGIN UPDATE users SET full_name = 'Touched' WHERE id = 'u1'; END",
        "CREATE INDEX app_index ON customers (lower(city)) WHERE city IS NOT NULL",
    ):
        sqlite.execute_sql(statement)
    mine = ("names", "here", "there", "app_index")

    def objects() -> list[Any]:
        return [row for row in dump(sqlite) if row[1] in mine]

    before = objects()
    for _ in range(2):
        migrate(sqlite)
        assert objects() == before
        _assert_application_works(sqlite)
        rollback_to(sqlite, 3)
        assert objects() == before
    _assert_application_works(sqlite)


def _assert_application_works(db: Any) -> None:
    db.execute_sql("UPDATE customers SET city = 'Ulm' WHERE id = 'c1'")
    assert fetch(db, "SELECT what FROM log") == [("city Ulm",)]
    db.execute_sql("DELETE FROM log")
    assert ("u1", "Touched") in fetch(db, "SELECT * FROM names")
    plan = fetch(
        db,
        "EXPLAIN QUERY PLAN SELECT id FROM customers"
        " WHERE lower(city) = 'ulm' AND city IS NOT NULL",
    )
    assert "app_index" in plan[0][-1]
    assert fetch(db, "PRAGMA integrity_check") == [("ok",)]
    assert fetch(db, "PRAGMA foreign_key_check") == []


def rollback_of_nothing(db: Any) -> None:
    """Leave the history table behind, and nothing else."""
    migrate(db, 1)
    rollback(db)


@pytest.mark.parametrize(
    ("number", "statement", "name"),
    [
        (1, "CREATE TABLE customers (id INTEGER)", "customers"),
        (2, "CREATE VIEW users AS SELECT 1 AS id", "users"),
        (3, "CREATE TABLE audit_logs (id INTEGER)", "audit_logs"),
        (1, "CREATE INDEX idx_customers_name ON mine (n)", "idx_customers_name"),
        (2, "CREATE INDEX uq_users_email ON mine (n)", "uq_users_email"),
        (3, "CREATE INDEX idx_audit_resource ON mine (n)", "idx_audit_resource"),
    ],
)
def test_names_that_are_taken_are_refused(
    db: Any, number: int, statement: str, name: str
) -> None:
    """A table, view or index that is not ours is never adopted."""
    db.execute_sql("CREATE TABLE mine (n INTEGER)")
    rollback_of_nothing(db)
    if number > 1:
        migrate(db, number - 1)
    db.execute_sql(statement)
    before = dump(db)
    with pytest.raises(MigrationError, match=f"has {name} already"):
        migrate(db, number)
    assert dump(db) == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW names AS SELECT id FROM {table}",
        "CREATE TABLE child (parent VARCHAR(36) REFERENCES {table} (id))",
    ],
    ids=["view", "foreign key"],
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_table_that_is_needed_is_not_dropped(
    db: Any, statement: str, number: int
) -> None:
    """A rollback that would break an application's view or foreign key is refused."""
    migrate(db, number)
    table = ("customers", "users", "audit_logs")[number - 1]
    db.execute_sql(statement.format(table=table))
    before = dump(db)
    with pytest.raises(MigrationError, match=table):
        rollback(db)
    assert dump(db) == before


def test_a_table_that_a_trigger_elsewhere_needs_is_not_dropped(sqlite: Any) -> None:
    """SQLite would notice only when the trigger fires."""
    migrate(sqlite, 3)
    sqlite.execute_sql("CREATE TABLE mine (n INTEGER)")
    sqlite.execute_sql(
        "CREATE TRIGGER spy AFTER INSERT ON mine BEGIN DELETE FROM audit_logs; END"
    )
    with pytest.raises(MigrationError, match="trigger spy mentions audit_logs"):
        rollback(sqlite)
    assert "audit_logs" in stock.tables(sqlite)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW mine AS SELECT id, deleted_at FROM customers",
        "CREATE INDEX mine ON customers (deleted_at, name)",
        "CREATE INDEX mine ON customers (name) WHERE deleted_by IS NULL",
    ],
    ids=["view", "index", "condition"],
)
def test_a_column_that_is_needed_is_not_dropped(db: Any, statement: str) -> None:
    """005 goes back only when nothing of an application's would go or break with it."""
    migrate(db, 5)
    db.execute_sql(statement)
    before = dump(db)
    with pytest.raises(MigrationError, match=r"005_.*mine"):
        rollback(db)
    assert dump(db) == before
    db.execute_sql(f"DROP {statement.split()[1]} mine")
    rollback(db)


def test_a_foreign_key_to_an_address_keeps_it_unique(db: Any) -> None:
    """005 would take its target away, so it refuses and names the foreign key."""
    migrate(db, 4)
    db.execute_sql(
        "CREATE TABLE letters (recipient VARCHAR(255) REFERENCES users (email))"
    )
    before = dump(db)
    with pytest.raises(
        MigrationError, match=r"need uq_users_email: letters\.recipient"
    ):
        migrate(db)
    assert dump(db) == before


def test_comments_can_be_read_at_every_script(db: Any) -> None:
    """Each table says what it is for, on both engines, from its creation on."""
    for name in SCRIPTS:
        migrate(db, name)
        assert table_comment(db, "customers") == (
            "Customer records with contact information, classification, and audit trail"
        )
    assert table_comment(db, "users") == (
        "User accounts with authentication and role information"
    )
    assert table_comment(db, "audit_logs") == (
        "Comprehensive audit log for all system activities and security events"
    )
    proxy = peewee.Proxy()
    proxy.initialize(db)
    assert table_comment(proxy, "users") == table_comment(db, "users")
    assert table_comment(db, FULL_HISTORY) is None
    assert table_comment(db, "nowhere") is None


def test_the_system_user_cannot_log_in(db: Any) -> None:
    """002 inserts an inactive user with a hash that no password has."""
    migrate(db, 2)
    found = fetch(
        db, "SELECT id, email, password_hash, full_name, role, is_active FROM users"
    )
    assert found == [
        ("system", "system@cmcore.invalid", "!unusable-password", "System", "client", 0)
    ]


def test_deleting_users_follows_the_foreign_keys(db: Any) -> None:
    """RESTRICT keeps who created a customer; every other reference becomes NULL."""
    if stock.is_sqlite(db):
        db.pragma("foreign_keys", 1)
    migrate(db)
    stock.fill(db)
    with pytest.raises(peewee.IntegrityError):
        db.execute_sql("DELETE FROM users WHERE id = 'u2'")
    db.execute_sql("UPDATE customers SET created_by = 'u1', deleted_by = 'u2'")
    db.execute_sql("UPDATE audit_logs SET user_id = 'u2', updated_by = 'u2'")
    db.execute_sql("UPDATE users SET created_by = 'u2', updated_by = 'u2'")
    db.execute_sql("DELETE FROM users WHERE id = 'u2'")
    for table, columns in {
        "users": "created_by, updated_by",
        "customers": "deleted_by",
        "audit_logs": "user_id, created_by, updated_by",
    }.items():
        values = {v for row in fetch(db, f"SELECT {columns} FROM {table}") for v in row}
        assert values == {None}, table


def test_an_address_is_unique_among_live_rows(db: Any) -> None:
    """From 005 on a deleted row does not own its address."""
    migrate(db)
    stock.insert_user(db, "u1", deleted_at=stock.MOMENT)
    stock.insert_user(db, "u2", email="u1@example.com")
    with pytest.raises(peewee.IntegrityError):
        stock.insert_user(db, "u3", email="u1@example.com")


@pytest.mark.postgresql
def test_everything_is_valid_on_postgresql(make_url: MakeUrl) -> None:
    """Every constraint is validated, every index valid, every name short enough."""
    with stock.opened(make_url, "postgresql") as db:
        migrate(db)
        names = fetch(
            db,
            "SELECT conname, convalidated FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace UNION ALL"
            " SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
            " WHERE indrelid IN ('users'::regclass, 'customers'::regclass,"
            " 'audit_logs'::regclass)",
        )
    assert len(names) > 40
    assert [name for name, valid in names if not valid or len(name) > 63] == []


def test_no_name_is_cut_by_postgresql(sqlite: Any) -> None:
    """Every name in the schema has at most 63 characters."""
    migrate(sqlite)
    assert [row[1] for row in dump(sqlite) if len(row[1]) > 63] == []


def test_later_runs_execute_no_earlier_script(sqlite: Any) -> None:
    """With five scripts applied, the sixth sends no statement of the others."""
    migrate(sqlite, 5)
    seen: list[str] = []
    sqlite.connection().set_trace_callback(seen.append)
    migrate(sqlite, 6)
    sqlite.connection().set_trace_callback(None)
    made = [sql for sql in seen if sql.lstrip().startswith("CREATE TABLE")]
    assert [sql.split('"')[1].rsplit("__")[0] for sql in made] == [
        "cmcore_migrations",
        "audit_logs",
        "customers",
        "users",
    ]
    assert not [sql for sql in seen if "unusable-password" in sql]


CHANGES = ("CREATE", "ALTER", "DROP", "COMMENT", "INSERT", "UPDATE", "DELETE")


def test_the_newest_script_sends_nothing_of_the_others(db: Any) -> None:
    """After all the others, its statements alone reach the cursor; then none do."""

    def changes(*numbers: int) -> set[str]:
        with at_the_cursor(db) as sent:
            for number in numbers:
                migrate(db, number)
        texts = [item if isinstance(item, str) else item[0] for item in sent]
        found = {" ".join(text.split()) for text in texts}
        return {t for t in found if t.startswith(CHANGES) and FULL_HISTORY not in t}

    *others, newest = range(1, len(SCRIPTS) + 1)
    earlier, later = changes(*others), changes(newest)
    assert len(earlier) > len(others)
    assert later
    assert earlier & later == set()
    assert changes(newest) == set()


def test_a_fake_run_records_and_creates_nothing(db: Any) -> None:
    """`--fake` fills the history and leaves the database alone."""
    stock.router(db).run(fake=True)
    assert stock.tables(db) == {FULL_HISTORY}
    assert migrate(db) == []
