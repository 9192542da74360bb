"""The index of customers by parts of words: made, found by queries, dropped."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.errors import ConfigurationError, MigrationError, PendingMigrationsError
from cmcore.models import Customer
from cmcore.schema import search_index
from cmcore.schema.promise import examine_schema
from cmcore.schema.search_index import NAME, create, drop
from tests import stock
from tests.conftest import MakeUrl, connected
from tests.stock import dump, fetch

BUILD = "Build idx_customers_search on customers (name, email, phone), beside writers."
ADD = "Create the extension pg_trgm."
DROP = "Drop idx_customers_search."
FIELDS = (Customer.name, Customer.email, Customer.phone)

pytestmark = pytest.mark.postgresql


@pytest.fixture
def db(make_url: MakeUrl) -> Iterator[Any]:
    """A database of PostgreSQL with all migrations applied."""
    with connected(make_url("postgresql", migrated=True)) as database:
        yield database


def fill(db: Any) -> None:
    """Insert customers, so many that an index pays."""
    db.execute_sql(
        "INSERT INTO customers (id, name, email, phone, created_at, updated_at,"
        " created_by) SELECT n, 'Customer ' || n, n || '@example.org',"
        " '+49 ' || 10000 + n, now(), now(), 'system' FROM generate_series(1, 5000) n"
    )
    db.execute_sql("ANALYZE customers")


def plan(db: Any, query: Any) -> str:
    """Return the plan of a query."""
    sql, parameters = query.sql()
    return str(db.execute_sql(f"EXPLAIN {sql}", parameters).fetchall())


def test_it_is_made_and_dropped(db: Any) -> None:
    """The first call makes or drops it and says so, a second one has nothing to do."""
    before = dump(db)
    assert create(db) == [ADD, BUILD]
    assert create(db) == []
    assert drop(db) == [DROP]
    assert drop(db) == []
    assert dump(db) == before
    assert create(db) == [BUILD]


def test_a_rehearsal_changes_nothing(db: Any) -> None:
    """With `dry_run` the same is told, and not done."""
    before = dump(db)
    assert create(db, dry_run=True) == [ADD, BUILD]
    assert fetch(db, "SELECT extname FROM pg_extension") == [("plpgsql",)]
    assert dump(db) == before
    create(db)
    before = dump(db)
    assert drop(db, dry_run=True) == [DROP]
    assert dump(db) == before


def test_plain_queries_are_answered_through_it(db: Any) -> None:
    """Parts of any of the columns, among live rows, and beginnings as well."""
    fill(db)
    create(db)
    with cmcore.acting_as("system"):
        Customer.create(
            name="Ada Lovelace", email="a@example.org", phone="+44 20 7946 0"
        )
        Customer.create(name="Ada Loved", email="b@example.org").delete_instance()
    queries = [
        *(Customer.select().where(field.contains("love")) for field in FIELDS),
        Customer.select().where(Customer.name.startswith("ada")),
        Customer.with_deleted().where(Customer.name.contains("love")),
        Customer.select().where(
            Customer.name.contains("7946 0")
            | Customer.email.contains("7946 0")
            | Customer.phone.contains("7946 0")
        ),
    ]
    assert [NAME in plan(db, query) for query in queries] == [True] * len(queries)
    assert [len(query) for query in queries] == [1, 0, 0, 1, 2, 1]


def test_one_that_failed_to_build_is_built_anew(db: Any) -> None:
    """An invalid index of the right form is no index; it can be dropped as well."""
    spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
    create(db)
    db.execute_sql(spoil, (NAME,))
    assert create(db) == [BUILD]
    assert fetch(db, "SELECT 1 FROM pg_index WHERE NOT indisvalid") == []
    db.execute_sql(spoil, (NAME,))
    assert drop(db) == [DROP]


def test_a_build_that_fails_leaves_nothing(db: Any) -> None:
    """Who does not own the table is told so, and finds no invalid index afterwards."""
    db.execute_sql("CREATE EXTENSION pg_trgm")
    before = dump(db)
    db.execute_sql("SET ROLE pg_read_all_data")
    with pytest.raises(MigrationError, match="was not built: must be owner of table"):
        create(db)
    db.execute_sql("RESET ROLE")
    assert dump(db) == before


def test_what_has_its_name_is_left_alone(db: Any) -> None:
    """Another index of that name is neither adopted nor dropped."""
    db.execute_sql(f"CREATE INDEX {NAME} ON customers (name, email)")
    before = dump(db)
    for work in (create, drop):
        with pytest.raises(MigrationError, match=f"has {NAME} already"):
            work(db)
    assert dump(db) == before


def test_the_extension_may_live_in_a_schema_of_its_own(db: Any) -> None:
    """Its operators need not be reachable by unqualified names."""
    db.execute_sql("CREATE SCHEMA tools")
    db.execute_sql("CREATE EXTENSION pg_trgm SCHEMA tools")
    fill(db)
    assert create(db) == [BUILD]
    assert create(db) == []
    assert NAME in plan(db, Customer.select().where(Customer.name.contains("love")))
    assert drop(db) == [DROP]


def test_a_server_without_the_extension_is_told(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setattr(search_index, "EXTENSION", "cmcore_absent")
    before = dump(db)
    with pytest.raises(
        ConfigurationError, match=r"no extension cmcore_absent.*contrib"
    ):
        create(db)
    assert dump(db) == before


def test_a_role_that_may_not_add_the_extension_is_told(db: Any) -> None:
    """The error says who can, and how."""
    db.execute_sql("SET ROLE pg_read_all_data")
    with pytest.raises(
        ConfigurationError, match=r"may not add.*CREATE EXTENSION pg_tr"
    ):
        create(db)
    assert not db.in_transaction()


def test_doctor_and_scripts_do_not_mind_it(make_url: MakeUrl) -> None:
    """It is no fault, no change of others, and in the way of no script, back or on."""
    with stock.opened(make_url, "postgresql", migrated=True) as db:
        create(db)
        assert [f.text for f in examine_schema(db)] == ["as the scripts make it"]
        stock.rollback_to(db, 1)
        assert create(db) == []
        stock.migrate(db)
        assert create(db) == []
        assert [f.text for f in examine_schema(db)] == ["as the scripts make it"]
        stock.rollback_to(db, 0)
        assert fetch(db, "SELECT 1 FROM pg_class WHERE relname = ?", (NAME,)) == []


def test_it_needs_the_customers_of_cmcore(make_url: MakeUrl) -> None:
    """An empty database lacks scripts, and one with the trail alone more than that."""
    with connected(make_url("postgresql")) as db:
        with pytest.raises(PendingMigrationsError, match="lacks migrations"):
            create(db)
        cmcore.migrate(db, trail_only=True)
        with pytest.raises(PendingMigrationsError, match="the trail alone"):
            drop(db)


def test_it_needs_transactions_of_its_own(db: Any) -> None:
    """In a transaction of somebody else's it refuses."""
    with db.atomic(), pytest.raises(MigrationError, match="Search indexes need"):
        create(db)


def test_sqlite_says_what_to_do_instead(make_url: MakeUrl) -> None:
    """There is no such index there."""
    with connected(make_url("sqlite", migrated=True)) as db:
        before = dump(db)
        for work in (create, drop):
            with pytest.raises(ConfigurationError, match="FTS5"):
                work(db)
        assert dump(db) == before


def test_it_works_through_a_proxy(db: Any) -> None:
    """What holds the database may be given instead of it."""
    holder = peewee.DatabaseProxy()
    holder.initialize(db)
    assert create(holder) == [ADD, BUILD]
