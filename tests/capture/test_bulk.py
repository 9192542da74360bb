"""Writes of 0, 1 and 10,000 rows: complete, with a fixed number of statements."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest

import cmcore
from tests import models
from tests.capture.bench import Bench, key_columns, rows_of
from tests.capture.replay import replay
from tests.capture.witness import Witness

MANY = 10_000
LIMIT = 32_766


class Statements(logging.Handler):
    """Keeps what the logger `cmcore.sql` shows."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of one statement, without its parameters."""
        assert isinstance(record.args, tuple)
        self.seen.append(str(record.args[0]))


@contextmanager
def counted() -> Iterator[list[str]]:
    """Count the statements inside the block."""
    logger, handler = logging.getLogger("cmcore.sql"), Statements()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler.seen
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def smallest_limit(sqlite_bench: Bench) -> Iterator[None]:
    """Allow as many parameters a statement as a stock SQLite does, not Debian's."""
    sqlite_bench.db.connect(reuse_if_open=True)
    limit(sqlite_bench, LIMIT)
    yield
    limit(sqlite_bench, LIMIT)


def limit(bench: Bench, number: int) -> None:
    """Let SQLite refuse statements with more parameters."""
    connection: Any = bench.db.connection()
    connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, number)


def many(kind: str, count: int) -> list[dict[str, Any]]:
    """Return rows with keys of their own."""
    return [
        {"code": f"c{i}", "n": i, **key_columns(kind, i)} for i in range(1, count + 1)
    ]


def fill(kind: str, count: int) -> None:
    """Put rows into the recorded table, unseen."""
    for batch in peewee.chunked(many(kind, count), 2000):
        models.MIRRORS[kind].insert_many(batch).execute()


def insert_many(m: Any, kind: str, count: int) -> None:
    """Insert all rows, as many a statement as a stock SQLite takes."""
    for batch in peewee.chunked(many(kind, count), 5000):
        m.insert_many(batch).execute()


def insert_from(m: Any, kind: str, count: int) -> None:
    """Copy all rows, under other keys."""
    key = m.number if kind == "composite" else m.id
    query = m.select(*fixed(m, key), key + MANY, m.code.concat("!"), m.n)
    m.insert_from(query, [*fixed(m, key), key, m.code, m.n]).execute()


def fixed(m: Any, key: Any) -> list[Any]:
    """Return the columns of the primary key but the one that counts."""
    return [field for field in m._meta.get_primary_keys() if field is not key]


def bulk_create(m: Any, kind: str, count: int) -> None:
    """Insert all rows as objects."""
    rows = [m(**row) for row in many(kind, count)]
    m.bulk_create(rows, batch_size=5000)


def bulk_update(m: Any, kind: str, count: int) -> None:
    """Update all rows, read before."""
    rows = list(m.select())
    for row in rows:
        row.n = -row.n
    m.bulk_update(rows, [m.n], batch_size=5000)


def update(m: Any, kind: str, count: int) -> None:
    """Update all rows, each to another value."""
    assert m.update(n=m.n + 1).execute() == count


def upsert(m: Any, kind: str, count: int) -> None:
    """Update every second row by an upsert."""
    rows = many(kind, count)[::2]
    for row in rows:
        row["n"] = -row["n"]
    for batch in peewee.chunked(rows, 5000):
        query = m.insert_many(batch)
        query.on_conflict(conflict_target=[m.code], preserve=[m.n]).execute()


def delete(m: Any, kind: str, count: int) -> None:
    """Delete all rows."""
    assert m.delete().execute() == count


def replace(m: Any, kind: str, count: int) -> None:
    """Replace every second row, on SQLite."""
    m.replace_many(many(kind, count)[::2]).execute()


WRITES = {
    insert_many: (False, 1),
    insert_from: (True, 1),
    bulk_create: (False, 1),
    bulk_update: (True, 1),
    update: (True, 1),
    upsert: (True, 0.5),
    delete: (True, 1),
    replace: (True, 1),  # of every second row a delete and a create
}


IN_BATCHES = {insert_many, bulk_create, bulk_update}


def _cases() -> Iterator[Any]:
    for write in WRITES:
        # peewee has no bulk_update for composite keys
        yield "sqlite", "integer" if write is bulk_update else "composite", write
        if write is not replace:  # which PostgreSQL does not have
            yield pytest.param(
                "postgresql", "integer", write, marks=pytest.mark.postgresql
            )
    yield "sqlite", "integer", update  # single keys are looked up in another way


