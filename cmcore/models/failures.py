"""The database's refusals as cmcore's own errors, with what is known of the row."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import peewee

from cmcore.engines.binding import engine_of
from cmcore.engines.execution import hidden_parameters, quiet
from cmcore.engines.failures import Failure, code_of, read_failure, unusable
from cmcore.errors import (
    CmcoreError,
    DatabaseLockedError,
    DuplicateError,
    InvalidValueError,
    MissingReferenceError,
    PendingMigrationsError,
    StillReferencedError,
    TooLongError,
    UnreachableDatabaseError,
)
from cmcore.hooks import dispatch
from cmcore.layout import Layout, quoted
from cmcore.models.literals import Known, known_rows
from cmcore.models.schema_state import schema_of
from cmcore.schema.checks import rule
from cmcore.schema.constraints import broken_length

_OWN_TABLES = ("users", "customers", "audit_logs")
_ROWS_SEARCHED = 1_000
KEPT_KEY = (
    "A deleted row keeps its key; if one has this, restore it with restore_instance()."
)


class translated:  # noqa: N801 - reads as a clause: with translated(query, …)
    """Raise cmcore's typed error in the place of the database's.

    The original error is chained, unless the model has masked fields: its text may
    quote the whole row.
    """

    __slots__ = ("_database", "_hiding", "_layout", "_query")

    def __init__(self, query: Any, database: Any, layout: Layout) -> None:
        """Take the statement that may fail."""
        self._query = query
        self._database = database
        self._layout = layout
        self._hiding = hidden_parameters() if layout.hides else None

    def __enter__(self) -> None:
        """Keep parameters out of the logs where the model has masked fields."""
        if self._hiding is not None:
            self._hiding.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Translate errors of the database; let everything else pass."""
        try:
            if isinstance(error, peewee.PeeweeException | ValueError):
                self._translate(error)
        finally:
            if self._hiding is not None:
                self._hiding.__exit__()

    def _translate(self, error: Exception) -> None:
        if isinstance(error, CmcoreError):
            return
        failure = read_failure(error)
        query = getattr(self._query, "_sent", None)
        if query is None:  # `or` would ask the query for its length, and run it
            query = self._query
        reading = _Reading(query, self._database, self._layout)
        is_told = failure is not None and failure.kind != "denied"
        typed: Any = reading.read(failure, error) if failure and is_told else None
        if self._layout.hides:
            shown = typed or _without_words(error, self._layout)
            try:
                raise shown from None
            finally:
                shown.__context__ = None  # `from None` only keeps it out of sight
        if typed is not None:
            typed.orig = getattr(error, "orig", error)
            raise typed from error


def _without_words(error: Exception, layout: Layout) -> Exception:
    """Return an error of the same class, or its parent, that quotes no value."""
    text = (
        f"{layout.model._meta.table_name}: the database refused the statement "
        f"({code_of(error)}). Its own words are not shown, since the model has masked "
        "fields."
    )
    kind: Any
    for kind in type(error).__mro__:
        with contextlib.suppress(TypeError):  # some take other arguments than a text
            return cast("Exception", kind(text))
    return error


