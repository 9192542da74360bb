"""Forms that add a row, or do something else where it stands already."""

# ruff: noqa: D103 - each form says by its name what it is

from typing import Any

import peewee
from peewee import Value

from tests.capture.bench import Row, key_columns
from tests.capture.table import KEYED, copied, form, given

_FIVE = (("a", 100), ("b", 2), ("new", 5), ("c", 3), ("d", 4))


def _five(kind: str) -> list[Row]:
    return [
        {**given(kind, i), "code": code, "n": n} for i, (code, n) in enumerate(_FIVE, 1)
    ]


@form("cuu")
def upsert_preserve(m: Any, kind: str) -> Any:
    query = m.insert_many(_five(kind))
    return (
        query.on_conflict(conflict_target=[m.code], preserve=[m.n])
        .as_rowcount()
        .execute()
    )


@form("u")
def upsert_update(m: Any, kind: str) -> Any:
    query = m.insert(**given(kind, code="a"))
    return query.on_conflict(
        conflict_target=(m.code,), update={m.n: m.n + 7, m.note: "again"}
    ).execute()


@form("c")
def upsert_of_a_new_row(m: Any, kind: str) -> Any:
    query = m.insert(**given(kind))
    return query.on_conflict(conflict_target=["code"], update={"n": 1}).execute()


@form("")
def upsert_to_the_same(m: Any, kind: str) -> Any:
    query = m.insert(**given(kind, code="a"))
    return (
        query.on_conflict(conflict_target=[m.code], update={m.n: m.n})
        .as_rowcount()
        .execute()
    )


@form("cu")
def upsert_excluded(m: Any, kind: str) -> Any:
    rows = [given(kind, 1, code="b", n=20), given(kind, 2)]
    added = peewee.EXCLUDED.n + m.n
    query = m.insert_many(rows).on_conflict(
        conflict_target=[m.code], update={m.n: added}
    )
    return query.as_rowcount().execute()


@form("cu")
def upsert_where(m: Any, kind: str) -> Any:
    query = m.insert_many(_five(kind)).on_conflict(
        conflict_target=[m.code], preserve=[m.n], where=m.n == 1
    )
    return query.as_rowcount().execute()


@form("u", KEYED)
def upsert_on_the_key(m: Any, kind: str) -> Any:
    row = {**given(kind), **key_columns(kind, 2), "code": "other"}
    keys = [getattr(m, name) for name in key_columns(kind, 2)]
    query = m.insert(**row).on_conflict(conflict_target=keys, preserve=[m.code, m.n])
    return query.as_rowcount().execute()


@form("u", KEYED)
def upsert_that_moves_the_key(m: Any, kind: str) -> Any:
    keys = [getattr(m, name) for name in key_columns(kind, 2)]
    query = m.insert(**given(kind, code="a"))
    return (
        query.on_conflict(conflict_target=[m.code], preserve=[*keys, m.n])
        .as_rowcount()
        .execute()
    )


@form("u", KEYED)
def upsert_of_its_own_target(m: Any, kind: str) -> Any:
    query = m.insert(**{**given(kind, code="a"), **key_columns(kind, 1)})
    return (
        query.on_conflict(conflict_target=[m.code], update={m.code: "renamed", m.n: 6})
        .as_rowcount()
        .execute()
    )


@form("cu")
def upsert_returning(m: Any, kind: str) -> Any:
    rows = [given(kind, 1, code="b", n=20), given(kind, 2)]
    query = m.insert_many(rows).on_conflict(conflict_target=[m.code], preserve=[m.n])
    return query.returning(m.code, m.n, m.note).dicts().execute()


@form("u")
def upsert_insert_from(m: Any, kind: str) -> Any:
    query, fields = copied(m, kind, "a")
    columns = [
        Value("a") if f is m.code else c
        for f, c in zip(fields, query._returning, strict=True)
    ]
    query = query.select(*columns)
    insert = m.insert_from(query.where(m.n == 1), fields)
    return (
        insert.on_conflict(conflict_target=[m.code], update={m.n: 12})
        .as_rowcount()
        .execute()
    )


@form("c")
def ignore(m: Any, kind: str) -> Any:
    return m.insert_many(_five(kind)).on_conflict_ignore().as_rowcount().execute()


@form("")
def ignore_one(m: Any, kind: str) -> Any:
    return m.insert(**given(kind, code="a")).on_conflict_ignore().execute()


@form("c")
def ignore_new(m: Any, kind: str) -> Any:
    return m.insert(**given(kind)).on_conflict("IGNORE").execute()


@form("cccccdddd", engine="sqlite")
def replace_many(m: Any, kind: str) -> Any:
    return m.replace_many(_five(kind)).execute()


@form("cd", engine="sqlite")
def replace(m: Any, kind: str) -> Any:
    return m.replace(**given(kind, code="c", note="new")).execute()


@form("cd", KEYED, engine="sqlite")
def replace_by_key(m: Any, kind: str) -> Any:
    return m.replace(**{**given(kind), **key_columns(kind, 2)}).execute()


@form("cdd", KEYED, engine="sqlite")
def replace_two_with_one(m: Any, kind: str) -> Any:
    row = {**given(kind, code="a"), **key_columns(kind, 2)}
    return m.insert(**row).on_conflict_replace().as_rowcount().execute()


@form("c", engine="sqlite")
def replace_nothing(m: Any, kind: str) -> Any:
    return m.insert(**given(kind)).on_conflict("REPLACE").execute()


@form("u", KEYED, engine="postgresql")
def upsert_on_constraint(m: Any, kind: str) -> Any:
    row = {**given(kind), **key_columns(kind, 2)}
    query = m.insert(**row).on_conflict(
        conflict_constraint=f"{m._meta.table_name}_pkey",
        preserve=[m.code],
        update={m.n: m.n * 2},
    )
    return query.as_rowcount().execute()


@form("c", engine="sqlite")
def insert_or_abort(m: Any, kind: str) -> Any:
    return m.insert(**given(kind)).on_conflict("ABORT").execute()


@form("cu")
def upsert_to_null(m: Any, kind: str) -> Any:
    rows = [given(kind, 2, code="fresh"), given(kind, 1, code="a", n=None)]
    query = m.insert_many(rows).on_conflict(conflict_target=[m.code], preserve=[m.n])
    return query.as_rowcount().execute()
