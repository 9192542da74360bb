"""One database for each engine, emptied before every test."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cmcore
from cmcore.engines.binding import engine_of
from cmcore.models.metaclass import binding
from tests.conftest import postgresql_database
from tests.soft_delete_writes.bench import Bench
from tests.soft_delete_writes.models import MODELS, Hen


@pytest.fixture(scope="session")
def sqlite_soft_bench(tmp_path_factory: Any, migrated_sqlite: Path) -> Iterator[Bench]:
    """The bench of SQLite, made once."""
    path: Path = tmp_path_factory.mktemp("soft") / "soft.db"
    shutil.copy(migrated_sqlite, path)
    yield from _made("sqlite", f"sqlite:///{path}", pragmas={"synchronous": "off"})


@pytest.fixture(scope="session")
def postgresql_soft_bench(
    postgresql_url: str, migrated_postgresql: str
) -> Iterator[Bench]:
    """The bench of PostgreSQL, made once."""
    with postgresql_database(postgresql_url, migrated_postgresql) as url:
        yield from _made("postgresql", url)


@pytest.fixture
def bench(engine: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The bench of each engine in turn, with empty tables and an empty trail."""
    yield from _clean(request.getfixturevalue(f"{engine}_soft_bench"))


@pytest.fixture
def sqlite(sqlite_soft_bench: Bench) -> Iterator[Bench]:
    """The clean bench of SQLite, for what PostgreSQL does not have."""
    yield from _clean(sqlite_soft_bench)


def _made(engine: str, url: str, **options: Any) -> Iterator[Bench]:
    db = cmcore.connect(url, **options)
    db.create_tables(MODELS)
    if engine == "postgresql":  # SQLite cannot add it later
        hen: Any = Hen
        hen._schema.create_foreign_key(hen.egg)
    binding.bind(None)
    bench = Bench(engine, url, db, MODELS)
    try:
        yield bench
    finally:
        db.close()


def _clean(bench: Bench) -> Iterator[Bench]:
    cmcore.init(bench.db)
    bench.db.connect(reuse_if_open=True)
    bench.clear()
    try:
        yield bench
    finally:
        engine: Any = engine_of(bench.db)
        if engine.in_transaction(bench.db):  # the test failed in the middle of it
            bench.db.rollback()
        binding.bind(None)