@pytest.mark.parametrize(("engine", "kind", "write"), [*_cases()])
def test_the_number_of_statements_does_not_grow_with_the_rows(
    bench: Bench, kind: str, write: Callable[..., None]
) -> None:
    """10,000 rows take the statements of one row, but for the limit of parameters."""
    filled, share = WRITES[write]
    model = models.ITEMS[kind]
    used = []
    for count in (0, 1, MANY):
        bench.clear()
        if filled:
            fill(kind, count)
        before = rows_of(models.MIRRORS[kind])
        with counted() as statements:
            write(model, kind, count)
        entries = bench.entries()
        assert len(entries) == count * share or count == 1
        assert replay(model, before, entries) == rows_of(models.MIRRORS[kind])
        used.append(len(statements))
    one, ten_thousand = used[1:]
    batches = 2 if write in IN_BATCHES else 1
    assert ten_thousand <= one * batches + 4


@pytest.mark.parametrize("count", [1, LIMIT // 4])
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_hooks_are_called_once_a_statement(
    bench: Bench, verb: str, count: int, plugin: Callable[..., Any]
) -> None:
    """On one row, or all that fit into an INSERT: one call of each, with all rows."""
    model = models.ITEMS["text"]
    if verb != "create":
        fill("text", count)
    witness = plugin(Witness())
    if verb == "create":
        model.insert_many(many("text", count)).execute()
    elif verb == "update":
        model.update(n=-1).execute()
    else:
        model.delete().execute()
    assert witness.calls == [f"before {verb}", f"after {verb}"]
    assert len(witness.before) == len(witness.after) == count
    assert len(bench.entries()) == count


def test_a_write_of_no_row_calls_no_hook(
    bench: Bench, plugin: Callable[..., Any]
) -> None:
    """Statements that hit nothing call nobody and leave no entry."""
    model = models.ITEMS["integer"]
    witness = plugin(Witness())
    model.update(n=1).execute()
    model.delete().execute()
    model.insert_many([]).execute()
    model.insert_from(
        model.select(model.code).where(model.id < 0), [model.code]
    ).execute()
    assert witness.calls == []
    assert bench.entries() == []


def test_bulk_update_of_many_rows(bench: Bench) -> None:
    """bulk_update in batches records each row that changes, and only those."""
    kind, model = "integer", models.ITEMS["integer"]
    fill(kind, 1000)
    before = rows_of(models.MIRRORS[kind])
    rows = list(model.select().order_by(model.id))
    for row in rows[:600]:
        row.n = row.n + 5
    assert model.bulk_update(rows, [model.n], batch_size=100) == 1000
    entries = bench.entries()
    assert len(entries) == 600
    assert len({entry.transaction for entry in entries}) == 1
    assert replay(model, before, entries) == rows_of(models.MIRRORS[kind])


def test_a_failing_batch_undoes_the_earlier_ones(bench: Bench) -> None:
    """bulk_create and bulk_update in batches are all or nothing."""
    kind, model = "integer", models.ITEMS["integer"]
    rows = [model(code=f"b{i % 5}") for i in range(8)]
    with pytest.raises(cmcore.DuplicateError):
        model.bulk_create(rows, batch_size=2)
    assert rows_of(models.MIRRORS[kind]) == []
    fill(kind, 6)
    stored = list(model.select().order_by(model.id))
    for row in stored:
        row.code = f"new{row.n % 4}"
    with pytest.raises(cmcore.DuplicateError):
        model.bulk_update(stored, [model.code], batch_size=3)
    assert {row["code"] for row in rows_of(models.MIRRORS[kind])} == {
        f"c{i}" for i in range(1, 7)
    }
    assert bench.entries() == []
    assert not bench.db.in_transaction()


@pytest.mark.parametrize("kind", ["integer", "composite", "text"])
def test_more_rows_than_parameters(
    sqlite: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read in pieces that fit the limit of parameters, and none is lost."""
    monkeypatch.setattr("cmcore.engines.sqlite_keys._PARAMETERS", 60)
    fill(kind, 131)
    model, mirror = models.ITEMS[kind], models.MIRRORS[kind]
    before = rows_of(mirror)
    limit(sqlite, 64)
    model.update(n=model.n + 1).execute()
    model.update(code=model.code.concat("!")).where(model.n > 1).execute()
    again = model.select(*model._meta.sorted_fields).where(model.n > 0)
    model.insert_from(again, model._meta.sorted_fields).on_conflict(
        conflict_target=[model.code], update={model.note: "again"}
    ).execute()
    model.delete().where(model.n <= 67).execute()
    assert len(sqlite.entries()) == 131 + 131 + 131 + 66
    assert replay(model, before, sqlite.entries()) == rows_of(mirror)
