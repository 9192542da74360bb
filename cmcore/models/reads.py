"""Reading: peewee's select, with a clear error where the schema is too old."""

from collections.abc import Callable
from typing import Any

import peewee

from cmcore.engines.failures import read_failure
from cmcore.models.failures import pending
from cmcore.models.schema_state import require_schema


class RecordedSelect(peewee.ModelSelect):
    """`Model.select()`."""

    model: Any

    def _execute(self, database: Any) -> Any:
        """Execute, and say so where tables of cmcore are absent or too old."""
        if self._cursor_wrapper is not None:
            return self._cursor_wrapper
        return self._checked(database, super()._execute)

    @peewee.database_required
    def count(self, database: Any, clear_limit: bool = False) -> Any:
        """Return the number of rows; it selects from this query as a sub-select."""

        def counted(where: Any) -> Any:
            return super(RecordedSelect, self).count(where, clear_limit)

        return self._checked(database, counted)

    def _checked(self, database: Any, read: Callable[[Any], Any]) -> Any:
        meta = self.model._meta
        if meta.owned:
            require_schema(database, meta.table_name)
        try:
            return read(database)
        except peewee.DatabaseError as error:
            failure = read_failure(error)
            if failure is not None and failure.kind == "absent":
                typed = pending(database, meta.table_name, str(error))
                if typed is not None:
                    raise typed from error
            raise
