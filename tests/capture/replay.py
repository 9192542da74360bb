"""Before plus changes is after: the trail applied to a snapshot of a table."""

import itertools
from collections import defaultdict
from typing import Any

from cmcore.changes import equal
from tests.capture.bench import Entry, Row, in_order, key_text_of

Table = dict[str | None, list[Row]]


def replay(model: Any, before: list[Row], entries: list[Entry]) -> list[Row]:
    """Apply entries to rows; every entry must fit the rows as they stand.

    Entries of one statement are applied together, since it may swap keys.
    """
    table: Table = defaultdict(list)
    for row in before:
        table[key_text_of(model, row)].append(row)
    for _, group in itertools.groupby(entries, key=lambda entry: entry.at):
        appeared = [row for entry in group for row in _apply(model, table, entry)]
        for row in appeared:
            table[key_text_of(model, row)].append(row)
    return in_order(row for rows in table.values() for row in rows)


def _apply(model: Any, table: Table, entry: Entry) -> list[Row]:
    if entry.action == "create":
        assert entry.old is None
        assert entry.new is not None
        assert set(entry.new) == set(model._meta.fields)
        assert entry.key == key_text_of(model, entry.new)
        return [entry.new]
    assert entry.old is not None
    row = _found(table, entry)
    table[entry.key].remove(row)
    if entry.action == "delete":
        assert entry.old == row
        assert entry.new is None
        return []
    assert entry.action == "update"
    assert entry.new is not None
    assert entry.new.keys() == entry.old.keys()
    assert entry.new, "an update without any change"
    assert not any(equal(entry.old[name], entry.new[name]) for name in entry.new)
    return [{**row, **entry.new}]


def _found(table: Table, entry: Entry) -> Row:
    assert entry.old is not None
    for row in table[entry.key]:
        if all(equal(row[name], value) for name, value in entry.old.items()):
            return row
    msg = f"no row fits {entry} among {table[entry.key]}"
    raise AssertionError(msg)
