"""What no write may name: the two columns that only delete and restore write."""

from collections.abc import Iterable, Mapping
from typing import Any

import peewee

from cmcore.errors import ProtectedRowError


def refuse_marks(model: Any, named: Iterable[Any]) -> None:
    """Raise `ProtectedRowError` for a write that names one of the two columns."""
    meta = model._meta
    if not meta.is_soft_deleted:
        return
    for key in named:
        field = meta.combined.get(key) if isinstance(key, str) else key
        if getattr(field, "name", None) in {"deleted_at", "deleted_by"}:
            raise ProtectedRowError(meta.table_name, column=field.column_name)


def unmarked_rows(query: Any) -> Any:
    """Return the rows of an INSERT, of which none is born deleted.

    None may stand in the two columns. A generator is looked at while it is read.
    """
    model, rows = query.model, query._insert
    if rows is None or not model._meta.is_soft_deleted:
        return rows
    if isinstance(rows, peewee.SelectQuery | peewee.SQL):
        refuse_marks(model, query._columns or ())
        return rows
    columns = query._columns or query.get_default_columns()

    def unmarked(row: Any) -> Any:
        is_named = isinstance(row, Mapping)
        pairs = row.items() if is_named else zip(columns, row, strict=False)
        refuse_marks(model, (key for key, value in pairs if value is not None))
        return row

    if isinstance(rows, Mapping):
        return unmarked(rows)
    checked = map(unmarked, rows)
    return list(checked) if isinstance(rows, list | tuple) else checked
