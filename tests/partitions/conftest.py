"""A database of PostgreSQL, which is the engine that has partitions."""

from collections.abc import Iterator

import peewee
import pytest

import cmcore
from tests.conftest import MakeUrl, connected


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
