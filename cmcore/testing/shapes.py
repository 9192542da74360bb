"""Ways to read one model, each with what it should give."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import peewee
from peewee import fn

from cmcore.engines.internals import internal
from cmcore.errors import StaleDeletedError
from cmcore.testing.rows import (
    Row,
    columns_of,
    is_row,
    key_fields,
    keys_of,
    live_of,
    mark,
    rows_of,
)

_AT_ONCE = 25


class Shape(NamedTuple):
    """A way to read: what it is called, what it gives, and what it should give."""

    name: str
    read: Callable[[], list[Any]]
    expected: list[Any]


def single(model: Any, rows: list[Row]) -> Iterator[Shape]:
    """Yield ways to read one model."""
    name = model.__name__
    live = [row.key for row in live_of(rows)]
    gone = [row for row in rows if row.is_deleted]
    some = [*rows[:_AT_ONCE], *gone[:_AT_ONCE]]
    for title, query in QUERIES.items():
        yield Shape(f"{name}: {title}", partial(_listed, query, model), live)
    yield Shape(f"{name}: objects", lambda: keys_of(model.select()), live)
    yield Shape(f"{name}: iterator()", lambda: keys_of(model.select().iterator()), live)
    yield Shape(
        f"{name}: get()",
        lambda: [row.key for row in some if model.get_or_none(is_row(model, row))],
        [row.key for row in some if not row.is_deleted],
    )
    yield Shape(
        f"{name}: exists()",
        lambda: [row.key for row in some if _select(model, row).exists()],
        [row.key for row in some if not row.is_deleted],
    )
    yield Shape(
        f"{name}: with_deleted()",
        lambda: keys_of(model.with_deleted()),
        [row.key for row in rows],
    )
    yield Shape(
        f"{name}: only_deleted()",
        lambda: keys_of(model.only_deleted()),
        [row.key for row in gone],
    )
    for title, count in COUNTS.items():
        yield Shape(
            f"{name}: {title}", partial(_counted, count, model), [0] * len(live)
        )


def _listed(query: Callable[[Any], Any], model: Any) -> list[Any]:
    """Return keys; a query that knows no model gives them as they are stored."""
    convert = [field.python_value for field in key_fields(model)]
    return [
        tuple(to_python(value) for to_python, value in zip(convert, row, strict=True))
        for row in query(model).tuples()
    ]


def _counted(count: Callable[[Any], int], model: Any) -> list[Any]:
    return [0] * count(model)


def _selected(model: Any) -> Any:
    return model.select(*columns_of(model, model))


def _of_alias(model: Any) -> Any:
    other = model.alias()
    return other.select(*columns_of(other, model))


def _from_alias(model: Any) -> Any:
    other = model.alias("other")
    return model.select(*columns_of(other, model)).from_(other)


def _from_subquery(model: Any) -> Any:
    inside = _selected(model).alias("inside")
    return model.select(*_named(inside, model)).from_(inside)


def _from_cte(model: Any) -> Any:
    inside = _selected(model).cte("inside")
    return inside.select_from(*_named(inside, model))


def _named(inside: Any, model: Any) -> list[Any]:
    return [getattr(inside.c, field.column_name) for field in key_fields(model)]


def _of_table(model: Any) -> Any:
    table = model._meta.table
    names = [field.column_name for field in key_fields(model)]
    return table.select(*(internal.Column(table, name) for name in names))


def _with_or(model: Any) -> Any:
    first = key_fields(model)[0]
    return _selected(model).where(first.is_null()).orwhere(~first.is_null())


def _in_itself(model: Any) -> Any:
    first = key_fields(model)[0]
    return _selected(model).where(first.in_(model.select(first)))


def _bare(model: Any) -> Any:
    columns = columns_of(model, model)
    return internal.Select([model], columns).bind(model._meta.database)


QUERIES: Mapping[str, Callable[[Any], Any]] = {
    "select()": _selected,
    "select() with OR": _with_or,
    "a union": lambda model: _selected(model) | _selected(model),
    "alias().select()": _of_alias,
    "an alias as source": _from_alias,
    "a sub-select as source": _from_subquery,
    "IN a sub-select": _in_itself,
    "a common table expression": _from_cte,
    "a Select without a model": _bare,
    "its table": _of_table,
}

COUNTS: Mapping[str, Callable[[Any], int]] = {
    "count()": lambda model: model.select().count(),
    "len()": lambda model: len(model.select()),
    "COUNT(*)": lambda model: model.select(fn.COUNT(peewee.SQL("*"))).scalar(),
}


def saved(model: Any, rows: list[Row]) -> Iterator[Shape]:
    """Yield the save of an object whose row was deleted meanwhile."""
    live = live_of(rows)
    written = set(model._meta.sorted_fields) - set(key_fields(model))
    if not live or not {
        f for f in written if f.name not in {"deleted_at", "deleted_by"}
    }:
        return  # nothing is there, or nothing can be saved

    def save() -> list[Any]:
        row = live[-1]
        stale = model.get(is_row(model, row))
        mark(model, row)
        try:
            stale.save()
        except StaleDeletedError:
            return [r.key for r in live_of(rows_of(model))]
        return [*(r.key for r in live_of(rows_of(model))), "no error"]

    yield Shape(
        f"{model.__name__}: save() of a stale object",
        save,
        [row.key for row in live[:-1]],
    )


def _select(model: Any, row: Row) -> Any:
    return model.select().where(is_row(model, row))
