"""What the stock runner believes the tables to be, for `create --auto` alone.

Scripts change tables with SQL, so they have to tell the runner's model of the schema as
well. Nothing here meets the database. A runner that did not replay the earlier scripts
has no model of their tables; then there is nothing to keep up to date.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import peewee

from cmcore.schema.columns import Column


class Migrator(Protocol):
    """The part of the stock runner's migrator that the scripts use."""

    orm: Any
    __database__: peewee.Database

    def run(self, func: Callable[[], None]) -> None:
        """Queue a function, to be called after the script's body."""


class Substitute:
    """Stands in for the runner's migrator where scripts are read for another end."""

    def __init__(self, db: peewee.Database) -> None:
        """Take the database; nobody asks for a model of its tables."""
        self.orm: set[Any] = set()
        self.__database__ = db

    def run(self, func: Callable[[], None]) -> None:
        """Leave out what the runner would call after the script's body."""

    def take(self, script: str, verb: "Verb") -> None:
        """Do something with a verb of a script."""
        raise NotImplementedError


class Verb(NamedTuple):
    """What a script says is to be done.

    Attributes:
        what: The deed, for people.
        action: What does it, in the transaction of the script.
        ahead: What does most of it ahead of the script, locking nobody out.
    """

    what: str
    action: Callable[[peewee.Database], None]
    ahead: Callable[[peewee.Database], None] | None


def add_table(migrator: Migrator, table: str, columns: Iterable[Column]) -> None:
    """Add a table with its columns."""
    options = {"table_name": table, "database": migrator.__database__}
    attributes: dict[str, Any] = {"Meta": type("Meta", (), options)}
    for column in columns:
        attributes[column.field_name or column.name] = _field(migrator, table, column)
    migrator.orm.add(type(table, (peewee.Model,), attributes))


def set_columns(migrator: Migrator, table: str, columns: Iterable[Column]) -> None:
    """Add columns, or describe those anew that are there."""
    model = _model(migrator, table)
    for column in columns if model else ():
        name = column.field_name or column.name
        if name in model._meta.fields:
            model._meta.remove_field(name)
        model._meta.add_field(name, _field(migrator, table, column))


def set_index(
    migrator: Migrator, table: str, name: str, columns: tuple[str, ...], *, unique: bool
) -> None:
    """Add an index, or replace the one of that name."""
    model = _model(migrator, table)
    if model is None:
        return
    fields = [model._meta.columns[column] for column in columns]
    index = peewee.ModelIndex(model, fields, unique=unique, name=name)
    others = [kept for kept in model._meta.indexes if _index_name(kept) != name]
    model._meta.indexes = [*others, index]


def _index_name(index: Any) -> Any:
    return vars(index)["_name"]


def _model(migrator: Migrator, table: str) -> Any:
    return next((m for m in migrator.orm if m._meta.table_name == table), None)


def _field(migrator: Migrator, table: str, column: Column) -> Any:
    users = "self" if table == "users" else _model(migrator, "users")
    if users is None:
        column = column._replace(on_delete=None)
    return column.model_field(users)
