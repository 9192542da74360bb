"""Which rows depend on others, link by link."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

from cmcore.engines.internals import internal
from cmcore.errors import ConfigurationError

Found = dict[Any, set[Any]]
"""Model to the primary keys of its rows."""

_AT_ONCE = 500


def is_soft_deleted(model: Any) -> bool:
    """Tell whether a model of cmcore or of peewee only marks its rows as deleted."""
    return getattr(model._meta, "is_soft_deleted", False)


def reached_models(model: Any, *, nullable: bool) -> list[Any]:
    """Return a soft-deleted model, and those whose rows would be deleted with its own.

    Args:
        model: Where to begin.
        nullable: Whether nullable links are followed too.
    """
    reached = [model]
    for parent in reached:
        if is_soft_deleted(parent):
            reached += dict.fromkeys(
                child
                for link, child in parent._meta.backrefs.items()
                if child not in reached and (nullable or not link.null)
            )
    return reached


def dependents(
    model: Any, keys: Iterable[Any], following: Callable[[Any, Any], Any]
) -> Found:
    """Return the rows that depend on some, level by level, each once.

    Args:
        model: The model at which to begin.
        keys: The primary keys of its rows, which are in the result.
        following: Gives, for a link and the model that has it, the query for the rows
            that count; None where the link is not followed.
    """
    found: Found = {model: set(keys)}
    todo = [(model, list(found[model]))]
    while todo:
        parent, held = todo.pop()
        for link, child in parent._meta.backrefs.items():
            query = following(link, child)
            if query is None:
                continue
            known = found.setdefault(child, set())
            new = [
                key
                for part in chunked(held)
                for key in keys_of(child, query.where(link.in_(part)))
                if key not in known
            ]
            known.update(new)
            if new:
                todo.append((child, new))
    return {child: held for child, held in found.items() if held}


def children_first(found: Found) -> list[Any]:
    """Return the models in the order in which their rows may be removed."""
    return list(reversed(internal.sort_models(list(found))))


def keys_of(model: Any, query: Any) -> list[Any]:
    """Return the primary keys of a query's rows, tuples where they are composite."""
    keys = model._meta.get_primary_keys()
    if not keys:
        msg = f"{model.__name__} has no primary key, by which its rows could be named."
        raise ConfigurationError(msg)
    rows = query.select(*keys).tuples()
    return [row[0] if len(keys) == 1 else row for row in rows]


def chunked(keys: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield keys in parts that fit into one statement."""
    held = list(keys)
    for i in range(0, len(held), _AT_ONCE):
        yield held[i : i + _AT_ONCE]


def with_keys(model: Any, keys: Sequence[Any]) -> Any:
    """Return the condition that a row has one of these primary keys."""
    fields = model._meta.get_primary_keys()
    if len(fields) == 1:
        return fields[0].in_(keys)
    rows = (
        reduce(and_, (f == v for f, v in zip(fields, key, strict=True))) for key in keys
    )
    return reduce(or_, rows)
