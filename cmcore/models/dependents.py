"""Which rows depend on others, link by link."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import and_
from typing import Any

from cmcore.engines.internals import internal

Found = dict[Any, set[Any]]
"""Model to the primary keys of its rows.

Rows without a key stand for themselves by the name of a link and the key behind it.
"""

_AT_ONCE = 30_000
_TUPLES_AT_ONCE = 500


def is_soft_deleted(model: Any) -> bool:
    """Tell whether a model of cmcore or of peewee only marks its rows as deleted."""
    return getattr(model._meta, "is_soft_deleted", False)


def is_authorship(link: Any) -> bool:
    """Tell whether a link says who wrote a row; rows do not depend on such users."""
    return hasattr(link, "named_index")


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


def neighbours(models: Iterable[Any], *, below: bool) -> list[Any]:
    """Return soft-deleted models, and those whose rows are linked with theirs.

    Args:
        models: The models in the middle.
        below: Whether those that refer to them belong to it; else only the others.
    """
    near = dict.fromkeys(models)
    for meta in [model._meta for model in near]:
        parents = (m for link, m in meta.refs.items() if not is_authorship(link))
        linked = [*parents, *(meta.backrefs.values() if below else ())]
        near.update(dict.fromkeys(filter(is_soft_deleted, linked)))
    return list(near)


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
                for key in _keys_behind(link, child, query.where(link.in_(part)))
                if key not in known
            ]
            known.update(new)
            if new and has_key(child):
                todo.append((child, new))
    return {child: held for child, held in found.items() if held}


def children_first(found: Found) -> list[Any]:
    """Return the models in the order in which their rows may be removed."""
    return list(reversed(internal.sort_models(list(found))))


def has_key(model: Any) -> bool:
    """Tell whether rows have a primary key, by which others could refer to them."""
    return bool(model._meta.get_primary_keys())


def keys_of(model: Any, query: Any) -> list[Any]:
    """Return the primary keys of a query's rows, tuples where they are composite."""
    keys = model._meta.get_primary_keys()
    rows = query.select(*keys).tuples()
    return [row[0] if len(keys) == 1 else row for row in rows]


def _keys_behind(link: Any, child: Any, query: Any) -> list[Any]:
    if has_key(child):
        return keys_of(child, query)
    return [(link.name, value) for (value,) in query.select(link).distinct().tuples()]


def chunked(keys: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield keys in parts that fit into one statement."""
    held = list(keys)
    size = _TUPLES_AT_ONCE if held and isinstance(held[0], tuple) else _AT_ONCE
    for i in range(0, len(held), size):
        yield held[i : i + size]


def with_keys(model: Any, keys: Sequence[Any]) -> Any:
    """Return the condition that a row has one of these keys of `Found`."""
    fields = model._meta.get_primary_keys()
    if len(fields) == 1:
        return fields[0].in_(keys)
    if not fields:
        return _any([model._meta.fields[name] == key for name, key in keys])
    return _any(
        [
            reduce(and_, (f == v for f, v in zip(fields, key, strict=True)))
            for key in keys
        ]
    )


def _any(conditions: Sequence[Any]) -> Any:
    """Join conditions by OR, as a tree that is not deep: each level is a recursion."""
    middle = len(conditions) // 2
    if not middle:
        return conditions[0]
    return _any(conditions[:middle]) | _any(conditions[middle:])
