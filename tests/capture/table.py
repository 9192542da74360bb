"""What a form of a write is: what is called, and what happens to how many rows.

Each form works on the four rows of `bench.SEED`, whatever the kind of their key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from tests import models
from tests.capture.bench import Row, key_columns

ENGINES = ("sqlite", "postgresql")
SINGLE = ("integer", "text", "uuid")
KEYED = (*SINGLE, "composite")


@dataclass(frozen=True)
class Form:
    """One way to write.

    Attributes:
        actions: The first letters of the actions in the trail, sorted.
        run: Called with the model and the kind of its key; returns what peewee does.
    """

    name: str
    actions: str
    kinds: Sequence[str]
    engines: Sequence[str]
    run: Callable[[Any, str], Any]


FORMS: list[Form] = []


def form(
    actions: str = "", kinds: Sequence[str] = models.KEYS, engine: str | None = None
) -> Callable[[Callable[[Any, str], Any]], Callable[[Any, str], Any]]:
    """Add a function to the table of forms."""

    def add(run: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        engines = (engine,) if engine else ENGINES
        FORMS.append(Form(run.__name__, actions, kinds, engines, run))
        return run

    return add


def fresh(kind: str, number: int = 1, **more: Any) -> Row:
    """Return a new row whose key is made by a default where there is one."""
    keys = key_columns(kind, 100 + number) if kind == "composite" else {}
    return {"code": f"new{number}", "n": 10 + number, **keys, **more}


def given(kind: str, number: int = 1, **more: Any) -> Row:
    """Return a new row with a key of its own."""
    return {
        "code": f"new{number}",
        "n": 10 + number,
        **key_columns(kind, 100 + number),
    } | more


def at(m: Any, code: str = "a") -> Any:
    """Return the object of a row."""
    return m.get(m.code == code)


def shown(value: Any) -> Any:  # noqa: PLR0911 - one for each type
    """Return a result in a form that compares, whatever classes it is made of."""
    if value is None or isinstance(value, int | str | float):
        return value
    if isinstance(value, peewee.Model):
        return "object", dict(value.__data__), sorted(value.dirty_field_names)
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return "named", value._asdict()
    if isinstance(value, tuple | list):
        return type(value).__name__, [shown(item) for item in value]
    if getattr(value, "description", True) is None:  # a cursor that returned nothing
        return "rows", []
    if hasattr(value, "__iter__"):
        return "rows", sorted((shown(item) for item in value), key=repr)
    return value


def copied(m: Any, kind: str, *codes: str) -> tuple[Any, list[Any]]:
    """Return a SELECT of changed rows for INSERT … SELECT, and its columns."""
    columns: Row = {"code": m.code.concat("2"), "n": m.n}
    if kind == "integer":
        columns["id"] = m.id + 500
    if kind in {"text", "uuid"}:
        made = m.id.to_value(key_columns(kind, 300)["id"])
        columns["id"] = made.cast("UUID") if kind == "uuid" and _is_pg(m) else made
    if kind == "composite":
        columns |= {"region": m.region.concat("2"), "number": m.number + 1}
    query = m.select(*columns.values()).where(m.code.in_(codes))
    return query, [getattr(m, name) for name in columns]


def _is_pg(m: Any) -> bool:
    return isinstance(m._meta.database, peewee.PostgresqlDatabase)
