"""The rules: SQLite, PostgreSQL and Python give one verdict."""

# ruff: noqa: S608 - constants of this test

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import peewee
import psycopg2
import pytest

from cmcore.schema import checks
from cmcore.schema.checks import RULES, Rule
from cmcore.schema.constraints import broken_length
from tests import stock
from tests.conftest import MakeUrl
from tests.verdicts import VERDICTS

FUZZED = 20_000

CASES = [
    (name, text, expected)
    for name, sides in VERDICTS.items()
    for texts, expected in zip(sides, (True, False), strict=True)
    for text in texts
]


@pytest.fixture(scope="module")
def server(postgresql_url: str) -> Iterator[Any]:
    """A connection that creates nothing."""
    connection = psycopg2.connect(postgresql_url)
    yield connection
    connection.close()


def ask_python(rule: Rule, texts: list[str]) -> list[bool]:
    """Return the validator's verdicts."""
    return [rule.is_valid(text) for text in texts]


def ask_sqlite(rule: Rule, texts: list[str]) -> list[bool]:
    """Return SQLite's verdicts, all in one statement."""
    condition = of_column_v(rule).sql(sqlite=True)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (v TEXT)")
    db.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
    found = db.execute(f"SELECT {condition} FROM t ORDER BY rowid").fetchall()
    db.close()
    return [bool(verdict) for (verdict,) in found]


def ask_postgresql(server: Any, rule: Rule, texts: list[str]) -> list[bool]:
    """Return PostgreSQL's verdicts, all in one statement; it takes no NUL at all."""
    condition = of_column_v(rule).sql(sqlite=False).replace("%", "%%")
    cursor = server.cursor()
    cursor.execute(
        f"SELECT {condition} FROM unnest(%s::text[]) WITH ORDINALITY AS t(v, n)"
        " ORDER BY n",
        (texts,),
    )
    return [bool(verdict) for (verdict,) in cursor.fetchall()]


def of_column_v(rule: Rule) -> Rule:
    """Return the same rule about a column v."""
    return rule._replace(column="v")


def test_the_table_is_large_enough() -> None:
    """At least 180 values are looked at by hand."""
    assert len(CASES) >= 180
    assert len({(name, text) for name, text, _ in CASES}) == len(CASES)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_validator_gives_the_expected_verdicts(name: str) -> None:
    """Python accepts and refuses what the table says, and takes NULL."""
    texts = [text for rule, text, _ in CASES if rule == name]
    expected = [verdict for rule, _, verdict in CASES if rule == name]
    got = ask_python(RULES[name], texts)
    assert dict(zip(texts, got, strict=True)) == dict(zip(texts, expected, strict=True))
    assert RULES[name].is_valid(None)
    assert not RULES[name].is_valid(12345678)
    assert not RULES[name].is_valid(b"name@example.com")
    assert not RULES[name].is_valid("\ud800 lone surrogate")


@pytest.mark.parametrize("name", VERDICTS)
def test_sqlite_gives_the_expected_verdicts(name: str) -> None:
    """SQLite agrees on the whole table, BLOBs refused."""
    texts = [text for rule, text, _ in CASES if rule == name]
    expected = [verdict for rule, _, verdict in CASES if rule == name]
    got = ask_sqlite(RULES[name], texts)
    assert dict(zip(texts, got, strict=True)) == dict(zip(texts, expected, strict=True))
    blobs: list[Any] = [b"name@example.com", b"1234567", b"::1", b"Name"]
    assert not any(ask_sqlite(RULES[name], blobs))


@pytest.mark.postgresql
@pytest.mark.parametrize("name", VERDICTS)
def test_postgresql_gives_the_expected_verdicts(server: Any, name: str) -> None:
    """PostgreSQL agrees on the whole table."""
    cases = [(t, v) for rule, t, v in CASES if rule == name and "\0" not in t]
    got = ask_postgresql(server, RULES[name], [text for text, _ in cases])
    assert dict(zip([t for t, _ in cases], got, strict=True)) == dict(cases)


def fuzzed(name: str, count: int) -> list[str]:
    """Return distinct texts, most of them one to four small changes from a case."""
    seed = random.Random(name)  # noqa: S311 - a repeatable test
    sources = [text for rule, text, _ in CASES if rule == name and "\0" not in text]
    alphabet = sorted({c for text in sources for c in text} | set("0aZ9 .:@-+()%'\n"))
    texts: set[str] = set()
    while len(texts) < count:
        text = list(seed.choice(sources))
        for _ in range(seed.randint(1, 4)):
            at = seed.randint(0, len(text))
            change = seed.random()
            if change < 0.4:
                text.insert(at, seed.choice(alphabet))
            elif change < 0.6:
                text[at : at + 1] = seed.choice(alphabet)
            elif change < 0.8:
                del text[at : at + seed.randint(1, 3)]
            else:
                other = seed.choice(sources)
                text[at:] = other[seed.randint(0, len(other)) :]
        texts.add("".join(text))
    return sorted(texts)


@pytest.mark.postgresql
@pytest.mark.parametrize("name", VERDICTS)
def test_all_agree_on_fuzzed_texts(server: Any, name: str) -> None:
    """No text is valid in one place and invalid in another."""
    texts = fuzzed(name, FUZZED)
    rule = RULES[name]
    python = ask_python(rule, texts)
    assert 0.01 < sum(python) / len(python) < 0.999
    differing = [
        (text, verdicts)
        for text, *verdicts in zip(
            texts,
            python,
            ask_sqlite(rule, texts),
            ask_postgresql(server, rule, texts),
            strict=True,
        )
        if len(set(verdicts)) > 1
    ]
    assert differing == []


def test_every_rule_is_covered_by_a_condition_of_the_table() -> None:
    """Rules that are not in the table share their condition with one that is."""
    sentences = {RULES[name].sentence for name in VERDICTS}
    assert {rule.sentence for rule in RULES.values()} == sentences


def test_rules_are_found_by_name_and_table() -> None:
    """The translator of errors looks up constraints by name."""
    rule = checks.rule("ck_customers_phone_format")
    assert rule is not None
    assert (rule.table, rule.column) == ("customers", "phone")
    assert "7 to 15 digits" in rule.sentence
    assert checks.rule("fk_customers_created_by") is None
    assert [r.column for r in checks.rules_of("users")] == [
        "email",
        "password_hash",
        "full_name",
    ]


@pytest.mark.parametrize(
    ("column", "limit"), [("phone", 20), ("tax_id", 50), ("created_by", 36)]
)
def test_declared_lengths_hold_on_sqlite(
    make_url: MakeUrl, column: str, limit: int
) -> None:
    """SQLite refuses what is too long, and its message says which column."""
    with stock.opened(make_url, "sqlite", migrated=True) as db:
        stock.insert_user(db, "u1")
        text = "1" * (limit + 1)
        with pytest.raises(peewee.IntegrityError) as caught:
            stock.insert_customer(db, "c1", **{"created_by": "u1", column: text})
    assert broken_length(str(caught.value)) == (column, limit)
    assert broken_length("CHECK constraint failed: ck_users_email_format") is None


@pytest.mark.postgresql
def test_declared_lengths_hold_on_postgresql(make_url: MakeUrl) -> None:
    """PostgreSQL refuses what is too long by the type of the column."""
    with stock.opened(make_url, "postgresql", migrated=True) as db:
        stock.insert_user(db, "u1")
        with pytest.raises(peewee.DataError, match=r"character varying\(50\)"):
            stock.insert_customer(db, "c1", tax_id="1" * 51)
