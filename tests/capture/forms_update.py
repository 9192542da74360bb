"""Forms that change rows, and forms that remove them."""

# ruff: noqa: D103 - each form says by its name what it is

from typing import Any

import peewee
from peewee import SQL, Case, fn

from tests.capture.bench import key_columns
from tests.capture.table import KEYED, at, form


@form("uu")
def update_literal(m: Any, kind: str) -> Any:
    return m.update(n=50, note="same").where(m.code.in_(["a", "b"])).execute()


@form("uuu")
def update_all_by_expression(m: Any, kind: str) -> Any:
    return m.update(n=m.n + 1).execute()


@form()
def update_to_the_same(m: Any, kind: str) -> Any:
    return m.update(n=m.n, note=m.note).execute()


@form("u")
def update_partly_to_the_same(m: Any, kind: str) -> Any:
    return m.update(n=1).where(m.code.in_(["a", "b"])).execute()


@form("u")
def update_to_null(m: Any, kind: str) -> Any:
    return m.update({m.n: None, "note": None}).where(m.code == "a").execute()


@form("u")
def update_from_null(m: Any, kind: str) -> Any:
    return m.update({m.n: 4}).where(m.n.is_null()).execute()


@form()
def update_null_to_null(m: Any, kind: str) -> Any:
    return m.update(note=None).where(m.code == "c").execute()


@form()
def update_nothing(m: Any, kind: str) -> Any:
    return m.update(n=5).where(m.code == "nobody").execute()


@form("uuuu")
def update_own_predicate(m: Any, kind: str) -> Any:
    return m.update(code=m.code.concat("!")).where(~m.code.endswith("!")).execute()


@form("u", KEYED)
def update_key_to_literal(m: Any, kind: str) -> Any:
    return m.update(**key_columns(kind, 77)).where(m.code == "b").execute()


@form("uuuu", ("integer", "composite"))
def update_key_by_expression(m: Any, kind: str) -> Any:
    key = m.id if kind == "integer" else m.number
    return m.update({key: key + 100}).execute()


@form("uu", ("composite",))
def update_one_half_of_the_key(m: Any, kind: str) -> Any:
    return m.update(region="south").where(m.number < 3).execute()


@form("uu")
def update_case(m: Any, kind: str) -> Any:
    value = Case(m.code, (("a", 41), ("b", 42)), m.n)
    return m.update(n=value).execute()


@form("u")
def update_by_sub_select(m: Any, kind: str) -> Any:
    other = m.alias()
    least = other.select(fn.MIN(other.code))
    return m.update(n=60).where(m.code == least).execute()


@form("uuuu")
def update_to_sub_select(m: Any, kind: str) -> Any:
    other = m.alias()
    return m.update(n=other.select(fn.MAX(other.n) + 1)).execute()


@form("uu")
def update_from_itself(m: Any, kind: str) -> Any:
    other = m.alias()
    query = m.update(n=other.n * 10, note=m.note).from_(other)
    return query.where((m.code == other.code) & (other.n < 3)).execute()


@form("u")
def update_from_many_matches(m: Any, kind: str) -> Any:
    other = m.alias()
    query = m.update(note="once").from_(other)
    return query.where((m.code == "a") & (other.n >= 2)).execute()


@form("uu", engine="postgresql")
def update_from_values(m: Any, kind: str) -> Any:
    values = peewee.ValuesList([("a", 81), ("c", 83)], columns=("k", "v"), alias="old")
    number = SQL('"old"."v"')
    query = m.update(n=number).from_(values).where(m.code == values.c.k)
    return query.execute()


@form("u")
def update_from_select(m: Any, kind: str) -> Any:
    other = m.alias("o")
    source = other.select(other.code, (other.n + 40).alias("m")).where(other.n > 2)
    source = source.alias("src")
    query = m.update(n=source.c.m).from_(source).where(m.code == source.c.code)
    return query.execute()


