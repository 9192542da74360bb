"""From a URL to a database: what each engine is given, and what its errors mean."""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import peewee

from cmcore.engines.binding import is_capturable
from cmcore.engines.failures import first_line
from cmcore.errors import ConfigurationError, UnreachableDatabaseError

_PRAGMAS = {
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "synchronous": "NORMAL",
    "temp_store": "MEMORY",  # what undoes a savepoint; a file costs a write a page
}
_SCHEMES = frozenset({"postgresql", "postgres"})
_DRIVERS = frozenset({"", "psycopg2", "psycopg", "psycopg3"})
_OLDEST_SQLITE = (3, 35, 0)
_BAD_PORT = re.compile(r"(\[[^]]*\]|[^]:/?#[]*):(?!\d{0,4}([/?#]|$)|[1-6]\d{4}\b)")


def open_database(url: Any, options: dict[str, Any]) -> peewee.Database:
    """Make a database from a URL, connect, and try it.

    Raises:
        ConfigurationError: A URL that cannot be read, an unknown scheme or option.
        UnreachableDatabaseError: A server that is down, a file that cannot be opened.
    """
    if not isinstance(url, str) or not url:
        msg = "A database URL is needed, for example sqlite:///crm.db."
        raise ConfigurationError(msg)
    is_file = url == ":memory:" or url.startswith("sqlite:")
    try:
        database = (_sqlite if is_file else _postgresql)(url, options)
    except (TypeError, ValueError) as error:
        msg = f"An option of connect() has a value that does not fit: {error}."
        raise ConfigurationError(msg) from None
    try:
        _connect(database)
        if is_file:  # a file that is no database is found out only by reading it
            database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
    except (peewee.PeeweeException, sqlite3.Error) as error:
        database.close()
        raise UnreachableDatabaseError(_unreachable(database, error)) from None
    except TypeError as error:
        msg = f"An option of connect() is not known to the driver: {error}."
        raise ConfigurationError(msg) from None
    return database


def _connect(database: Any) -> None:
    """Connect, and wait for others who write to the file.

    SQLite does not wait by itself where a file changes over to WAL.
    """
    timeout = getattr(database, "timeout", None) or 0
    deadline = time.monotonic() + timeout
    while True:
        try:
            database.connect()
        except (peewee.OperationalError, sqlite3.OperationalError) as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            database.close()
            time.sleep(0.05)
        else:
            return


def refuse_unsupported(database: Any) -> None:
    """Raise `ConfigurationError` for a database whose writes cannot be recorded."""
    is_file = isinstance(database, peewee.SqliteDatabase)
    is_server = isinstance(database, peewee.PostgresqlDatabase)
    if not (is_file or is_server) or not is_capturable(database):
        msg = (
            f"cmcore cannot record writes through {type(database).__name__}. Use "
            "peewee's SQLite or PostgreSQL classes, or their pooled forms."
        )
        raise ConfigurationError(msg)
    if is_file and tuple(database.server_version) < _OLDEST_SQLITE:
        msg = (
            f"SQLite {sqlite3.sqlite_version} is too old: cmcore needs 3.35 or newer. "
            "Install a Python that brings a newer one."
        )
        raise ConfigurationError(msg)


def _sqlite(url: str, options: dict[str, Any]) -> peewee.Database:
    path = ":memory:"
    if url != ":memory:":
        head, _, query = url.partition("?")
        if not head.startswith("sqlite://"):
            msg = "A SQLite URL begins with sqlite:/// and a path: sqlite:///crm.db."
            raise ConfigurationError(msg)
        location = head.removeprefix("sqlite://")
        if location and not location.startswith("/"):
            msg = (
                "sqlite:// needs three slashes before a relative path, and four before "
                "an absolute one: sqlite:///crm.db, sqlite:////var/lib/crm.db."
            )
            raise ConfigurationError(msg)
        path = unquote(location[1:]) or ":memory:"
        options = {**_numbers(query), **options}
    pragmas = dict(_PRAGMAS)
    timeout = options.pop("timeout", 5)
    pragmas["busy_timeout"] = int(float(timeout) * 1000)
    if path != ":memory:":
        pragmas = {"journal_mode": "wal", **pragmas}
    pragmas.update(options.pop("pragmas", {}))
    return peewee.SqliteDatabase(path, pragmas=pragmas, timeout=timeout, **options)


def _numbers(query: str) -> dict[str, Any]:
    return {
        name: float(value) if value.replace(".", "", 1).isdigit() else value
        for name, value in parse_qsl(query)
    }


def _postgresql(url: str, options: dict[str, Any]) -> peewee.Database:
    scheme = url.partition("://")[0]
    dialect, _, driver = scheme.partition("+")
    if dialect not in _SCHEMES or driver not in _DRIVERS:
        msg = (
            f"{_redacted(url)}: the scheme is not known. Use sqlite:///file.db or "
            "postgresql://user:password@host/name."
        )
        raise ConfigurationError(msg)
    try:
        parts = urlsplit("postgresql://" + url.partition("://")[2])
        found = {
            "host": parts.hostname,
            "port": parts.port,
            "user": parts.username and unquote(parts.username),
            "password": parts.password and unquote(parts.password),
        }
    except ValueError:
        cure = (
            "the URL cannot be read. Percent-encode special characters in the "
            "password, for example @ as %40 and / as %2F."
        )
        # a password with a slash in it looks like a port as well
        tail = url.partition("://")[2].rpartition("@")[2]
        if _BAD_PORT.match(tail):
            cure = "the port must be a number up to 65535, as in host:5432/name."
        msg = f"{_redacted(url)}: {cure}"
        raise ConfigurationError(msg) from None
    name = unquote(parts.path.lstrip("/"))
    if not name:
        msg = f"{_redacted(url)}: the name of the database is missing at the end."
        raise ConfigurationError(msg)
    if driver in {"psycopg", "psycopg3"}:
        options.setdefault("prefer_psycopg3", True)
    given = {**dict(parse_qsl(parts.query)), **options}
    given["options"] = f"{given.get('options', '')} -c TimeZone=UTC".strip()
    settings = {k: v for k, v in found.items() if v is not None}
    return _PostgresqlInUtc(name, **{**settings, **given})


class _PostgresqlInUtc(peewee.PostgresqlDatabase):
    """Sees to it that every connection is in UTC.

    The driver sends PGTZ of the environment, which wins over the options; what the
    server made of both is known without asking it.
    """

    def _initialize_connection(self, connection: Any) -> None:
        if connection.info.parameter_status("TimeZone") != "UTC":
            connection.cursor().execute("SET TimeZone = 'UTC'")


def _redacted(url: str) -> str:
    """Return the URL without anything that may be a password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "The database URL"
    host = rest.rpartition("@")[2] if "@" in rest else ""
    return f"{scheme}://…@{host.partition('?')[0]}" if host else f"{scheme}://…"


def _unreachable(database: Any, error: Exception) -> str:
    if isinstance(database, peewee.SqliteDatabase):
        path = Path(database.database)
        return (
            f"The SQLite file {path} cannot be opened: {first_line(error)}. Check that "
            "the folder exists, that you may write there, and that the file is a "
            "database."
        )
    host = database.connect_params.get("host", "localhost")
    port = database.connect_params.get("port", 5432)
    password = database.connect_params.get("password")
    reason = first_line(error)
    if password:
        reason = reason.replace(password, "***")
    return (
        f"PostgreSQL at {host}:{port}, database {database.database!r}, cannot be "
        f"reached: {reason}. Check that the server runs, the name and the password."
    )
