"""The stock runner on cmcore's scripts, and a look at the schema that it leaves."""

# ruff: noqa: S608 - constants of this test

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import peewee
import pytest
from peewee_migrate.router import Router
from playhouse.db_url import connect

from cmcore.schema.history import FULL_HISTORY, applied, migrations_path, scripts
from tests.conftest import MakeUrl

SCRIPTS = scripts()
TARGETS = (
    "sqlite",
    "sqlite with foreign keys",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
)
MOMENT = "2026-01-02 03:04:05.000006+00:00"

Rows = list[tuple[Any, ...]]


@contextlib.contextmanager
def opened(make_url: MakeUrl, target: str, *, migrated: bool = False) -> Iterator[Any]:
    """Connect to a fresh database of one of TARGETS as an application might."""
    engine, _, foreign_keys = target.partition(" ")
    url = make_url(engine, migrated=migrated)
    db: Any = connect(url)
    if foreign_keys:
        path = url.removeprefix("sqlite:///")
        db = peewee.SqliteDatabase(path, pragmas={"foreign_keys": 1})
    db.connect(reuse_if_open=True)
    try:
        yield db
    finally:
        db.close()


def router(db: peewee.Database) -> Router:
    """Return a stock router; it shares its state with those before, which are done."""
    return Router(db, migrate_dir=migrations_path(), migrate_table=FULL_HISTORY)


def migrate(db: peewee.Database, until: str | int | None = None) -> list[str]:
    """Run the scripts that are pending, up to a number."""
    name = SCRIPTS[until - 1] if isinstance(until, int) else until
    done: list[str] = router(db).run(name)
    return done


def rollback(db: peewee.Database, count: int = 1) -> None:
    """Roll the last scripts back."""
    stock = router(db)
    for _ in range(count):
        stock.rollback()


def rollback_to(db: peewee.Database, number: int) -> None:
    """Roll back until as many scripts stay."""
    rollback(db, len(applied(db, FULL_HISTORY)) - number)


def fetch(db: peewee.Database, sql: str, params: Sequence[Any] = ()) -> Rows:
    """Return all rows of a query with `?` for parameters."""
    mark = sql if is_sqlite(db) else sql.replace("?", "%s")
    return list(db.execute_sql(mark, params or None).fetchall())


def is_sqlite(db: peewee.Database) -> bool:
    """Tell the engines apart."""
    return isinstance(db, peewee.SqliteDatabase)


def insert(db: peewee.Database, table: str, **values: Any) -> None:
    """Insert a row by SQL, as other programs do."""
    if table in {"users", "customers", "audit_logs"}:
        values = {"created_at": MOMENT, "updated_at": MOMENT, **values}
    names = ", ".join(values)
    marks = ", ".join("?" if is_sqlite(db) else "%s" for _ in values)
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    db.execute_sql(sql, list(values.values()))


def insert_user(db: peewee.Database, key: str, **values: Any) -> None:
    """Insert a user who keeps all rules."""
    given = {
        "email": f"{key}@example.com",
        "password_hash": "!unusable",
        "full_name": f"User {key}",
        **values,
    }
    insert(db, "users", id=key, **given)


def insert_customer(
    db: peewee.Database, key: str, created_by: str = "u1", **values: Any
) -> None:
    """Insert a customer who keeps all rules."""
    given = {"name": f"Name {key}", "email": f"{key}@example.com", **values}
    insert(db, "customers", id=key, created_by=created_by, **given)


def insert_entry(db: peewee.Database, key: str, **values: Any) -> None:
    """Insert an entry of the trail that keeps all rules."""
    given = {"action": "create", "resource_type": "t", "description": "d", **values}
    insert(db, "audit_logs", id=key, **given)


def fill(db: peewee.Database) -> None:
    """Insert some rows into all three tables, with references of every kind."""
    insert_user(db, "u1")
    insert_user(db, "u2", created_by="u1", updated_by="u2")
    insert_customer(db, "c1", phone="+49 30 1234567", postal_code="10115")
    insert_customer(db, "c2", created_by="u2", updated_by="u1")
    insert_entry(db, "a1", user_id="u1", ip_address="::1", new_values='{"a": [1.5]}')
    insert_entry(db, "a2", created_by="u2", success=False)


def contents(db: peewee.Database, *, without: Sequence[str] = ()) -> dict[str, Rows]:
    """Return the rows of the three tables, in order, some columns left out."""
    found = {}
    for table in ("users", "customers", "audit_logs"):
        names = [c.name for c in db.get_columns(table) if c.name not in without]
        listed = ", ".join(names)
        found[table] = fetch(db, f"SELECT {listed} FROM {table} ORDER BY id")
    return found


def dump(db: peewee.Database) -> Rows:
    """Return the whole schema, text for text, the history table included."""
    if is_sqlite(db):
        return fetch(
            db,
            "SELECT type, name, tbl_name, sql FROM sqlite_master"
            " WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name",
        )
    return [row for sql in _POSTGRESQL_DUMP for row in fetch(db, sql)]


_POSTGRESQL_DUMP = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable,"
    " column_default FROM information_schema.columns WHERE table_schema = 'public'"
    " ORDER BY table_name, ordinal_position",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT relname, relkind, obj_description(oid, 'pg_class') FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    " ORDER BY tgname",
)


def tables(db: peewee.Database) -> set[str]:
    """Return the names of all tables."""
    return set(db.get_tables())


@contextlib.contextmanager
def failing_at(db: Any, number: int) -> Iterator[Callable[[], int]]:
    """Let the statement of that number fail; yields a count of those sent.

    A PRAGMA is not counted: it asks or switches something in memory.
    """
    original, sent = db.execute_sql, 0

    def execute(*args: Any, **options: Any) -> Any:
        nonlocal sent
        sent += not args[0].startswith("PRAGMA")
        if sent == number and not args[0].startswith("PRAGMA"):
            msg = "planted"
            raise PlantedError(msg)
        return original(*args, **options)

    db.execute_sql = execute
    try:
        yield lambda: sent
    finally:
        del db.execute_sql


class PlantedError(Exception):
    """A failure that a test planted."""
