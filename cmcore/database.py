"""Opening a database and binding the models to it: where the parts are wired."""

from typing import Any, cast

import peewee

from cmcore.engines.opening import open_database, refuse_unsupported
from cmcore.hooks.manager import plugins as registry
from cmcore.models.metaclass import binding


def connect(url: str, *, plugins: bool = True, **options: Any) -> peewee.Database:
    """Open a database and bind every model that has none of its own.

    A SQLite file is opened in WAL mode with `foreign_keys=1`, `synchronous=NORMAL`,
    `temp_store=MEMORY` and a busy timeout of 5 seconds; PostgreSQL sessions run in UTC.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `:memory:`, or
            `postgresql://user:password@host:port/name`, percent-encoded.
        plugins: Whether installed plugins are looked for.
        **options: Given to peewee's database class, for example `timeout=30`.

    Raises:
        ConfigurationError: A URL that cannot be read, an unknown scheme or option.
        UnreachableDatabaseError: A server that is down, a file that cannot be opened.

    Example:
        db = cmcore.connect("sqlite:///crm.db")
    """
    database = open_database(url, options)
    init(database, plugins=plugins)
    return database


def init(
    database: peewee.Database | peewee.Proxy, *, plugins: bool = True
) -> peewee.Database:
    """Bind an application's own peewee database instead of opening one.

    Every `cmcore.Model` without a database of its own uses it from here on, classes
    defined later included; a second call binds them anew.

    Raises:
        ConfigurationError: A class of database that cmcore cannot record.
    """
    if isinstance(database, peewee.Proxy):
        database = cast("peewee.Database", database.obj or database)
    refuse_unsupported(database)
    if plugins:
        registry.load_installed()
    binding.bind(database)
    return database
