"""The rebuild of a SQLite table: what comes through, and when it refuses."""

# ruff: noqa: S608 - constants of this test

import sqlite3
from collections.abc import Iterator
from typing import Any

import peewee
import pytest

from cmcore.engines.ddl import CreateTable, tokens
from cmcore.errors import MigrationError
from cmcore.schema.rebuild import SUFFIX, rebuild

ODD = """CREATE TABLE "odd" ( -- a comment, with ) and ' in it
  "id" INTEGER PRIMARY KEY AUTOINCREMENT,
  [two words] TEXT DEFAULT 'it''s (not) a , list', /* another ), one */
  `tick``ed` TEXT CHECK (`tick``ed` <> ')' AND length(`tick``ed`) < 9),
  "quo""ted" NUMERIC(10, 2) NOT NULL DEFAULT (1 + 1),
  CONSTRAINT "uq_odd" UNIQUE ("id", [two words]),
  constraint plain check ("quo""ted" IN (1, 2, 3)) -- last, before the end
)"""
GENERATED = """CREATE TABLE "generated" (
  a INTEGER,
  b INTEGER GENERATED ALWAYS AS (a * 2) STORED,
  c TEXT AS ('x' || a) VIRTUAL,
  rowid TEXT, CONSTRAINT fk_generated_a FOREIGN KEY (a) REFERENCES "odd" ("id"))"""
WITHOUT_ROWID = """CREATE TABLE "keyed" (
  k TEXT NOT NULL, n INT, PRIMARY KEY (k, n)) STRICT, WITHOUT ROWID"""
STRICT = 'CREATE TABLE "strict" (id TEXT PRIMARY KEY, v ANY) STRICT'

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "odd": [(3, "x", "y", 1), (9, None, None, 2)],
    "generated": [(0, "gone"), (3, "r1"), (9, "r2"), (None, None)],
    "keyed": [("a", 1), ("a", 2)],
    "strict": [("_", None), ("a", b"\x00\xff"), ("b", 1.5), ("c", None)],
}
INSERTS = {
    "odd": "INSERT INTO odd VALUES (?, ?, ?, ?)",
    "generated": "INSERT INTO generated (a, rowid) VALUES (?, ?)",
    "keyed": "INSERT INTO keyed VALUES (?, ?)",
    "strict": "INSERT INTO strict VALUES (?, ?)",
}


@pytest.fixture
def db() -> Iterator[Any]:
    """A database in memory with tables of every make, filled."""
    database: Any = peewee.SqliteDatabase(":memory:")
    database.connect()
    for sql in (ODD, GENERATED, WITHOUT_ROWID, STRICT):
        database.execute_sql(sql)
    for table, values in ROWS.items():
        database.connection().executemany(INSERTS[table], values)
    for sql in (
        "UPDATE sqlite_sequence SET seq = 77 WHERE name = 'odd'",
        'CREATE INDEX partial ON odd ("quo""ted") WHERE "quo""ted" > 1',
        "CREATE INDEX expressive ON odd (lower([two words]), id)",
        "CREATE TABLE log (what TEXT)",
        "CREATE TRIGGER t1 AFTER INSERT ON odd BEGIN"
        " INSERT INTO log VALUES (new.id); END",
        "CREATE TRIGGER t2 AFTER INSERT ON log BEGIN"
        " UPDATE odd SET [two words] = 'logged' WHERE id = 3; END",
        "CREATE VIEW seen AS SELECT * FROM odd JOIN generated ON odd.id = generated.a",
        "DELETE FROM generated WHERE _rowid_ = 1",  # rowids are no row numbers
        "DELETE FROM strict WHERE rowid = 1",
        "ANALYZE",
    ):
        database.execute_sql(sql)
    yield database
    database.close()


def everything(db: Any, table: str) -> list[Any]:
    """Return the rows with their rowids, all of the schema, and the statistics."""
    has_rowid = table in {"odd", "strict"}
    key = "_rowid_, " if has_rowid or table == "generated" else ""
    return [
        db.execute_sql(sql).fetchall()
        for sql in (
            f"SELECT {key}* FROM {table} ORDER BY 1, 2",
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
            "SELECT * FROM sqlite_sequence ORDER BY name",
            "SELECT * FROM sqlite_stat1 ORDER BY tbl, idx",
            "SELECT * FROM seen ORDER BY 1",
        )
    ]


