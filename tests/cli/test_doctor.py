"""`doctor` finds what is wrong."""

import json

import psycopg2
import pytest

from cmcore import partitions
from cmcore.keys import now
from cmcore.partitions.months import Month
from tests import stock
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected, run_sql
from tests.partitions import tables


def test_doctor_finds_nothing_wrong(run: Run, engine: str, url: str) -> None:
    """A migrated database is fine in every respect."""
    result = run("doctor", "--json", "--database", url)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["is_fine"]) == (0, True)
    assert [f["check"] for f in document["findings"] if not f["is_fine"]] == []
    names = {"sqlite": "SQLite 3.", "postgresql": "PostgreSQL 1"}
    assert names[engine] in document["findings"][0]["text"]
    assert "problem" not in run("doctor", "--database", url).stdout


def test_doctor_finds_pending_migrations(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """With scripts pending, and nothing else, the exit code is 5."""
    url = make_url(engine)
    with connected(url):
        pass
    result = run("doctor", "--database", url)
    assert result.exit_code == 5
    assert "001_create_customers_table" in result.stdout


def test_doctor_finds_rows_that_refer_to_nothing(run: Run, make_url: MakeUrl) -> None:
    """SQLite: rows written while foreign keys were off are counted by table."""
    url = make_url("sqlite", migrated=True)
    with connected(url) as db:
        db.execute_sql("PRAGMA foreign_keys = 0")
        db.execute_sql(
            "INSERT INTO customers (id, name, email, created_at, updated_at,"
            " created_by) VALUES ('x', 'Xena', 'x@example.org',"
            " '2026-01-01 00:00:00.000000+00:00', '2026-01-01 00:00:00.000000+00:00',"
            " 'ghost')"
        )
    result = run("doctor", "--json", "--database", url)
    assert result.exit_code == 1
    findings = {f["check"]: f for f in json.loads(result.stdout)["findings"]}
    assert not findings["references"]["is_fine"]
    assert (
        "customers: 1 row refers to no row of users" in findings["references"]["text"]
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_the_precheck_names_what_would_be_refused(
    run: Run, engine: str, make_url: MakeUrl, *, as_json: bool
) -> None:
    """Before 004 and 006: rows, constraints and ids, with 1; afterwards nothing."""
    url = make_url(engine)
    options = ["doctor", "--precheck", "--database", url, *["--json"] * as_json]
    with stock.opened(lambda *_args, **_options: url, engine) as db:
        stock.migrate(db, 3)
        assert run(*options).exit_code == 0
        stock.insert_customer(db, "c1", created_by="ghost", phone="none")
        before = stock.dump(db), stock.contents(db)
        result = run(*options)
        assert (stock.dump(db), stock.contents(db)) == before
        assert result.exit_code == 1
        if as_json:
            document = json.loads(result.stdout)
            found = {o["constraint"]: o["ids"] for o in document["offences"]}
            expected = ["ck_customers_phone_format", "fk_customers_created_by"]
            assert (document["is_fine"], sorted(found)) == (False, expected)
            assert list(found.values()) == [["c1"], ["c1"]]
        else:
            assert "ck_customers_phone_format" in result.stdout
            assert "fk_customers_created_by" in result.stdout
            assert "'c1'" in result.stdout
        db.execute_sql("DELETE FROM customers")
        stock.migrate(db)
    result = run(*options)
    assert result.exit_code == 0
    expected_output = '{"is_fine": true, "offences": []}\n' if as_json else ""
    assert result.stdout == expected_output


def test_doctor_names_what_differs_from_the_scripts(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """An index that somebody dropped is a problem of the schema."""
    url = make_url(engine, migrated=True)
    with connected(url) as db:
        db.execute_sql("DROP INDEX idx_users_created_by")
    result = run("doctor", "--database", url)
    assert result.exit_code == 1
    assert "users: index idx_users_created_by is missing" in result.stdout


def test_doctor_finds_a_damaged_file(run: Run, make_url: MakeUrl) -> None:
    """SQLite: an index that does not agree with its table is found."""
    url = make_url("sqlite", migrated=True)
    with connected(url) as db:
        db.execute_sql("PRAGMA writable_schema = 1")
        db.execute_sql(
            "UPDATE sqlite_master SET sql = replace(sql, '(\"city\")', '(\"name\")')"
            " WHERE name = 'idx_customers_city'"
        )
        db.execute_sql("DELETE FROM sqlite_master WHERE name = 'idx_customers_name'")
    result = run("doctor", "--json", "--database", url)
    assert result.exit_code == 1
    findings = {f["check"]: f["is_fine"] for f in json.loads(result.stdout)["findings"]}
    assert findings["integrity"] is False


@pytest.mark.postgresql
def test_doctor_finds_unchecked_constraints_and_broken_indexes(
    run: Run, make_url: MakeUrl
) -> None:
    """PostgreSQL: what is not validated, and what a failed build left, is named."""
    url = make_url("postgresql", migrated=True)
    for statement in (
        "ALTER TABLE customers ADD CONSTRAINT ck_later CHECK (name <> 'x') NOT VALID",
        "INSERT INTO users"
        " (id, email, password_hash, full_name, created_at, updated_at)"
        " SELECT 'u' || n, 'u' || n || '@example.org', repeat('!', 8), 'Twin', now(),"
        " now() FROM generate_series(1, 2) n",
    ):
        run_sql(url, statement)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run_sql(url, "CREATE UNIQUE INDEX CONCURRENTLY ix_twin ON users (full_name)")
    result = run("doctor", "--json", "--database", url)
    assert result.exit_code == 1
    findings = {f["check"]: f["text"] for f in json.loads(result.stdout)["findings"]}
    assert "customers: ck_later is not validated" in findings["constraints"]
    assert "users: ix_twin is invalid" in findings["indexes"]


@pytest.mark.postgresql
def test_doctor_finds_months_without_a_partition(run: Run, make_url: MakeUrl) -> None:
    """PostgreSQL: the next month must have one, and the default one no rows."""

    def examined() -> tuple[int, list[tuple[bool, str]]]:
        result = run("doctor", "--json", "--database", url)
        found = json.loads(result.stdout)["findings"]
        parts = [f for f in found if f["check"] == "partitions"]
        return result.exit_code, [(f["is_fine"], f["text"]) for f in parts]

    url = make_url("postgresql", migrated=True)
    assert examined() == (0, [])
    with connected(url) as db:
        partitions.convert(db)
    this = Month.of(now())
    code, [(is_fine, text)] = examined()
    assert (code, is_fine) == (0, True)
    assert text.endswith(f" partitions, the last month is {this.shifted(3)}")
    with connected(url) as db:
        tables.run_out(db)
        tables.add(db, [this.shifted(1).start])
    text = (
        f"audit_logs_default has 1 row; there is no partition for {this.shifted(1)}. "
        "Run `cmcore partition ensure`, and every day from cron."
    )
    assert examined() == (1, [(False, text)])
    assert run("partition", "ensure", "--database", url).exit_code == 0
    text = f"5 partitions, the last month is {this.shifted(3)}"
    assert examined() == (0, [(True, text)])
