"""The SQL that peewee would send for models, without a database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import peewee

from cmcore.errors import ConfigurationError

Statement = tuple[str, tuple[Any, ...]]


class Statements(NamedTuple):
    """What creates tables and their indexes, and what drops them again."""

    create: list[Statement]
    drop: list[Statement]


def render(models: Sequence[Any], *, sqlite: bool) -> Statements:
    """Return the statements for models, parents first, on one engine.

    Raises:
        ConfigurationError: A model that cannot be put into SQL for it.
    """
    kind = peewee.SqliteDatabase if sqlite else peewee.PostgresqlDatabase
    database: Any = kind("")
    sent: list[Statement] = []

    def execute_sql(sql: str, params: Any = None) -> None:
        sent.append((sql, tuple(params or ())))

    database.execute_sql = execute_sql
    with database.bind_ctx(models, bind_refs=False, bind_backrefs=False):
        database.sequence_exists = lambda *_: False
        for model in models:
            try:
                model._schema.create_all(safe=False)
            except (AttributeError, TypeError, ValueError) as error:
                name = "SQLite" if sqlite else "PostgreSQL"
                msg = f"{model.__name__} cannot be put into SQL for {name}: {error}"
                raise ConfigurationError(msg) from error
        create = list(sent)
        sent.clear()
        database.sequence_exists = lambda *_: True
        for model in reversed(models):
            model._schema.drop_all(safe=False)
    return Statements(create, sent)
