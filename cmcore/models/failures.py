"""The database's refusals as cmcore's own errors, with what is known of the row."""

from collections.abc import Iterable
from typing import Any

import peewee

from cmcore.engines.binding import engine_of
from cmcore.engines.execution import quiet
from cmcore.engines.failures import Failure, read_failure
from cmcore.errors import (
    CmcoreError,
    DatabaseLockedError,
    DuplicateError,
    InvalidValueError,
    MissingReferenceError,
    PendingMigrationsError,
    StillReferencedError,
    TooLongError,
)
from cmcore.layout import Layout
from cmcore.models.literals import Known, known_rows
from cmcore.models.schema_state import schema_of
from cmcore.schema.checks import rule
from cmcore.schema.constraints import broken_length

_OWN_TABLES = ("users", "customers", "audit_logs")
_ROWS_SEARCHED = 1_000


class translated:  # noqa: N801 - reads as a clause: with translated(query, …)
    """Raise cmcore's typed error in the place of the database's.

    The original error is chained, unless the model has masked fields: its text may
    quote the whole row.
    """

    __slots__ = ("_database", "_layout", "_query")

    def __init__(self, query: Any, database: Any, layout: Layout) -> None:
        """Take the statement that may fail."""
        self._query = query
        self._database = database
        self._layout = layout

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Translate errors of the database; let everything else pass."""
        if kind is None or not isinstance(error, peewee.DatabaseError | ValueError):
            return
        if isinstance(error, CmcoreError):
            return
        failure = read_failure(error)
        typed = failure and _Reading(self._query, self._database, self._layout).read(
            failure, str(error)
        )
        if typed is not None:
            if self._layout.masked or self._layout.excluded:
                raise typed from None
            typed.orig = getattr(error, "orig", error)  # type: ignore[attr-defined]
            raise typed from error


class _Reading:
    """One failed statement and what can be found out about it."""

    def __init__(self, query: Any, database: Any, layout: Layout) -> None:
        self._query = query
        self._database = database
        self._layout = layout
        self._table: str = layout.model._meta.table_name

    def read(self, failure: Failure, text: str) -> Exception | None:
        if failure.kind == "locked":
            return DatabaseLockedError(self._table)
        if failure.kind == "absent":
            return pending(self._database, self._table, text)
        if failure.kind == "unique":
            return self._duplicate(failure)
        if failure.kind in {"missing", "reference", "referenced"}:
            return self._reference(failure)
        return self._invalid(failure)

    def _invalid(self, failure: Failure) -> Exception:
        known = {"table": self._table, "constraint": failure.constraint}
        broken = rule(failure.constraint or "")
        if broken is not None:
            field = self._field(broken.column)
            value = self._first(field, lambda v: not broken.is_valid(v))
            detail = f"It must be {broken.sentence}."
            return self._error(InvalidValueError, field, value, known, detail)
        length = broken_length(failure.constraint or "")
        if failure.kind == "long" or length is not None:
            field, value = self._too_long(length and length[0])
            known["constraint"] = None
            limit = length[1] if length else getattr(field, "max_length", None)
            detail = f"At most {limit} characters fit." if limit else ""
            return self._error(TooLongError, field, value, known, detail)
        if failure.kind == "nul":
            field, value = self._containing_nul()
            detail = "PostgreSQL stores no U+0000 in text."
            return self._error(InvalidValueError, field, value, known, detail)
        field = self._field(failure.columns[0]) if failure.columns else None
        detail = "A value is needed." if failure.kind == "null" else ""
        return self._error(InvalidValueError, field, None, known, detail)

    def _duplicate(self, failure: Failure) -> Exception:
        fields = [f for c in failure.columns if (f := self._field(c)) is not None]
        key = value = None
        column = failure.columns[0] if len(failure.columns) == 1 else None
        for row in self._rows():
            if fields and all(field in row for field in fields):
                value = row[fields[0]] if len(fields) == 1 else None
                holder = self._holder(fields, row)
                if holder is not None:
                    key = holder
                    break
        return DuplicateError(
            table=self._table,
            column=column,
            constraint=failure.constraint,
            value=self._shown(fields[0], value) if fields else None,
            fields=tuple(field.name for field in fields),
            key=key,
        )

    def _holder(self, fields: list[Any], row: Known) -> Any:
        layout, engine = self._layout, engine_of(self._database)
        if engine is None or not layout.keys or not engine.is_readable(self._database):
            return None
        where = " AND ".join(
            f"{layout.columns[layout.positions[field]]} = {engine.placeholder}"
            for field in fields
        )
        found = quiet(
            self._database,
            f"SELECT {', '.join(layout.columns)} FROM {layout.table_sql} "
            f"WHERE {where}",
            [field.db_value(row[field]) for field in fields],
        ).fetchone()
        return found and layout.key(found)

    def _reference(self, failure: Failure) -> Exception:
        if failure.kind == "reference":  # SQLite does not tell which
            return self._sqlite_reference()
        if failure.kind == "referenced":
            detail = f"Table {failure.other_table} refers to it."
            return StillReferencedError(
                table=self._table, constraint=failure.constraint, detail=detail
            )
        field = self._field(failure.columns[0]) if failure.columns else None
        value = self._first(field, lambda v: v is not None)
        known = {"table": self._table, "constraint": failure.constraint}
        return self._error(MissingReferenceError, field, value, known)

    def _sqlite_reference(self) -> Exception:
        known = {"table": self._table, "constraint": None}
        if not isinstance(self._query, peewee.Delete):
            for row in self._rows():
                for field, value in row.items():
                    if self._is_missing(field, value):
                        return self._error(MissingReferenceError, field, value, known)
        inserts = isinstance(self._query, peewee.Insert)
        if inserts and self._query._on_conflict is None:
            return self._error(MissingReferenceError, None, None, known)
        return StillReferencedError(table=self._table)

    def _is_missing(self, field: Any, value: Any) -> bool:
        if not isinstance(field, peewee.ForeignKeyField) or value is None:
            return False
        target = Layout(field.rel_model)
        column = target.columns[target.positions[field.rel_field]]
        found = quiet(
            self._database,
            f"SELECT 1 FROM {target.table_sql} WHERE {column} = ?",
            (field.db_value(value),),
        )
        return found.fetchone() is None

    def _field(self, column: str) -> Any:
        return self._layout.model._meta.columns.get(column)

    def _rows(self) -> Iterable[Known]:
        return known_rows(self._query, self._layout)[:_ROWS_SEARCHED]

    def _first(self, field: Any, condition: Any) -> Any:
        """Return the first value of a field that meets a condition."""
        values = (row[field] for row in self._rows() if field in row)
        return next((value for value in values if condition(value)), None)

    def _too_long(self, column: str | None) -> tuple[Any, Any]:
        wanted = self._field(column) if column else None
        for row in self._rows():
            for field, value in row.items():
                limit = getattr(field, "max_length", None)
                fits = limit is None or len(str(value or "")) <= limit
                if not fits and wanted in {None, field}:
                    return field, value
        return wanted, None

    def _containing_nul(self) -> tuple[Any, Any]:
        for row in self._rows():
            for field, value in row.items():
                if isinstance(value, str) and "\x00" in value:
                    return field, value
        return None, None

    def _shown(self, field: Any, value: Any) -> Any:
        hidden = self._layout.masked | self._layout.excluded
        return None if self._layout.positions.get(field) in hidden else value

    def _error(
        self,
        kind: Any,
        field: Any,
        value: Any,
        known: dict[str, Any],
        detail: str = "",
    ) -> Exception:
        column = field.column_name if field is not None else None
        error: Exception = kind(
            column=column, value=self._shown(field, value), detail=detail, **known
        )
        return error


def pending(database: Any, table: str, text: str) -> Exception | None:
    """Return the error of a statement that found a table or column of ours absent."""
    if not any(own in text for own in _OWN_TABLES) and table not in _OWN_TABLES:
        return None
    engine = engine_of(database)
    scripts: tuple[str, ...] = ()
    if engine is not None and engine.is_readable(database):
        state = schema_of(database)
        if state.kind != "none" and not state.pending and table not in _OWN_TABLES:
            return None
        scripts = tuple(state.pending)
    return PendingMigrationsError(scripts, table)
