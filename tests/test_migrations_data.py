"""What scripts do with rows that stand in their way: refuse, assign, park."""

# ruff: noqa: S608 - constants of this test

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from cmcore.errors import DataLossRefusedError, MigrationError, OrphanRowsError
from cmcore.schema.history import FULL_HISTORY
from cmcore.schema.prechecks import precheck
from tests import stock
from tests.conftest import MakeUrl
from tests.stock import contents, dump, fetch, migrate, rollback

PARKED = "cmcore_005_deleted"
ORPHANS = "cmcore_004_orphans"


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


@pytest.fixture
def data_loss(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A patch under which rows may be lost."""
    monkeypatch.setenv("CMCORE_ALLOW_DATA_LOSS", "1")
    return monkeypatch


def fill_with_orphans(db: Any) -> None:
    """Insert 25 customers of a ghost, one of them updated by another."""
    migrate(db, 3)
    stock.insert_user(db, "u1")
    stock.insert_customer(db, "c1", updated_by="u1")
    stock.insert_customer(db, "c2", updated_by="phantom")
    for number in range(25):
        stock.insert_customer(db, f"o{number:02}", "ghost")


def test_orphans_are_refused_with_count_and_ids(db: Any) -> None:
    """004 names how many, the first twenty, and the way out; it changes nothing."""
    fill_with_orphans(db)
    before = dump(db), contents(db)
    assert [(o.constraint, o.rows) for o in precheck(db) if "fk" in o.constraint] == [
        ("fk_customers_created_by", 25),
        ("fk_customers_updated_by", 1),
    ]
    with pytest.raises(OrphanRowsError) as caught:
        migrate(db)
    text = str(caught.value)
    assert "25 row(s) of customers break fk_customers_created_by" in text
    assert "'o00'" in text
    assert "'o19', ..." in text
    assert "'o20'" not in text
    assert "1 row(s) of customers break fk_customers_updated_by" in text
    assert "CMCORE_ORPHAN_USER" in text
    assert (dump(db), contents(db)) == before


def test_an_unknown_heir_is_refused(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMCORE_ORPHAN_USER has to be somebody."""
    fill_with_orphans(db)
    before = dump(db), contents(db)
    monkeypatch.setenv("CMCORE_ORPHAN_USER", "nobody")
    with pytest.raises(OrphanRowsError, match="'nobody', and no user has that id"):
        migrate(db)
    assert (dump(db), contents(db)) == before


def test_orphans_are_assigned_and_restored(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heir gets what needs a user, the rest is NULL; the rollback undoes both."""
    fill_with_orphans(db)
    before = dump(db), contents(db)
    monkeypatch.setenv("CMCORE_ORPHAN_USER", "system")
    for _ in range(2):
        migrate(db, 4)
        found = fetch(db, "SELECT DISTINCT created_by, updated_by FROM customers")
        assert set(found) == {("system", None), ("u1", None), ("u1", "u1")}
        assert len(fetch(db, f"SELECT * FROM {ORPHANS}")) == 26
        rollback(db)
        assert (dump(db), contents(db)) == before


def test_a_user_changed_meanwhile_is_not_restored(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody set right after 004 stays through the rollback."""
    fill_with_orphans(db)
    monkeypatch.setenv("CMCORE_ORPHAN_USER", "system")
    migrate(db, 4)
    db.execute_sql("UPDATE customers SET created_by = 'u1' WHERE id = 'o03'")
    db.execute_sql("UPDATE customers SET updated_by = 'u1' WHERE id = 'c2'")
    db.execute_sql("DELETE FROM customers WHERE id = 'o04'")
    rollback(db)
    assert fetch(
        db,
        "SELECT id, created_by, updated_by FROM customers"
        " WHERE id IN ('c2', 'o03', 'o04', 'o05') ORDER BY id",
    ) == [("c2", "u1", "u1"), ("o03", "u1", None), ("o05", "ghost", None)]


BREAKERS = {
    "ck_users_email_format": ("users", {"email": "no at sign"}),
    "ck_users_password_hash_length": ("users", {"password_hash": "short"}),
    "ck_users_full_name_length": ("users", {"full_name": " X "}),
    "ck_customers_email_format": ("customers", {"email": "a..b@example.com"}),
    "ck_customers_phone_format": ("customers", {"phone": "()()()()"}),
    "ck_customers_name_length": ("customers", {"name": "X"}),
    "ck_audit_logs_action_not_empty": ("audit_logs", {"action": ""}),
    "ck_audit_logs_resource_type_not_empty": ("audit_logs", {"resource_type": "\t"}),
    "ck_audit_logs_description_not_empty": ("audit_logs", {"description": " "}),
    "ck_audit_logs_ip_address_format": ("audit_logs", {"ip_address": "1.2.3"}),
}
INSERT = {
    "users": stock.insert_user,
    "customers": stock.insert_customer,
    "audit_logs": stock.insert_entry,
}


def test_rows_that_break_rules_are_refused(db: Any) -> None:
    """006 names table, constraint and ids of all of them before it changes anything."""
    migrate(db, 5)
    stock.insert_user(db, "u1")
    for name, (table, values) in BREAKERS.items():
        address = {} if table == "audit_logs" else {"email": f"{name}@example.com"}
        INSERT[table](db, name[:36], **{**address, **values})
    before = dump(db), contents(db)
    assert {offence.constraint for offence in precheck(db)} == set(BREAKERS)
    with pytest.raises(MigrationError) as caught:
        migrate(db)
    for name, (table, _) in BREAKERS.items():
        assert f"1 row(s) of {table} break {name} (" in str(caught.value)
        assert repr(name[:36]) in str(caught.value)
    assert (dump(db), contents(db)) == before
    for table in ("audit_logs", "customers", "users"):
        db.execute_sql(f"DELETE FROM {table} WHERE substr(id, 1, 3) = 'ck_'")
    assert precheck(db) == []
    migrate(db)


@pytest.mark.parametrize("constraint", BREAKERS)
def test_rules_hold_afterwards(make_url: MakeUrl, engine: str, constraint: str) -> None:
    """With 006 the database refuses each of those rows, by the rule's name."""
    table, values = BREAKERS[constraint]
    with stock.opened(make_url, engine, migrated=True) as db:
        stock.insert_user(db, "u1")
        with pytest.raises(peewee.IntegrityError, match=constraint):
            INSERT[table](db, "k", **values)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_table_with_rows_is_not_dropped(
    db: Any, number: int, data_loss: pytest.MonkeyPatch
) -> None:
    """The rollback of 001 to 003 needs consent where there are rows."""
    migrate(db, number)
    table = ("customers", "users", "audit_logs")[number - 1]
    INSERT[table](db, "u1")
    data_loss.delenv("CMCORE_ALLOW_DATA_LOSS")
    before = dump(db)
    with pytest.raises(DataLossRefusedError, match=rf"{table} has 1 row\(s\)"):
        rollback(db)
    assert dump(db) == before
    data_loss.setenv("CMCORE_ALLOW_DATA_LOSS", "yes")
    with pytest.raises(DataLossRefusedError):
        rollback(db)
    data_loss.setenv("CMCORE_ALLOW_DATA_LOSS", "1")
    rollback(db)
    assert table not in stock.tables(db)


def delete_softly(db: Any, table: str, *keys: str, by: str = "u1") -> None:
    """Mark rows as deleted."""
    mark = "?" if stock.is_sqlite(db) else "%s"
    for key in keys:
        db.execute_sql(
            f"UPDATE {table} SET deleted_at = {mark}, deleted_by = {mark}"
            f" WHERE id = {mark}",
            (stock.MOMENT, by, key),
        )


def fill_with_deleted_rows(db: Any) -> None:
    """Delete a user, a customer and an entry that others refer to."""
    migrate(db, 5)
    stock.fill(db)
    stock.insert_user(db, "u3", created_by="u2")
    stock.insert_user(db, "u5", created_by="u3", updated_by="u3")
    stock.insert_customer(db, "c3", created_by="u3", updated_by="u5")
    stock.insert_customer(db, "c4", updated_by="u3")
    stock.insert_entry(db, "a3", user_id="u3", created_by="u3", new_values='{"x": 1}')
    stock.insert_entry(db, "a4", user_id="u5", extra_data='{"n": "\\u00e9"}')
    delete_softly(db, "users", "u3")
    delete_softly(db, "users", "u5", by="u3")
    delete_softly(db, "customers", "c3")
    delete_softly(db, "audit_logs", "a4")


def test_deleted_rows_do_not_come_back_to_life(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollback of 005 says how many there are, and refuses."""
    monkeypatch.delenv("CMCORE_ALLOW_DATA_LOSS", raising=False)
    fill_with_deleted_rows(db)
    before = dump(db), contents(db)
    with pytest.raises(
        DataLossRefusedError,
        match=r"1 row\(s\) of audit_logs, 1 row\(s\) of customers, 2 row\(s\) of users",
    ):
        rollback(db)
    assert (dump(db), contents(db)) == before


@pytest.mark.usefixtures("data_loss")
def test_deleted_rows_are_parked_and_return(db: Any) -> None:
    """With consent they leave, and 005 brings them back with all references."""
    fill_with_deleted_rows(db)
    before = dump(db), contents(db)
    rollback(db)
    assert [row[0] for row in contents(db)["users"]] == ["system", "u1", "u2"]
    assert [row[0] for row in contents(db)["customers"]] == ["c1", "c2", "c4"]
    assert fetch(db, "SELECT user_id FROM audit_logs WHERE id = 'a3'") == [(None,)]
    assert len(fetch(db, f"SELECT * FROM {PARKED}")) == 4
    migrate(db, 5)
    assert (dump(db), contents(db)) == before


@pytest.mark.usefixtures("data_loss")
def test_references_of_an_application_return_as_well(db: Any) -> None:
    """SET NULL of an application's table becomes NULL, and is put back."""
    fill_with_deleted_rows(db)
    db.execute_sql(
        "CREATE TABLE invoices (number INTEGER PRIMARY KEY, owner VARCHAR(36)"
        " REFERENCES customers (id) ON DELETE SET NULL)"
    )
    for number, owner in enumerate(("c1", "c3", None)):
        stock.insert(db, "invoices", number=number, owner=owner)
    before = fetch(db, "SELECT * FROM invoices ORDER BY number")
    rollback(db)
    assert fetch(db, "SELECT owner FROM invoices ORDER BY number") == [
        ("c1",),
        (None,),
        (None,),
    ]
    migrate(db, 5)
    assert fetch(db, "SELECT * FROM invoices ORDER BY number") == before


@pytest.mark.usefixtures("data_loss")
def test_columns_of_an_application_are_parked_as_well(db: Any) -> None:
    """Bytes, fractions and generated columns of ours come back as they were."""
    fill_with_deleted_rows(db)
    bytes_type = "BLOB" if stock.is_sqlite(db) else "BYTEA"
    virtual = "VIRTUAL" if stock.is_sqlite(db) else "STORED"
    for column in (
        f"photo {bytes_type}",
        "score DOUBLE PRECISION",
        f"twice INTEGER GENERATED ALWAYS AS (length(name) * 2) {virtual}",
    ):
        db.execute_sql(f"ALTER TABLE customers ADD COLUMN {column}")
    mark = "?" if stock.is_sqlite(db) else "%s"
    db.execute_sql(
        f"UPDATE customers SET photo = {mark}, score = {mark}",
        (b"\x00\xff'", 0.1 + 0.2),
    )
    sql = "SELECT id, photo, score, twice FROM customers ORDER BY id"
    before = [tuple(map(readable, row)) for row in fetch(db, sql)]
    rollback(db)
    migrate(db, 5)
    assert [tuple(map(readable, row)) for row in fetch(db, sql)] == before


@pytest.mark.usefixtures("data_loss")
@pytest.mark.parametrize(
    "text",
    ["1.00000000000000000000001", '{"a": 0.10}', "1e400", "[" * 990 + "]" * 990, '"1"'],
)
def test_json_is_parked_to_the_last_digit(db: Any, text: str) -> None:
    """What no float has comes back, and so does what is nested deeply."""
    fill_with_deleted_rows(db)
    stock.insert_entry(db, "a5", new_values=text)
    delete_softly(db, "audit_logs", "a5")
    sql = "SELECT CAST(new_values AS TEXT) FROM audit_logs WHERE id = 'a5'"
    before = fetch(db, sql)
    rollback(db)
    migrate(db, 5)
    assert fetch(db, sql) == before


def readable(value: Any) -> Any:
    """Return the bytes behind the drivers' own kinds of them."""
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.usefixtures("data_loss")
@pytest.mark.parametrize("action", ["RESTRICT", "CASCADE", "NO ACTION"])
def test_rows_that_need_a_deleted_one_make_it_refuse(db: Any, action: str) -> None:
    """Neither RESTRICT is broken nor is a row of an application dropped."""
    fill_with_deleted_rows(db)
    db.execute_sql(
        "CREATE TABLE invoices (number INTEGER PRIMARY KEY, owner VARCHAR(36)"
        f" REFERENCES customers (id) ON DELETE {action})"
    )
    stock.insert(db, "invoices", number=1, owner="c3")
    before = dump(db), contents(db)
    with pytest.raises(MigrationError, match="live rows of invoices refer by owner"):
        rollback(db)
    assert (dump(db), contents(db)) == before


@pytest.mark.usefixtures("data_loss")
def test_a_live_customer_keeps_its_deleted_user(db: Any) -> None:
    """A customer's creator cannot be parked while the customer is live."""
    fill_with_deleted_rows(db)
    stock.insert_customer(db, "c5", created_by="u3")
    with pytest.raises(MigrationError, match="live rows of customers refer by created"):
        rollback(db)
    assert PARKED not in stock.tables(db)


@pytest.mark.usefixtures("data_loss")
def test_parked_rows_survive_what_happened_meanwhile(db: Any) -> None:
    """References to users who went away are NULL; what was set anew stays."""
    fill_with_deleted_rows(db)
    rollback(db)
    db.execute_sql("UPDATE customers SET updated_by = 'u1' WHERE id = 'c4'")
    db.execute_sql("UPDATE users SET created_by = NULL, updated_by = NULL")
    db.execute_sql("UPDATE customers SET updated_by = NULL, created_by = 'u1'")
    db.execute_sql("UPDATE customers SET updated_by = 'u1' WHERE id = 'c4'")
    db.execute_sql("UPDATE audit_logs SET created_by = NULL")
    db.execute_sql("DELETE FROM users WHERE id = 'u2'")
    migrate(db, 5)
    assert fetch(db, "SELECT created_by FROM users WHERE id = 'u3'") == [(None,)]
    assert fetch(db, "SELECT updated_by FROM customers WHERE id = 'c4'") == [("u1",)]
    assert fetch(db, "SELECT user_id FROM audit_logs WHERE id = 'a3'") == [("u3",)]


@pytest.mark.usefixtures("data_loss")
def test_parked_rows_that_lost_what_they_need_are_refused(db: Any) -> None:
    """A customer without a creator does not return; 005 says which one."""
    fill_with_deleted_rows(db)
    db.execute_sql("UPDATE users SET deleted_at = NULL")
    rollback(db)
    stock.insert_user(db, "gone")
    db.execute_sql(
        f"UPDATE {PARKED} SET content = replace(content, 'u3', 'gone')"
        " WHERE table_name = 'customers'"
    )
    db.execute_sql("DELETE FROM users WHERE id = 'gone'")
    with pytest.raises(OrphanRowsError, match="refer by created_by to rows of users"):
        migrate(db, 5)
    assert len(fetch(db, f"SELECT * FROM {PARKED}")) == 2


@pytest.mark.usefixtures("data_loss")
def test_parked_rows_whose_place_is_taken_are_refused(db: Any) -> None:
    """A row that came meanwhile keeps its key; the error quotes no other column."""
    fill_with_deleted_rows(db)
    rollback(db)
    parked = fetch(db, f"SELECT row_id FROM {PARKED} WHERE table_name = 'users'")
    stock.insert_user(db, parked[0][0])
    with pytest.raises(MigrationError, match=r"005_add.*nothing was changed") as caught:
        migrate(db, 5)
    assert isinstance(caught.value.__cause__, peewee.IntegrityError)
    assert (
        fetch(db, f"SELECT row_id FROM {PARKED} WHERE table_name = 'users'") == parked
    )


@pytest.mark.postgresql
@pytest.mark.usefixtures("data_loss")
def test_a_failure_does_not_quote_a_row(make_url: MakeUrl) -> None:
    """PostgreSQL says all of a row that it refuses, a password hash and all."""
    with stock.opened(make_url, "postgresql") as db:
        migrate(db, 5)
        stock.insert_user(db, "u1", password_hash="$argon2id$secret")
        delete_softly(db, "users", "u1", by="system")
        rollback(db)
        db.execute_sql("ALTER TABLE users ADD CONSTRAINT mine CHECK (id = 'system')")
        with pytest.raises(
            MigrationError, match='violates check constraint "mine"'
        ) as e:
            migrate(db, 5)
        assert "argon2" in str(e.value.__cause__)
        assert "argon2" not in str(e.value)


def test_parked_rows_count_as_rows(db: Any, data_loss: pytest.MonkeyPatch) -> None:
    """Dropping a table whose rows are parked needs consent, and takes them along."""
    migrate(db, 5)
    stock.insert_user(db, "u1")
    stock.insert_customer(db, "c1")
    delete_softly(db, "users", "u1", by="system")
    delete_softly(db, "customers", "c1", by="system")
    rollback(db, 3)
    data_loss.delenv("CMCORE_ALLOW_DATA_LOSS")
    with pytest.raises(DataLossRefusedError, match="1 parked in cmcore_005_deleted"):
        rollback(db)
    data_loss.setenv("CMCORE_ALLOW_DATA_LOSS", "1")
    rollback(db, 2)
    assert stock.tables(db) == {FULL_HISTORY}
