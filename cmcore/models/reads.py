"""Reading: peewee's select, with a clear error where the schema is too old."""

from collections.abc import Callable
from typing import Any

import peewee

from cmcore.engines.internals import internal
from cmcore.models.failures import translated
from cmcore.models.metaclass import Bindable
from cmcore.models.schema_state import require_schema


class RecordedSelect(Bindable, peewee.ModelSelect):
    """`Model.select()`; type checkers are told of peewee's class instead."""

    model: Any
    _cursor_wrapper: Any

    def _execute(self, database: Any) -> Any:
        """Execute, and say so where tables of cmcore are absent or too old."""
        if self._cursor_wrapper is not None:
            return self._cursor_wrapper
        return self._checked(database, super()._execute)  # type: ignore[misc]  # no stub

    @internal.database_required  # type: ignore[untyped-decorator]  # no stub
    def count(self, database: Any, clear_limit: bool = False) -> Any:
        """Return the number of rows; it selects from this query as a sub-select."""

        def counted(where: Any) -> Any:
            return super(RecordedSelect, self).count(where, clear_limit)

        return self._checked(database, counted)

    @internal.database_required  # type: ignore[untyped-decorator]  # no stub
    def exists(self, database: Any) -> Any:
        """Return whether there is any row; it selects from this query as well."""
        return self._checked(database, super().exists)

    def _checked(self, database: Any, read: Callable[[Any], Any]) -> Any:
        meta = self.model._meta
        if meta.owned:
            require_schema(database, meta.table_name)
        with translated(self, database, meta.layout):
            return read(database)