@form("uu")
def update_with_cte(m: Any, kind: str) -> Any:
    other = m.alias("o")
    small = other.select(other.code).where(other.n < 3).cte("small")
    chosen = small.select_from(small.c.code)
    return m.update(n=33).with_cte(small).where(m.code.in_(chosen)).execute()


@form("u")
def update_raw_where(m: Any, kind: str) -> Any:
    table = m._meta.table_name
    return m.update(n=9).where(SQL(f'"{table}"."n" > 2 AND code = \'c\'')).execute()


@form("uu", engine="sqlite")
def update_limit(m: Any, kind: str) -> Any:
    return m.update(note="limited").order_by(m.code.desc()).limit(2).execute()


@form("u", engine="sqlite")
def update_limit_offset(m: Any, kind: str) -> Any:
    query = m.update(note="x").where(m.n > 0).order_by(m.n).limit(1).offset(1)
    return query.execute()


@form("uuu")
def update_returning_objects(m: Any, kind: str) -> Any:
    return m.update(n=m.n + 1).where(m.n > 0).returning(m).execute()


@form("u")
def update_returning_dicts(m: Any, kind: str) -> Any:
    query = m.update(n=m.n + 1).where(m.code == "a")
    return query.returning(m.code, m.n.alias("now")).dicts().execute()


@form("uu")
def update_returning_tuples(m: Any, kind: str) -> Any:
    query = m.update(note="t").where(m.n < 3).returning(m.note, (m.n * 2).alias("x"))
    return query.tuples().execute()


@form("u")
def update_returning_namedtuples(m: Any, kind: str) -> Any:
    query = m.update(note="t").where(m.n == 3).returning(m.code, m.note)
    return query.namedtuples().execute()


@form("u")
def update_returning_plain_objects(m: Any, kind: str) -> Any:
    query = m.update(note="t").where(m.n == 3).returning(m.code, m.note)
    return query.objects(dict).execute()


@form()
def update_returning_nothing(m: Any, kind: str) -> Any:
    query = m.update(note="t").where(m.n == 99).returning(m.code)
    return list(query.execute())


@form("uu")
def update_executed_twice(m: Any, kind: str) -> Any:
    query = m.update(n=m.n + 1).where(m.code == "c")
    return query.execute(), query.execute()


@form("u", KEYED)
def set_by_id(m: Any, kind: str) -> Any:
    key = at(m)._pk
    return m.set_by_id(key, {"n": 44})


@form("u", KEYED)
def set_item(m: Any, kind: str) -> Any:
    m[at(m)._pk] = {m.note: "by item"}


@form("dd")
def delete(m: Any, kind: str) -> Any:
    return m.delete().where(m.n < 3).execute()


@form("dddd")
def delete_all(m: Any, kind: str) -> Any:
    return m.delete().execute()


@form()
def delete_nothing(m: Any, kind: str) -> Any:
    return m.delete().where(m.n == 99).execute()


@form("d")
def delete_by_sub_select(m: Any, kind: str) -> Any:
    other = m.alias()
    return m.delete().where(m.n == other.select(fn.MAX(other.n))).execute()


@form("dd")
def delete_with_cte(m: Any, kind: str) -> Any:
    other = m.alias("o")
    small = other.select(other.code).where(other.n < 3).cte("small")
    chosen = small.select_from(small.c.code)
    return m.delete().with_cte(small).where(m.code.in_(chosen)).execute()


@form("d", engine="sqlite")
def delete_limit(m: Any, kind: str) -> Any:
    return m.delete().order_by(m.code.desc()).limit(1).execute()


@form("dd")
def delete_returning(m: Any, kind: str) -> Any:
    return m.delete().where(m.n < 3).returning(m.code, m.n).tuples().execute()


@form("d")
def delete_returning_objects(m: Any, kind: str) -> Any:
    return m.delete().where(m.n == 3).returning(m).execute()


@form("d", KEYED)
def delete_by_id(m: Any, kind: str) -> Any:
    return m.delete_by_id(at(m)._pk)


@form("d", KEYED)
def delete_item(m: Any, kind: str) -> Any:
    del m[at(m)._pk]
