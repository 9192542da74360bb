"""One pair of databases for each engine, filled once: the tests here only read.

What a test writes, it writes in a transaction which it rolls back.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cmcore
from cmcore.models.metaclass import binding
from tests.conftest import postgresql_database
from tests.soft_delete.bench import Bench


@pytest.fixture(scope="session")
def sqlite_pair(tmp_path_factory: Any, migrated_sqlite: Path) -> Iterator[Bench]:
    """The pair of SQLite."""
    folder: Path = tmp_path_factory.mktemp("pair")
    shutil.copy(migrated_sqlite, folder / "soft.db")
    urls = (f"sqlite:///{folder / f'{name}.db'}" for name in ("soft", "purged"))
    yield from _filled("sqlite", *urls)


@pytest.fixture(scope="session")
def postgresql_pair(postgresql_url: str, migrated_postgresql: str) -> Iterator[Bench]:
    """The pair of PostgreSQL."""
    with (
        postgresql_database(postgresql_url, migrated_postgresql) as soft,
        postgresql_database(postgresql_url) as purged,
    ):
        yield from _filled("postgresql", soft, purged)


@pytest.fixture
def pair(engine: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The pair of each engine in turn."""
    yield from _bound(request.getfixturevalue(f"{engine}_pair"))


@pytest.fixture
def postgresql(postgresql_pair: Bench) -> Iterator[Bench]:
    """The pair of PostgreSQL, for what SQLite does not have."""
    yield from _bound(postgresql_pair)


def _filled(kind: str, soft: str, purged: str) -> Iterator[Bench]:
    bench = Bench(kind, cmcore.connect(soft), cmcore.connect(purged))
    bench.fill()
    binding.bind(None)
    try:
        yield bench
    finally:
        bench.db.close()
        bench.purged.close()


def _bound(bench: Bench) -> Iterator[Bench]:
    binding.bind(bench.db)
    bench.bind()
    for database in (bench.db, bench.purged):
        database.connect(reuse_if_open=True)
    try:
        yield bench
    finally:
        binding.bind(None)
