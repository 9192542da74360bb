"""The doctor compares the tables with what the scripts promise."""

from collections.abc import Iterator
from typing import Any

import pytest

from cmcore.models import AuditLog, Customer, RecoveryCode, User
from cmcore.runner import migrate
from cmcore.schema.promise import examine_schema
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump

MODELS = (User, Customer, AuditLog, RecoveryCode)

# What somebody does to PostgreSQL, and how the difference is named.
DEEDS = [
    ("DROP INDEX idx_users_created_by", "users: index idx_users_created_by is missing"),
    (
        "DROP INDEX uq_users_email;CREATE UNIQUE INDEX uq_users_email ON users (email)",
        "users: index uq_users_email differs: predicate is None instead of deleted_at",
    ),
    ("ALTER TABLE customers DROP COLUMN phone", "customers: column phone is missing"),
    (
        "ALTER TABLE customers ALTER status DROP NOT NULL",
        "customers: column status differs: null is True instead of False",
    ),
    (
        "ALTER TABLE audit_logs ALTER success SET DEFAULT false",
        "audit_logs: column success differs: default is false instead of true",
    ),
    (
        "ALTER TABLE audit_logs ALTER request_id TYPE text",
        "request_id differs: type is text instead of character varying(128)",
    ),
    (
        "ALTER TABLE customers DROP CONSTRAINT fk_customers_updated_by",
        "customers: foreign key fk_customers_updated_by is missing",
    ),
    (
        "ALTER TABLE customers DROP CONSTRAINT fk_customers_updated_by; ALTER TABLE"
        " customers ADD CONSTRAINT fk_customers_updated_by FOREIGN KEY (updated_by)"
        " REFERENCES users (id) ON DELETE CASCADE",
        "fk_customers_updated_by differs: on_delete is CASCADE instead of SET NULL",
    ),
    (
        "ALTER TABLE users DROP CONSTRAINT ck_users_full_name_length; ALTER TABLE users"
        " ADD CONSTRAINT ck_users_full_name_length CHECK (length(full_name) > 1)",
        "users: check ck_users_full_name_length differs: expression is",
    ),
    ("DROP TABLE audit_logs", "audit_logs is missing"),
    (
        "ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_pkey",
        "audit_logs: primary key is missing",
    ),
]


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


def verdict(db: Any) -> list[tuple[bool, str]]:
    """Return the doctor's opinion about the schema."""
    return [(finding.is_fine, finding.text) for finding in examine_schema(db)]


def test_every_script_keeps_its_promise(db: Any) -> None:
    """After each script the tables are as promised; looking changes nothing."""
    assert verdict(db) == []
    for script in SCRIPTS:
        migrate(db, script)
        before = dump(db)
        assert verdict(db) == [(True, "as the scripts make it")]
        assert dump(db) == before
    assert not db.in_transaction()


def test_the_trail_alone_and_tables_from_models_keep_it_too(
    engine: str, make_url: MakeUrl
) -> None:
    """Whichever way the tables were made, they are compared with the scripts."""
    with stock.opened(make_url, engine) as db:
        db.execute_sql("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        migrate(db, trail_only=True)
        assert verdict(db) == [(True, "as the scripts make it")]
        db.execute_sql("DROP INDEX idx_audit_resource")
        assert [is_fine for is_fine, _ in verdict(db)] == [False]
    with stock.opened(make_url, engine) as db, db.bind_ctx(MODELS):
        db.create_tables(MODELS)
        assert verdict(db) == [(True, "as the scripts make it")]


def test_a_difference_is_named_on_both_engines(db: Any) -> None:
    """A missing index and a column too few: table and name are told, all of them."""
    migrate(db)
    db.execute_sql("DROP INDEX idx_customers_phone")
    db.execute_sql("DROP INDEX idx_audit_resource")
    [(is_fine, text)] = verdict(db)
    assert not is_fine
    assert text.startswith(
        "customers: index idx_customers_phone is missing; "
        "audit_logs: index idx_audit_resource is missing. Restore"
    )


def test_a_lost_check_is_named_on_sqlite(make_url: MakeUrl) -> None:
    """A table that another program made anew without its CHECKs."""
    with stock.opened(make_url, "sqlite") as db:
        migrate(db)
        db.execute_sql("PRAGMA writable_schema = 1")
        db.execute_sql(
            "UPDATE sqlite_master SET sql = replace(sql, 'length(\"city\") <= 100',"
            " 'length(\"city\") <= 99') WHERE name = 'customers'"
        )
        db.close()
        db.connect()
        [(is_fine, text)] = verdict(db)
    assert not is_fine
    assert 'customers: check length ( "city" ) < = 100 is missing' in text


@pytest.mark.postgresql
@pytest.mark.parametrize(("deed", "named"), DEEDS)
def test_every_kind_of_difference_is_named(
    make_url: MakeUrl, deed: str, named: str
) -> None:
    """Columns, keys, checks and indexes, missing or in another form."""
    with stock.opened(make_url, "postgresql", migrated=True) as db:
        for statement in deed.split(";"):
            db.execute_sql(statement)
        [(is_fine, text)] = verdict(db)
    assert not is_fine
    assert named in text


def test_what_an_application_adds_is_no_fault(db: Any) -> None:
    """Its indexes and columns are named, and all is fine."""
    migrate(db)
    db.execute_sql("ALTER TABLE customers ADD COLUMN score INTEGER")
    db.execute_sql("CREATE INDEX app_score ON customers (score)")
    [(is_fine, text)] = verdict(db)
    assert is_fine
    assert "added by others: customers: column score, customers: index app_s" in text


@pytest.mark.postgresql
def test_on_a_read_only_database_it_says_so(make_url: MakeUrl) -> None:
    """Without temporary tables nothing is compared, and nothing fails."""
    with stock.opened(make_url, "postgresql", migrated=True) as db:
        db.execute_sql("SET default_transaction_read_only = on")
        [(is_fine, text)] = verdict(db)
        assert not db.in_transaction()
    assert is_fine
    assert text.startswith("not compared with the scripts: cannot execute CREATE")
