"""SQLite: statements whose rows are a matter of chance, or of the plan."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest
from peewee import fn

from tests import models
from tests.capture.bench import Bench, rows_of
from tests.capture.replay import replay
from tests.capture.test_bulk import fill
from tests.capture.witness import Witness

COUNT = 40
HALF = fn.RANDOM() % 2 == 0

WRITES: dict[str, Callable[[Any], Any]] = {
    "update in random order": lambda m: m.update(note="x").order_by(fn.RANDOM()),
    "update at random": lambda m: m.update(note="x").where(HALF, m.n > 3),
    "delete in random order": lambda m: m.delete().order_by(fn.RANDOM()),
    "delete at random": lambda m: m.delete().where(HALF),
    "update of random rows": lambda m: m.update(note="x").where(
        m.code.in_(m.select(m.code).order_by(fn.RANDOM()).limit(9))
    ),
    "delete where rows sort alike": lambda m: m.delete().order_by(m.note),
    "update where rows sort alike": lambda m: m.update(n=-1).order_by(m.note),
}


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("kind", models.KEYS)
@pytest.mark.parametrize("write", WRITES)
def test_the_rows_that_changed_are_recorded(
    sqlite: Bench, write: str, kind: str, plugin: Callable[..., Any], hooks: bool
) -> None:
    """Whichever they are, and hooks are told the same ones."""
    model, mirror = models.ITEMS[kind], models.MIRRORS[kind]
    place = f'{model._meta.table_name} ("{model.note.column_name}")'
    sqlite.db.execute_sql(f"CREATE INDEX by_note ON {place}")
    fill(kind, COUNT)
    before = rows_of(mirror)
    witness = plugin(Witness()) if hooks else Witness()
    query = WRITES[write](model)
    if query._order_by:
        query = query.limit(9)
    try:
        count = query.execute()
    finally:
        sqlite.db.execute_sql("DROP INDEX by_note")
    entries = sqlite.entries()
    after = rows_of(mirror)
    changed = [row for row in before if row not in after]
    assert count == len(entries) == len(changed)
    if kind != "none" or "delete" in write:  # else nothing tells the rows apart
        assert replay(model, before, entries) == after
    assert [c.key for _, c in witness.before] == [c.key for _, c in witness.after]


@pytest.mark.parametrize("write", ["delete", "update"])
def test_what_returns_rows_returns_those(sqlite: Bench, write: str) -> None:
    """RETURNING, parameters before and behind, and a WITH clause keep their places."""
    model, mirror = models.ITEMS["integer"], models.MIRRORS["integer"]
    fill("integer", COUNT)
    before = rows_of(mirror)
    wanted = model.select(model.id).where(model.n > 5).cte("wanted")
    query = model.update(note="y") if write == "update" else model.delete()
    query = query.with_cte(wanted).where(
        HALF, model.id.in_(wanted.select(peewee.SQL("id")))
    )
    found = query.returning(model.id, peewee.Value("behind").alias("mark")).execute()
    keys = sorted((row.id, row.mark) for row in found)
    entries = sqlite.entries()
    assert sorted(keys) == sorted((int(e.key or 0), "behind") for e in entries)
    assert all(key > 5 for key, _ in keys)
    assert replay(model, before, entries) == rows_of(mirror)
