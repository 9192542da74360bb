"""Which engine a database belongs to."""

from typing import Any

import peewee

from cmcore.engines.execution import connection_of
from cmcore.engines.older_postgresql import OlderPostgresql
from cmcore.engines.postgresql import Postgresql
from cmcore.engines.sqlite import Sqlite

Engine = Sqlite | Postgresql

_SQLITE = Sqlite()
_POSTGRESQL = Postgresql()
_OLDER_POSTGRESQL = OlderPostgresql()
_OLD_AND_NEW_IN_RETURNING = 180_000
_UNSUPPORTED = frozenset(
    {
        "SqliteQueueDatabase",  # writes happen in another thread
        "APSWDatabase",
        "CockroachDatabase",
        "PooledCockroachDatabase",
        "AsyncSqliteDatabase",
        "AsyncPostgresqlDatabase",
    }
)


def engine_of(database: Any) -> Engine | None:
    """Return the engine, or None for a class that cmcore cannot capture."""
    if isinstance(database, peewee.SqliteDatabase):
        return _SQLITE if is_capturable(database) else None
    if isinstance(database, peewee.PostgresqlDatabase) and is_capturable(database):
        if database.server_version is None:
            connection_of(database)
        if database.server_version < _OLD_AND_NEW_IN_RETURNING:
            return _OLDER_POSTGRESQL
        return _POSTGRESQL
    return None


def is_capturable(database: Any) -> bool:
    """Tell whether the class writes in this thread, through a driver that we know."""
    known = _supported.get(type(database))
    if known is None:
        names = {base.__name__ for base in type(database).__mro__}
        known = _supported[type(database)] = names.isdisjoint(_UNSUPPORTED)
    return known


_supported: dict[type, bool] = {}
