"""Archives: what goes into a file comes out of it, and no change to one is missed."""

# ruff: noqa: S608 - constants of this test

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmcore.engines.introspection import rows, run, run_many
from cmcore.moments import turned
from cmcore.partitions import restore, retain
from cmcore.partitions.archives import Archive, verified
from cmcore.partitions.manifests import Manifest
from cmcore.partitions.months import Month
from tests.conftest import MakeUrl, connected
from tests.partitions.old_months import (
    ago,
    entries,
    fill,
    gz,
    ids,
    manifest,
    moments_of,
)
from tests.partitions.tables import add, content

# PostgreSQL stores no U+0000.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
ODD_WORDS = [
    "",
    "\r\n",
    "%s",
    "{}",
    "null",
    "\\u0041",
    "\\x00",
    ',"old_values":{"a":1}',
]
ODD_TEXTS = st.sampled_from([*"\n\x1c\x7f\u2028\u2029\ufeff😀\"\\' ?%", *ODD_WORDS])
NUMBERS = st.sampled_from(
    ["0", "-1", "1.10", "1.1", "9007199254740993", "-3.14159265358979323846264338"]
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts of JSON lists and objects, with the spaces that jsonb writes."""
    names = TEXTS.map(lambda name: json.dumps(name, ensure_ascii=False))
    pairs = st.dictionaries(names, inner, max_size=3)
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        pairs.map(lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"),
    )


JSON_TEXTS = st.recursive(
    st.one_of(
        NUMBERS,
        st.sampled_from(["true", "false"]),
        st.one_of(TEXTS, ODD_TEXTS).map(lambda t: json.dumps(t, ensure_ascii=False)),
    ),
    nested,
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {
        "description": st.one_of(TEXTS, ODD_TEXTS).map(lambda text: f"d{text}"),
        "user_agent": st.one_of(st.none(), TEXTS, ODD_TEXTS),
        "error_message": st.one_of(st.none(), TEXTS, ODD_TEXTS),
        "old_values": st.one_of(st.none(), JSON_TEXTS),
        "new_values": st.one_of(st.none(), JSON_TEXTS),
        "extra_data": st.one_of(st.none(), JSON_TEXTS),
        "success": st.booleans(),
        "deleted_at": st.sampled_from(
            [
                None,
                "1999-12-31 23:59:59.999999+00:00",
                "2026-01-01 00:00:00.000000+00:00",
            ]
        ),
        "created_at": st.sampled_from(moments_of(ago(-2), 5)).map(
            lambda moment: moment.isoformat(" ", "microseconds")
        ),
    }
)


@pytest.fixture
def archived(trail: peewee.Database, tmp_path: Path) -> Path:
    """The file of a month that has left the trail."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    return gz(tmp_path, ago(-2))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(given_rows=st.lists(ENTRIES, min_size=1, max_size=5))
def test_any_entry_comes_back_as_it_was(
    database: peewee.Database, given_rows: list[dict[str, Any]]
) -> None:
    """Odd texts, nested values and big numbers survive the trip to the digit."""
    run(database, "DELETE FROM audit_logs")
    insert(database, given_rows)
    before = rows(database, EXACT)
    with tempfile.TemporaryDirectory() as name:
        path = gz(Path(name), ago(-2))
        assert retain(database, 1, name).rows == len(given_rows)
        assert ids(database) == []
        assert restore(database, path) == len(given_rows)
        assert rows(database, EXACT) == before
        [month] = retain(database, 1, name, dry_run=True).months
        assert month.file == path


# JSON as text: drivers would read numbers with less digits.
EXACT = (
    "SELECT id, description, user_agent, error_message, CAST(old_values AS TEXT),"
    " CAST(new_values AS TEXT), CAST(extra_data AS TEXT), success, deleted_at,"
    " created_at FROM audit_logs ORDER BY id"
)


def insert(db: peewee.Database, given_rows: list[dict[str, Any]]) -> None:
    """Insert entries past the models."""
    given = list(given_rows[0])
    names = ["id", "action", "resource_type", "updated_at", *given]
    marks = ", ".join("?" for _ in names)
    sql = f"INSERT INTO audit_logs ({', '.join(names)}) VALUES ({marks})"
    batch = [
        [f"{i}", "a", "r", row["created_at"], *map(row.get, given)]
        for i, row in enumerate(given_rows)
    ]
    run_many(db, sql, batch)


def test_the_lines_of_both_engines_are_alike(
    database: peewee.Database, tmp_path: Path
) -> None:
    """All columns by name, moments in ISO 8601, truth as such, JSON nested."""
    fill(database, -2)
    run(
        database,
        "UPDATE audit_logs SET old_values = '{\"n\": 1.10}', user_role = 'admin',"
        " deleted_at = '2026-02-03 04:05:06.000007+00:00' WHERE id = 'm02-000001'",
    )
    retain(database, 1, tmp_path)
    entry = entries(gz(tmp_path, ago(-2)))[1]
    moment = moments_of(ago(-2))[1].isoformat(timespec="microseconds")
    filled = {
        "id": "m02-000001",
        "action": "create",
        "resource_type": "invoices",
        "description": "Made by a test.",
        "user_role": "admin",
        "old_values": {"n": 1.1},
        "success": True,
        "created_at": moment,
        "updated_at": moment,
        "deleted_at": "2026-02-03T04:05:06.000007+00:00",
    }
    assert {name: value for name, value in entry.items() if value is not None} == filled
    assert set(entry) == set(columns(database))
    line = gzip.decompress(gz(tmp_path, ago(-2)).read_bytes()).splitlines()[1]
    assert b'"old_values":{"n": 1.10}' in line


def test_deeply_nested_values_come_back(
    database: peewee.Database, tmp_path: Path
) -> None:
    """Also where Python's own reader gives up, which other programs do not ask."""
    fill(database, -2)
    text = "[" * 998 + '{"a": ",]}\\\\\\""}' + "]" * 998
    sql = "UPDATE audit_logs SET old_values = ?, new_values = '7', description = ?"
    run(database, f"{sql} WHERE id <> 'm02-000001'", [text, "\\"])
    before = rows(database, EXACT)
    for description in ("x", "y"):
        retain(database, 1, tmp_path)
        path = gz(tmp_path, ago(-2))
        assert (restore(database, path), restore(database, path)) == (3, 0)
        assert rows(database, EXACT) == before
        run(database, "UPDATE audit_logs SET description = ?", [description])
        before = rows(database, EXACT)


def columns(db: peewee.Database) -> list[str]:
    """Return the names of the columns of the trail."""
    return [column.name for column in db.get_columns("audit_logs")]


def test_a_file_may_have_another_name(archived: Path, trail: peewee.Database) -> None:
    """Copies under names of one's own restore, with their manifests beside them."""
    copy = archived.with_name("march.jsonl.gz")
    shutil.copy(archived, copy)
    shutil.copy(manifest(archived), copy.with_name("march.manifest.json"))
    assert restore(trail, copy) == 3


def test_moments_in_other_forms_come_back(make_url: MakeUrl, tmp_path: Path) -> None:
    """What other programs have written into SQLite is kept, and in its month."""
    month = str(ago(-2)).replace("_", "-")
    moments = [
        f"{month}-01",
        f"{month}-01 00:00:00",
        f"{month}-15T10:00:00",
        f"{month}-15T10:00:00.000001+00:00",
        f"{month}-15 10:00:00.000001+00:00",
        f"{month}-28 10:00:00Z",
    ]
    with connected(make_url("sqlite", migrated=True)) as db:
        add(db, moments_of(ago(-2), len(moments)))
        for i, moment in enumerate(moments):
            sql = "UPDATE audit_logs SET created_at = ?, updated_at = ? WHERE id = ?"
            run(db, sql, [moment, moment, f"e{i:06}"])
        before = content(db)
        assert retain(db, 1, tmp_path).rows == len(moments)
        assert restore(db, gz(tmp_path, ago(-2))) == len(moments)
        assert content(db) == before
        assert retain(db, 1, tmp_path).rows == len(moments)
        assert len(list(tmp_path.glob("*.gz"))) == 1


@pytest.mark.parametrize(
    "text", ["2026-01-02 03:04:05.000006+00:00", "2026-01-02T03:04:05", "", "soon"]
)
def test_a_text_that_is_turned_twice_is_itself(text: str) -> None:
    """T and space change places, and nothing else happens."""
    assert turned(turned(text)) == text


def test_blobs_and_numbers_of_the_application_come_back(
    make_url: MakeUrl, tmp_path: Path
) -> None:
    """On SQLite, whose columns hold anything, a value keeps its type."""
    values = [0.1 + 0.2, 2**62, b"\x00\xff", "text", "\\x2", None, 1e300, b""]
    with connected(make_url("sqlite", migrated=True)) as db:
        add(db, moments_of(ago(-2), len(values)))
        run(db, "ALTER TABLE audit_logs ADD COLUMN anything")
        run(db, "ALTER TABLE audit_logs ADD COLUMN data BLOB")
        run(db, "ALTER TABLE audit_logs ADD COLUMN settings JSON")
        run(db, "ALTER TABLE audit_logs ADD COLUMN is_odd BOOLEAN")
        for i, value in enumerate(values):
            name = "data" if isinstance(value, bytes | str) else "anything"
            sql = f"UPDATE audit_logs SET {name} = ?, is_odd = ?, settings = ?"
            run(db, f"{sql} WHERE id = ?", [value, i % 2, f"[{i}.0]", f"e{i:06}"])
        before = content(db)
        retain(db, 1, tmp_path)
        told = entries(gz(tmp_path, ago(-2)))
        assert [entry["is_odd"] for entry in told[:2]] == [False, True]
        assert told[1]["settings"] == [1]
        restore(db, gz(tmp_path, ago(-2)))
        assert content(db) == before


@pytest.mark.postgresql
def test_types_of_the_application_come_back(
    server: peewee.Database, tmp_path: Path
) -> None:
    """On PostgreSQL arrays, bytes, exact numbers and other zones come back as well."""
    fill(server, -2)
    for column in (
        "tags text[]",
        "data bytea",
        "price numeric",
        "ratio float8",
        "seen timestamptz",
        "raw json",
        "doubled integer GENERATED ALWAYS AS (length(description) * 2) STORED",
    ):
        run(server, f"ALTER TABLE audit_logs ADD COLUMN {column}")
    run(
        server,
        "UPDATE audit_logs SET tags = ARRAY['a', NULL, '{\"'], data = '\\x00ff',"
        " price = 1.10, ratio = 0.1::float8 + 0.2, seen = '2026-01-01 00:00:00+05:30',"
        ' raw = \'{"b": 1,  "a": 2, "b": 3}\'',
    )
    sql = "SELECT id, tags, encode(data, 'hex'), price, ratio, seen, raw::text, doubled"
    before = rows(server, f"{sql} FROM audit_logs ORDER BY id")
    retain(server, 1, tmp_path)
    restore(server, gz(tmp_path, ago(-2)))
    assert rows(server, f"{sql} FROM audit_logs ORDER BY id") == before
    run(server, "SET TimeZone = 'Asia/Tokyo'")
    retain(server, 1, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_months_have_names() -> None:
    """Only the names of months are understood as such."""
    assert Month.named("2026_03") == Month(2026, 3)
    assert str(Month(2026, 3)) == "2026_03"
    for text in (
        "2026_13",
        "2026_00",
        "0000_01",
        "2026-03",
        "2026_3",
        "",
        None,
        "٢٠٢٦_03",
    ):
        assert Month.named(text) is None


def test_a_year_ends(trail: peewee.Database, tmp_path: Path) -> None:
    """December and January are two months, apart by a microsecond."""
    new_year = Month(2024, 1)
    last = moments_of(Month(2023, 12))[-1]
    add(trail, [last, new_year.start])
    assert [m.month for m in retain(trail, 1, tmp_path).months] == [
        "2023_12",
        "2024_01",
    ]
    assert verified(gz(tmp_path, Month(2023, 12)))[0].end == new_year.start.isoformat()


def line(key: str) -> str:
    """Return the line of an entry."""
    moment = "2026-01-01T00:00:00.000000+00:00"
    return json.dumps({"id": key, "created_at": moment})


def test_a_part_is_written_line_by_line(tmp_path: Path) -> None:
    """An archive takes what it is given, one line after the other."""

    def lines() -> Iterator[str]:
        for i in range(3):
            yield line(f"{i}")

    archive = Archive(tmp_path, Month(2026, 1), is_rehearsal=False)
    archive.add(lines())
    archive.add(iter([]))
    path = gz(tmp_path, Month(2026, 1))
    assert archive.parts() == [path]
    assert list(archive.entries()) == [line(f"{i}") for i in range(3)]
    assert Manifest.read(path).rows == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        path.name,
        manifest(path).name,
    ]
