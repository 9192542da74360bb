"""Models without a database: what uses one says how to bind it."""

from typing import Any

import peewee

from cmcore.errors import UnboundModelError


class UnboundDatabase(peewee.DatabaseProxy):
    """Stands in a query of a model without a database; its use says how to bind."""

    __slots__ = ("_Model", "_callbacks", "_model_name", "obj")

    def __init__(self, model_name: str) -> None:
        """Take the name for the error's text."""
        self._model_name = model_name
        super().__init__()

    def get_sql_context(self, **options: Any) -> Any:
        """Return what peewee renders queries with that are not bound."""
        return peewee.Context(**options)

    def __getattr__(self, attr: str) -> Any:
        """Raise, since nothing is here."""
        raise UnboundModelError(self._model_name)

    def __enter__(self) -> Any:
        """Raise, since nothing is here."""
        raise UnboundModelError(self._model_name)


class Bindable:
    """Mixed into the queries: without a database, executing one says how to bind."""

    _database: Any
    model: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what peewee's query takes."""
        super().__init__(*args, **options)
        if self._database is None:
            self._database = UnboundDatabase(self.model.__name__)


class SchemaManager(peewee.SchemaManager):
    """peewee's, which says how to bind where there is no database."""

    @property
    def database(self) -> Any:
        """Return the database that was given, or the model's."""
        found = self._database or self.model._meta.database
        if found is None:
            raise UnboundModelError(self.model.__name__)
        return found

    @database.setter
    def database(self, database: Any) -> None:
        self._database = database
