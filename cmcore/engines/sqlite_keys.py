"""SQLite: conditions that find the rows of some keys."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cmcore.layout import Layout

_PARAMETERS = 32_000


def key_names(layout: Layout) -> list[str]:
    """Return the columns of the primary key, or the rowid of a model without one."""
    return [layout.columns[i] for i in layout.keys] or ["rowid"]


def among(
    names: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield conditions, with their values, that together find the rows of some keys."""
    wanted = list(dict.fromkeys(k for k in keys if None not in k))
    if len(wanted) == 1:
        yield " AND ".join(f"{name} = ?" for name in names), wanted[0]
        return
    columns = ", ".join(names)
    if wanted and all(map(_plain, zip(*wanted, strict=True))):
        parts = [f"json_extract(value, '$[{i}]')" for i in range(len(names))]
        told = f"SELECT {', '.join(parts)} FROM json_each(?)"
        yield f"({columns}) IN ({told})", (json.dumps(wanted),)
        return
    size = _PARAMETERS // len(names)
    marks = f"({', '.join('?' * len(names))})"
    for i in range(0, len(wanted), size):
        chunk = wanted[i : i + size]
        listed = f"(VALUES {', '.join([marks] * len(chunk))})"
        flat = [value for key in chunk for value in key]
        yield f"({columns}) IN {listed}", flat


def _plain(values: Sequence[Any]) -> bool:
    """Tell whether JSON carries the values unchanged."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return True
    return kinds == {str} and not any("\x00" in value for value in values)