@pytest.mark.parametrize("table", ROWS)
def test_a_round_trip_changes_nothing(db: Any, table: str) -> None:
    """Adding and dropping constraints gives back every byte and every rowid."""
    before = everything(db, table)
    column = {"odd": "id", "generated": "a", "keyed": "n", "strict": "id"}[table]
    add = {"ck_one": f"CHECK ({column} <> 5)", "ck two": f"CHECK ({column} <> 6)"}
    with db.atomic():
        rebuild(db, table, add=add)
    between = everything(db, table)
    assert between[0] == before[0]
    assert between[2:] == before[2:]
    with pytest.raises(sqlite3.IntegrityError, match="ck two"):
        db.connection().execute(f"UPDATE {table} SET {column} = 6")
    with db.atomic():
        rebuild(db, table, drop=list(add))
    assert everything(db, table) == before
    assert db.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_indexes_and_triggers_work_afterwards(db: Any) -> None:
    """They are not only there by name; the next automatic key is not used again."""
    with db.atomic():
        rebuild(db, "odd", add={"ck": "CHECK (id > 0)"})
    db.execute_sql('INSERT INTO odd ("quo""ted") VALUES (3)')
    assert db.execute_sql("SELECT * FROM log").fetchall() == [("78",)]
    logged = db.execute_sql("SELECT [two words] FROM odd WHERE id = 3").fetchone()
    assert logged == ("logged",)
    plan = db.execute_sql(
        'EXPLAIN QUERY PLAN SELECT "quo""ted" FROM odd WHERE "quo""ted" > 1'
    ).fetchone()
    assert "partial" in plan[-1]


def test_an_existing_constraint_can_be_dropped(db: Any) -> None:
    """Names are found whatever their case and quotes; other items stay as they are."""
    with db.atomic():
        rebuild(db, "odd", drop=["plain"])
    text = db.execute_sql("SELECT sql FROM sqlite_master WHERE name = 'odd'").fetchone()
    assert text[0] == ODD[: ODD.index(",\n  constraint")] + ")"
    db.execute_sql('UPDATE odd SET "quo""ted" = 99')


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"add": {"plain": "CHECK (1)"}}, "plain is there already"),
        ({"drop": ["missing"]}, "missing is not there"),
        ({"drop": ["id"]}, "id is not there"),
    ],
)
def test_a_wrong_name_is_refused(
    db: Any, options: dict[str, Any], message: str
) -> None:
    """A constraint that is there, or is not, is no reason to go on."""
    before = everything(db, "odd")
    with pytest.raises(MigrationError, match=message), db.atomic():
        rebuild(db, "odd", **options)
    assert everything(db, "odd") == before


def test_it_refuses_while_foreign_keys_are_on(db: Any) -> None:
    """DROP TABLE would follow them, and delete or change rows that refer to it."""
    db.pragma("foreign_keys", 1)
    with pytest.raises(MigrationError, match="while foreign keys are on"):
        rebuild(db, "odd", add={"ck": "CHECK (1)"})


def test_it_refuses_when_its_temporary_name_is_taken(db: Any) -> None:
    """A table of that name is somebody's, or left by an accident to look at."""
    db.execute_sql(f"CREATE TABLE odd{SUFFIX} (n INTEGER)")
    with pytest.raises(MigrationError, match=f"odd{SUFFIX} is in the way"):
        rebuild(db, "odd", add={"ck": "CHECK (1)"})


def test_it_refuses_a_table_that_is_not_there(db: Any) -> None:
    """The error names it."""
    with pytest.raises(MigrationError, match="no table nowhere"):
        rebuild(db, "nowhere", add={"ck": "CHECK (1)"})


def test_a_failure_leaves_everything_as_it_was(db: Any) -> None:
    """A row that breaks the new rule undoes all, the legacy mode included."""
    before = everything(db, "odd")
    with pytest.raises(peewee.IntegrityError), db.atomic():
        rebuild(db, "odd", add={"ck": "CHECK (id = 3)"})
    assert everything(db, "odd") == before
    assert db.pragma("legacy_alter_table") == 0


def test_a_reference_that_the_change_breaks_is_refused(db: Any) -> None:
    """Rows that were broken before do not count; new ones do."""
    db.execute_sql("INSERT INTO generated (a) VALUES (404)")
    foreign_key = "FOREIGN KEY (n) REFERENCES odd (id)"
    with db.atomic():
        rebuild(db, "generated", add={"ck": "CHECK (a <> 1)"})
    refused = pytest.raises(MigrationError, match="would break foreign keys of keyed")
    with refused, db.atomic():
        rebuild(db, "keyed", add={"fk": foreign_key})


@pytest.mark.parametrize("sql", [ODD, GENERATED, WITHOUT_ROWID, STRICT])
def test_reading_a_definition_loses_nothing(sql: str) -> None:
    """The pieces joined are the text again."""
    assert "".join(token.text for token in tokens(sql)) == sql
    assert str(CreateTable.read(sql)) == sql


def test_a_definition_without_a_list_is_refused() -> None:
    """What cannot be read is not touched."""
    with pytest.raises(MigrationError, match="Cannot read"):
        CreateTable.read("CREATE TABLE t")
