"""Entries as lines: their order, and which of them say the same."""

import json
from typing import Any

import pytest

from cmcore.engines.lines import members_of
from cmcore.engines.sqlite_lines import values_of
from cmcore.partitions.entries import Held, key_of, says_the_same


def line(key: str, day: int = 1, **more: Any) -> str:
    """Return the line of an entry."""
    moment = f"2026-01-{day:02}T00:00:00.000000+00:00"
    return json.dumps({"id": key, "created_at": moment, **more})


def test_entries_are_found_in_their_order() -> None:
    """Each is found as often as it is there, also among versions and strangers."""
    changed = line("b", n=1)
    held = Held(iter([line("a"), line("b"), changed, line("d"), line("a", 2)]))
    asked = [line("a"), changed, line("c"), line("d", n=1), line("a", 2), line("z", 3)]
    assert [held.holds(each) for each in asked] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]


def test_nothing_is_found_where_nothing_is() -> None:
    """An archive without a file has no entry."""
    assert not Held(iter([])).holds(line("a"))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ('{"a":1,"b":2}', '{"b": 2, "a": 1}', True),
        ('{"a":1.10}', '{"a":1.1}', True),
        ('{"a":1e2}', '{"a":100}', True),
        ('{"a":9007199254740993}', '{"a":9007199254740992}', False),
        ('{"a":0.1}', '{"a":0.10000000000000000001}', False),
        ('{"a":1}', '{"a":true}', False),
        ('{"a":0}', '{"a":false}', False),
        ('{"a":"1"}', '{"a":1}', False),
        ('{"a":null}', "{}", False),
        ('{"a":"\\u00e9"}', '{"a":"é"}', True),
    ],
)
def test_lines_that_say_the_same(left: str, right: str, expected: bool) -> None:
    """Engines order keys and write numbers as they like; nothing else is equal."""
    assert says_the_same(left, right) is expected


def test_entries_are_sorted_as_the_engines_sort_them() -> None:
    """By moment, then by id, byte by byte."""
    keys = ["B", "a", "é", "😀"]
    lines = [line(key, day) for day in (1, 2) for key in keys]
    assert sorted(lines, key=key_of) == lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"j":{"x": 1.10}}', {"a": 1, "j": '{"x": 1.10}'}),
        ('{"a":"{","j":[1,"]"],"k":"s"}', {"a": "{", "j": '[1,"]"]', "k": '"s"'}),
        ('{"t":[1],"j":null}', {"t": "[1]", "j": None}),
        (
            '{"a":"x","j":{"j":{"k":1}},"k":2}',
            {"a": "x", "j": '{"j":{"k":1}}', "k": "2"},
        ),
        ('{"a":",\\"j\\":"}', {"a": ',"j":'}),
        (
            '{"a":1,"j": \t{"x" : 1 } ,"k":  null }',
            {"a": 1, "j": '{"x" : 1 }', "k": None},
        ),
    ],
)
def test_nested_values_keep_their_text(text: str, expected: dict[str, Any]) -> None:
    """What SQLite holds as text is the text that stands in the line."""
    assert values_of(text, ["j", "k"]) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":{"a": [1, "}"]},"c":[],"d":null,"e":"x\\"\\\\"}',
        '{ "a" : "é", "b:,{":\t[{}, ","] , "c": -1.5e3}',
    ],
)
def test_members_are_texts(text: str) -> None:
    """Each value of an object is the text that it is there."""
    found = {name: json.loads(value) for name, value in members_of(text).items()}
    assert found == json.loads(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a":1,"b"', '{"a":[1}'])
def test_what_is_no_object_has_no_members(text: str) -> None:
    """A line that was cut off, or is something else, is refused."""
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        members_of(text)


@pytest.mark.parametrize("text", ['{"a" :1}', '{"a":1', "", "{}}", '{"a":1,"j":x}'])
def test_a_line_of_another_form_is_refused(text: str) -> None:
    """Only objects are read, without spaces around names."""
    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        values_of(text, ["j"])
