"""What both engines share when they capture a statement."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import peewee

from cmcore.engines.execution import quiet
from cmcore.engines.statement import Rendered
from cmcore.layout import Layout

Row = Sequence[Any]
Pair = tuple[Row | None, Row | None]
"""The raw row before and after: (None, new) appeared, (old, None) disappeared."""


class Captured(NamedTuple):
    """The finished cursor for the caller, and what the statement did to each row."""

    cursor: Any
    pairs: list[Pair]


class Savepoints:
    """How both engines undo a part of a transaction; names stack, so one is enough."""

    def savepoint(self, database: Any) -> None:
        """Begin a part that can be undone."""
        quiet(database, "SAVEPOINT cm_unit")

    def rollback_to_savepoint(self, database: Any) -> None:
        """Undo the newest part."""
        quiet(database, "ROLLBACK TO SAVEPOINT cm_unit")

    def release_savepoint(self, database: Any) -> None:
        """End the newest part."""
        quiet(database, "RELEASE SAVEPOINT cm_unit")


class Write(NamedTuple):
    """One write statement on its way to the database.

    Attributes:
        before_reading: To be called before anything is read.
        before: Called with what is known of each row before the statement is kept;
            None where no plugin wants to know. It may raise, to refuse.
    """

    database: Any
    query: Any
    layout: Layout
    rendered: Rendered
    before_reading: Callable[[], None]
    before: Callable[[list[Pair]], None] | None


def conflict_update(query: Any) -> bool:
    """Tell whether an INSERT may update a row that is there already."""
    conflict = query._on_conflict
    return conflict is not None and bool(conflict._update or conflict._preserve)


def identity_positions(query: Any, layout: Layout) -> tuple[int, ...]:
    """Return where the columns stand by which an upsert's rows are known again.

    The primary key, unless the upsert itself assigns it; then the conflict target, if
    plain columns name it and it is not assigned either. Empty where there is neither.
    """
    conflict = query._on_conflict
    written = _names({*(conflict._update or ()), *(conflict._preserve or ())})
    keys = {layout.fields[i] for i in layout.keys}
    if keys and written.isdisjoint(_names(keys)):
        return layout.keys
    combined = query.model._meta.combined
    target = [
        combined.get(column) if isinstance(column, str) else column
        for column in conflict._conflict_target or ()
    ]
    is_partial = getattr(conflict, "is_partial", conflict._conflict_where is not None)
    if is_partial or not all(isinstance(field, peewee.Field) for field in target):
        return layout.keys
    if target and written.isdisjoint(_names(target)):
        return tuple(layout.positions[field] for field in target)
    return layout.keys


def _names(fields: Iterable[Any]) -> set[str]:
    """Return the names and column names of fields, or the names themselves."""
    names: set[str] = set()
    for field in fields:
        if isinstance(field, str):
            names.add(field)
        elif isinstance(field, peewee.Field):
            names.update((field.name, field.column_name))
    return names


def turned_out_otherwise(
    predicted: Sequence[Pair],
    happened: Sequence[Pair],
    identity: Callable[[Row], tuple[Any, ...]],
) -> list[Pair]:
    """Return the rows of an upsert whose class is another one than the hooks know."""
    if len(predicted) == len(happened):  # automatic keys differ between the runs
        pairs = zip(predicted, happened, strict=True)
        return [real for told, real in pairs if (told[0] is None) != (real[0] is None)]
    told = {identity(new): old is None for old, new in predicted if new}
    return [
        (old, new)
        for old, new in happened
        if new and (key := identity(new)) and told.get(key) != (old is None)
    ]


def dry_run(database: Any, sql: str, params: Sequence[Any]) -> list[Any]:
    """Run a statement, read what it returns, and undo it."""
    quiet(database, "SAVEPOINT cm_dry")
    try:
        rows: list[Any] = quiet(database, sql, params).fetchall()
    finally:
        quiet(database, "ROLLBACK TO SAVEPOINT cm_dry")
        quiet(database, "RELEASE SAVEPOINT cm_dry")
    return rows