class _Reading:
    """One failed statement and what can be found out about it."""

    def __init__(self, query: Any, database: Any, layout: Layout) -> None:
        self._query = query
        self._database = database
        self._layout = layout
        self._table: str = layout.model._meta.table_name
        # a model that nobody watches sends what peewee sends, after errors too
        self._asks = layout.audit or dispatch.listeners().plugged

    def read(self, failure: Failure, error: Exception) -> Exception | None:
        if failure.kind == "locked":
            return DatabaseLockedError(self._table)
        if failure.kind == "unusable":
            return UnreachableDatabaseError(f"{self._table}: {unusable(error)}")
        if failure.kind == "absent":
            return pending(self._database, self._layout, str(error))
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
        rows = [row for row in self._rows() if fields and all(f in row for f in fields)]
        holders = ((row, self._holder(fields, row)) for row in rows)
        row, key = next(((r, h) for r, h in holders if h is not None), (None, None))
        value = row[fields[0]] if row else self._named(fields, failure, rows)
        is_key = bool(self._layout.marks) and _are_key(fields, self._layout)
        return DuplicateError(
            table=self._table,
            detail=KEPT_KEY if is_key else "",
            column=failure.columns[0] if len(failure.columns) == 1 else None,
            constraint=failure.constraint,
            value=self._shown(fields[0], value) if len(fields) == 1 else None,
            fields=tuple(field.name for field in fields),
            key=key,
        )

    def _named(self, fields: list[Any], failure: Failure, rows: list[Known]) -> Any:
        """Return the value that the engine's words name, or that stands twice."""
        if len(fields) != 1:
            return None
        values = [row[fields[0]] for row in rows]
        if len(values) == 1:
            return values[0]
        stored = [fields[0].db_value(value) for value in values]
        if failure.values:
            wanted = failure.values[0]
            pairs = zip(values, stored, strict=True)
            return next((v for v, text in pairs if str(text) == wanted), None)
        return next((v for i, v in enumerate(values) if stored[i] in stored[:i]), None)

    def _holder(self, fields: list[Any], row: Known) -> Any:
        if not self._asks:
            return None
        values = [row[field] for field in fields]
        return holder_of(self._layout, self._database, fields, values)

    def _reference(self, failure: Failure) -> Exception:
        if failure.kind == "reference":  # one engine does not tell which
            return self._untold_reference()
        if failure.kind == "referenced":
            detail = f"Table {failure.other_table} refers to it."
            return StillReferencedError(
                table=self._table, constraint=failure.constraint, detail=detail
            )
        field = self._field(failure.columns[0]) if failure.columns else None
        rows = [row for row in self._rows() if row.get(field) is not None]
        value = self._named([field], failure, rows) if field is not None else None
        known = {"table": self._table, "constraint": failure.constraint}
        return self._error(MissingReferenceError, field, value, known)

    def _untold_reference(self) -> Exception:
        known = {"table": self._table, "constraint": None}
        named = [] if isinstance(self._query, peewee.Delete) else self._references()
        if self._asks:
            named = [next((r for r in named if self._is_missing(*r)), (None, None))]
        inserts = isinstance(self._query, peewee.Insert)
        is_plain = inserts and self._query._on_conflict is None
        if is_plain or any(field for field, _ in named):
            field, value = named[0] if len(named) == 1 else (None, None)
            return self._error(MissingReferenceError, field, value, known)
        return StillReferencedError(table=self._table)

    def _references(self) -> list[tuple[Any, Any]]:
        return [
            (field, value)
            for row in self._rows()
            for field, value in row.items()
            if isinstance(field, peewee.ForeignKeyField) and value is not None
        ]

    def _is_missing(self, field: Any, value: Any) -> bool:
        meta = field.rel_model._meta
        schema = f"{quoted(meta.schema)}." if meta.schema else ""
        column = quoted(field.rel_field.column_name)
        found = quiet(
            self._database,
            f"SELECT 1 FROM {schema}{quoted(meta.table_name)} WHERE {column} = ?",
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
                if _has_nul(value):
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


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    return isinstance(value, dict | list) and "\\x00" in repr(value)


def pending(database: Any, layout: Layout, text: str) -> Exception | None:
    """Return the error of a statement that found a table or column of ours absent."""
    table = layout.model._meta.table_name
    if not any(own in text for own in _OWN_TABLES) and table not in _OWN_TABLES:
        return None
    engine = engine_of(database)
    scripts: tuple[str, ...] = ()
    if engine is not None and engine.is_readable(database):
        state = schema_of(database)
        if state.kind != "none" and not state.pending and not layout.owned:
            return None
        if state.kind == "trail" and layout.owned and table != "audit_logs":
            return PendingMigrationsError((), table, is_trail=True)
        scripts = tuple(state.pending)
    return PendingMigrationsError(scripts, table)


def holder_of(
    layout: Layout, database: Any, fields: Sequence[Any], values: Sequence[Any]
) -> Any:
    """Return the key of the row that holds unique values, where it can be read."""
    engine = engine_of(database)
    if engine is None or not layout.keys or not engine.is_readable(database):
        return None
    where = " AND ".join(
        f"{layout.columns[layout.positions[field]]} = {engine.placeholder}"
        for field in fields
    )
    if layout.marks and not _are_key(fields, layout):
        where += f" AND {layout.columns[layout.marks[0]]} IS NULL"
    found = quiet(
        database,
        f"SELECT {', '.join(layout.columns)} FROM {layout.table_sql} WHERE {where}",
        [f.db_value(value) for f, value in zip(fields, values, strict=True)],
    ).fetchone()
    return found and layout.key(found)


def _are_key(fields: Sequence[Any], layout: Layout) -> bool:
    return {layout.positions[field] for field in fields} == set(layout.keys)
