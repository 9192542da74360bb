"""An application's own scripts, of the same names, beside ours."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peewee_migrate.router import Router

from tests import stock
from tests.conftest import MakeUrl
from tests.stock import SCRIPTS, dump, fetch

OWN = SCRIPTS[:3]
TEXT = """
import peewee as pw

def migrate(migrator, database, *, fake=False):
    @migrator.create_model
    class Thing{number}(pw.Model):
        name = pw.CharField()

        class Meta:
            table_name = "app_{number}"

def rollback(migrator, database, *, fake=False):
    migrator.remove_model("app_{number}", cascade=False)
"""


@pytest.fixture(params=stock.TARGETS)
def db(request: pytest.FixtureRequest, make_url: MakeUrl) -> Iterator[Any]:
    """An empty database: SQLite without and with foreign keys, PostgreSQL."""
    with stock.opened(make_url, request.param) as database:
        yield database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three scripts, named as our first three."""
    scripts = tmp_path / "app"
    scripts.mkdir()
    for number, name in enumerate(OWN):
        (scripts / f"{name}.py").write_text(TEXT.format(number=number))
    return scripts


def theirs(db: Any, folder: Path) -> Router:
    """Return the runner of the application, with the history that is its default."""
    return Router(db, migrate_dir=folder)


def state(db: Any) -> tuple[list[Any], list[Any]]:
    """Return both histories."""
    ours = "SELECT name FROM cmcore_migrations ORDER BY id"
    own = "SELECT name FROM migratehistory ORDER BY id"
    return [n for (n,) in fetch(db, ours)], [n for (n,) in fetch(db, own)]


@pytest.mark.parametrize("order", ["before", "after", "interleaved"])
def test_both_run_whatever_the_order(db: Any, folder: Path, order: str) -> None:
    """Each keeps its history; both schemas are complete, in every order."""
    mine = [(0, name) for name in OWN]
    ours = [(1, name) for name in SCRIPTS]
    mixed = [s for pair in itertools.zip_longest(mine, ours) for s in pair if s]
    steps = {"before": mine + ours, "after": ours + mine, "interleaved": mixed}[order]
    for is_ours, name in steps:
        runner = stock.router(db) if is_ours else theirs(db, folder)
        assert runner.run(name) == [name]
    assert state(db) == (SCRIPTS, OWN)
    assert {"app_0", "app_1", "app_2", "users", "customers"} <= stock.tables(db)
    stock.fill(db)


def test_both_roll_back_independently(db: Any, folder: Path) -> None:
    """Taking one side back leaves the other as it was."""
    stock.migrate(db, 3)
    before = dump(db)
    theirs(db, folder).run()
    stock.migrate(db)
    stock.rollback_to(db, 3)
    assert state(db) == (SCRIPTS[:3], OWN)
    assert {"app_0", "app_1", "app_2"} <= stock.tables(db)
    stock.migrate(db)
    for _ in OWN:
        theirs(db, folder).rollback()
    assert state(db) == (SCRIPTS, [])
    stock.rollback_to(db, 3)
    history = "migratehistory"
    assert [row for row in dump(db) if history not in str(row)] == before
