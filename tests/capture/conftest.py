"""One pair of databases for each engine, emptied before every test.

In the first one cmcore is migrated and the sample models are recorded; the second one
holds the same tables for plain peewee.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cmcore
from cmcore.engines.binding import engine_of
from cmcore.models.metaclass import binding
from tests import models
from tests.capture.bench import Bench
from tests.conftest import postgresql_database


@pytest.fixture(scope="session")
def sqlite_bench(tmp_path_factory: Any, migrated_sqlite: Path) -> Iterator[Bench]:
    """The bench of SQLite, made once."""
    folder: Path = tmp_path_factory.mktemp("bench")
    shutil.copy(migrated_sqlite, folder / "recorded.db")
    recorded, plain = (f"sqlite:///{folder / f'{n}.db'}" for n in ("recorded", "plain"))
    yield from _made("sqlite", recorded, plain, pragmas={"synchronous": "off"})


@pytest.fixture(scope="session")
def postgresql_bench(postgresql_url: str, migrated_postgresql: str) -> Iterator[Bench]:
    """The bench of PostgreSQL, made once."""
    with (
        postgresql_database(postgresql_url, migrated_postgresql) as recorded,
        postgresql_database(postgresql_url) as plain,
    ):
        yield from _made("postgresql", recorded, plain)


@pytest.fixture
def bench(engine: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The bench of each engine in turn, with empty tables and an empty trail."""
    yield from _clean(request.getfixturevalue(f"{engine}_bench"))


@pytest.fixture
def sqlite(sqlite_bench: Bench) -> Iterator[Bench]:
    """The clean bench of SQLite, for what PostgreSQL does not have."""
    yield from _clean(sqlite_bench)


@pytest.fixture
def postgresql(postgresql_bench: Bench) -> Iterator[Bench]:
    """The clean bench of PostgreSQL, for what SQLite does not have."""
    yield from _clean(postgresql_bench)


def _made(engine: str, recorded: str, plain: str, **options: Any) -> Iterator[Bench]:
    plain_db = cmcore.connect(plain, **options)
    db = cmcore.connect(recorded, **options)
    bench = Bench(engine, recorded, db, plain_db)
    bench.bind_plain_models()
    db.create_tables(models.RECORDED)
    plain_db.create_tables(models.UNSEEN)
    for name in models.USERS:
        cmcore.User.create(
            id=name, email=f"{name}@a.org", password_hash="-" * 20, full_name=name
        )
    binding.bind(None)
    try:
        yield bench
    finally:
        bench.close()


def _clean(bench: Bench) -> Iterator[Bench]:
    cmcore.init(bench.db)
    for database in (bench.db, bench.plain):
        database.connect(reuse_if_open=True)
    bench.clear()
    try:
        yield bench
    finally:
        engine: Any = engine_of(bench.db)
        if engine.in_transaction(bench.db):  # the test failed in the middle of it
            bench.db.close()
        binding.bind(None)
