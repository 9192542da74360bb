"""A database of PostgreSQL, which is the engine that has partitions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.partitions import reversion
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import shape_trail
from tests.partitions.stages import Meanwhile, doing, grow


@pytest.fixture
def server(make_url: MakeUrl) -> Iterator[peewee.Database]:
    """A connected database of PostgreSQL with all migrations applied."""
    with connected(make_url("postgresql", migrated=True)) as db:
        yield db


@pytest.fixture
def converted(server: peewee.Database) -> peewee.Database:
    """The same with a partitioned trail."""
    cmcore.partitions.convert(server)
    return server


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("plain", marks=pytest.mark.postgresql),
        pytest.param("converted", marks=pytest.mark.postgresql),
        pytest.param("monthly", marks=pytest.mark.postgresql),
    ]
)
def shape(request: pytest.FixtureRequest) -> str:
    """Each shape that the trail can have: a table, one old partition, or many."""
    return str(request.param)


@pytest.fixture
def trail(shape: str, make_url: MakeUrl) -> Iterator[peewee.Database]:
    """A connected database with all migrations applied, and a trail of that shape."""
    engine = "sqlite" if shape == "sqlite" else "postgresql"
    with connected(make_url(engine, migrated=True)) as db:
        shape_trail(db, shape)
        yield db


@pytest.fixture
def monthly(server: peewee.Database) -> peewee.Database:
    """A database of PostgreSQL whose trail has a partition of each old month."""
    shape_trail(server, "monthly")
    return server


@pytest.fixture(params=["moved", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways back: entries move to the largest partition, or all are copied."""
    if request.param == "copied":
        monkeypatch.setattr(reversion, "_FEW", -1)
    return str(request.param)


@pytest.fixture
def grown(monthly: peewee.Database, monkeypatch: pytest.MonkeyPatch) -> peewee.Database:
    """The same with entries, all of which a reversion copies."""
    grow(monthly, monkeypatch)
    return monthly


@pytest.fixture
def other(grown: Any) -> Iterator[peewee.Database]:
    """A connection of somebody else to the same database."""
    database: peewee.Database = type(grown)(grown.database, **grown.connect_params)
    with database.connection_context():
        yield database


@pytest.fixture
def meanwhile(grown: peewee.Database, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """A function that lets something be done at a stage of a reversion."""
    return doing(grown, monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for archives, which is not there yet."""
    return tmp_path / "deep" / "archive"
