"""Tables made from the models are the tables that the scripts make."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

from cmcore.engines.catalog import Table, describe
from cmcore.models import AuditLog, Customer, User
from cmcore.runner import migrate
from cmcore.schema.constraints import EngineSQL
from cmcore.schema.history import inspect, migrations_path
from tests import stock
from tests.conftest import MakeUrl

MODELS = (User, Customer, AuditLog)
PW_MIGRATE = "from peewee_migrate.cli import cli; cli()"


@pytest.fixture
def made(engine: str, make_url: MakeUrl) -> Iterator[Any]:
    """A database whose tables were made from the models."""
    with stock.opened(make_url, engine) as db:
        with db.bind_ctx(MODELS):
            db.create_tables(MODELS)
        yield db


@pytest.fixture
def migrated(engine: str, make_url: MakeUrl) -> Iterator[Any]:
    """A database whose tables were made by the scripts."""
    with stock.opened(make_url, engine) as db:
        stock.migrate(db)
        yield db


@pytest.mark.parametrize("table", ["users", "customers", "audit_logs"])
@pytest.mark.parametrize("part", Table._fields[1:])
def test_catalogs_are_equal(made: Any, migrated: Any, table: str, part: str) -> None:
    """Columns, types, nullability, defaults, keys, CHECKs and indexes agree."""
    expected = getattr(describe(migrated, table), part)
    assert expected
    assert getattr(describe(made, table), part) == expected


@pytest.mark.parametrize("table", ["users", "customers", "audit_logs"])
def test_columns_stand_in_one_order(made: Any, migrated: Any, table: str) -> None:
    """`SELECT *` gives the same row, whichever way the table was made."""
    order = [column.name for column in made.get_columns(table)]
    assert order == [column.name for column in migrated.get_columns(table)]


def test_the_trail_is_without_rowids_on_sqlite(make_url: MakeUrl) -> None:
    """Both ways: writing the trail must not move last_insert_rowid."""
    for from_models in (True, False):
        with stock.opened(make_url, "sqlite") as db:
            if from_models:
                with db.bind_ctx(MODELS):
                    db.create_tables(MODELS)
            else:
                migrate(db)
            with pytest.raises(peewee.OperationalError, match="no such column"):
                db.execute_sql("SELECT rowid FROM audit_logs")


def test_a_trail_only_table_differs_by_its_foreign_keys(
    migrated: Any, engine: str, make_url: MakeUrl
) -> None:
    """The other folder makes the same columns, rules and indexes."""
    with stock.opened(make_url, engine) as db:
        migrate(db, trail_only=True)
        trail = describe(db, "audit_logs")
    full = describe(migrated, "audit_logs")
    assert trail.foreign_keys == ()
    assert trail == full._replace(foreign_keys=())


def test_tables_made_from_the_models_count_as_migrated(made: Any) -> None:
    """Without a history the columns of users tell."""
    assert inspect(made) == ("full", ())


def test_auto_finds_no_changes(engine: str, tmp_path: Path, make_url: MakeUrl) -> None:
    """`pw_migrate create --auto --auto-source cmcore.models` writes no file."""
    folder = tmp_path / "migrations"
    shutil.copytree(
        migrations_path(), folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    before = sorted(folder.iterdir())
    url = make_url(engine)
    for command in (["migrate"], ["create", "x", "--auto"]):
        source = ["--auto-source", "cmcore.models"] if len(command) > 1 else []
        options = ["--directory", str(folder), "--database", url]
        done = subprocess.run(
            [sys.executable, "-c", PW_MIGRATE, *command, *source, *options],
            check=True,
            capture_output=True,
            text=True,
        )
    assert "No changes found" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_auto_finds_a_change(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does compare: a script less, and the columns that it adds are missing."""
    with stock.opened(make_url, "sqlite") as db:
        router = stock.router(db)
        monkeypatch.setattr(type(router), "todo", stock.SCRIPTS[:4])
        compiled: list[str] = []
        monkeypatch.setattr(
            router, "compile", lambda _name, up, _down: compiled.append(up)
        )
        router.run()
        router.create("x", auto="cmcore.models")
    assert "deleted_at" in compiled[0]


def test_a_percent_sign_reaches_the_driver_as_it_needs_it() -> None:
    """PostgreSQL's drivers read two as one; SQLite's takes the text as it is."""
    node = EngineSQL(sqlite="CHECK (a <> '%?')", postgresql="CHECK (a <> '%')")
    lite = peewee.SqliteDatabase(":memory:").get_sql_context().sql(node).query()
    post = peewee.PostgresqlDatabase("x").get_sql_context().sql(node).query()
    assert lite == ("CHECK (a <> '%?')", [])
    assert post == ("CHECK (a <> '%%')", [])
