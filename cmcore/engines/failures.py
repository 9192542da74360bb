"""What a driver's error means: its kind, and the names that the engine tells."""

import re
from typing import Any, NamedTuple

import peewee


class Failure(NamedTuple):
    """An error of the database, read.

    Attributes:
        columns: The columns that it is about.
        values: The value of the only one of them, as the engine writes it, if told.
        kind: "unique", "missing" (a foreign key's target), "referenced" (by another
            row), "reference" (a foreign key, either way), "null", "check", "long",
            "nul" (a U+0000), "locked", "absent" (a table or column),
            "denied" (for want of a right) or "unusable" (the database cannot be
            written, or is gone).
    """

    kind: str
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    constraint: str | None = None
    other_table: str | None = None


_SQLSTATES = {
    "23505": "unique",
    "23502": "null",
    "23514": "check",
    "22001": "long",
    "22P05": "nul",
    "42501": "denied",
    "42P01": "absent",
    "42703": "absent",
    "55P03": "locked",
    "25006": "unusable",
    "57P01": "unusable",
    "57P02": "unusable",
    "57P03": "unusable",
}
_REFERENCES = {"23503", "23001"}
_DETAIL_KEY = re.compile(r"Key \((.+?)\)=\((.*)\) ", re.DOTALL)

_SQLITE = (
    ("unique", re.compile(r"UNIQUE constraint failed: (?P<columns>.+)")),
    ("null", re.compile(r"NOT NULL constraint failed: (?P<columns>.+)")),
    ("check", re.compile(r"CHECK constraint failed: (?P<constraint>.+)")),
    ("reference", re.compile(r"FOREIGN KEY constraint failed")),
    ("locked", re.compile(r"database (?:table )?is locked|database schema is locked")),
    ("unusable", re.compile(r"readonly|disk is full|disk I/O|unable to open")),
    ("absent", re.compile(r"no such (?:table|column)|has no column named")),
)


def read_failure(error: BaseException) -> Failure | None:
    """Return what an error says, or None for an error of another kind."""
    original: Any = getattr(error, "orig", None) or error
    state = getattr(original, "pgcode", None) or getattr(original, "sqlstate", None)
    if state is not None:
        return _read_postgresql(original, state)
    if isinstance(error, ValueError | peewee.DataError) and "NUL" in str(error):
        return Failure("nul")
    if type(original).__module__.startswith("psycopg"):
        is_lost = isinstance(error, peewee.OperationalError | peewee.InterfaceError)
        return Failure("unusable") if is_lost else None
    if isinstance(error, peewee.DatabaseError):
        return _read_sqlite(str(original))
    return None


def is_refusal(error: Exception) -> bool:
    """Tell whether something that is in the database, as a trigger, says no."""
    failure = read_failure(error)
    is_able = failure is None or failure.kind not in {"denied", "absent", "locked"}
    return is_able and not isinstance(error, peewee.OperationalError)


def _read_postgresql(original: Any, state: str) -> Failure | None:
    diag = original.diag
    constraint = diag.constraint_name
    key = _DETAIL_KEY.search(diag.message_detail or "")
    columns = tuple(c.strip(' "') for c in key[1].split(",")) if key else ()
    values = (key[2],) if key and len(columns) == 1 else ()
    if state in _REFERENCES:
        missing = (diag.message_primary or "").startswith("insert or update")
        if missing:
            return Failure("missing", columns, values, constraint)
        return Failure("referenced", (), (), constraint, diag.table_name)
    kind = _SQLSTATES.get(state)
    if kind is None:
        return None
    if diag.column_name:
        columns = (diag.column_name,)
    return Failure(kind, columns, values, constraint)


def _read_sqlite(text: str) -> Failure | None:
    for kind, pattern in _SQLITE:
        found = pattern.search(text)
        if found:
            names = found.groupdict()
            columns = names.get("columns") or ""
            constraint = names.get("constraint")
            if columns.startswith("index "):
                return Failure(kind, (), (), columns[6:].strip("'"))
            split = tuple(c.split(".")[-1] for c in columns.split(", ") if c)
            return Failure(kind, split, (), constraint)
    return None


def unusable(error: BaseException) -> str:
    """Say that the database cannot be written, or is gone, and what to look at."""
    original: Any = getattr(error, "orig", None) or error
    is_server = type(original).__module__.startswith("psycopg")
    what = "server runs" if is_server else "file is there"
    return (
        f"the database cannot be used ({first_line(error)}). Check that the {what}, "
        "that the disk has room, and that you may write."
    )


def first_line(error: BaseException) -> str:
    """Return the driver's first line that says something, without a full stop."""
    lines = [" ".join(line.split()).rstrip(".?") for line in str(error).splitlines()]
    said = (line for line in lines if line and not line.endswith(":"))
    return next(said, code_of(error))


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE, or the name of the driver's class of errors."""
    original: Any = getattr(error, "orig", None) or error
    state = getattr(original, "pgcode", None) or getattr(original, "sqlstate", None)
    return f"SQLSTATE {state}" if state else type(original).__name__
