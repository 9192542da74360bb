"""The indexes that keep values apart among live rows, and that planners take."""

from typing import Any

import peewee
import pytest

import cmcore
from tests.soft_delete_writes.bench import Bench
from tests.soft_delete_writes.models import Acted, Audited, Derived, Item, Pair
from tests.stock import MOMENT


class Ruled(cmcore.SoftDeleteMixin, cmcore.Model):
    """Unique rules of every form."""

    a = peewee.CharField(unique=True)
    b = peewee.IntegerField()
    c = peewee.CharField(index=True)

    class Meta:
        table_name = "soft_ruled"
        indexes = ((("a", "b"), True), (("b", "c"), False))


Ruled.add_index(Ruled.index(Ruled.c, unique=True, name="own", where=Ruled.b > 0))
Ruled.add_index(
    Ruled.index(peewee.fn.LOWER(Ruled.a), unique=True, name="soft_ruled_lower")
)


def indexes(bench: Bench, model: Any) -> dict[str, tuple[bool, str]]:
    """Return the indexes of a table: whether unique, and the predicate."""
    found = {}
    for index in bench.db.get_indexes(model._meta.table_name):
        sql = (index.sql or "").replace('"', "")
        where = sql.partition(" WHERE ")[2]
        plain = where.replace("(", "").replace(")", "").replace("'", "")
        found[index.name] = (bool(index.unique), plain)
    return found


def test_unique_indexes_hold_among_live_rows(bench: Bench) -> None:
    """Names as peewee's; an own predicate is kept beside it; plain ones stay plain."""
    live = "deleted_at IS NULL"
    bench.db.create_tables([Ruled])
    try:
        found = indexes(bench, Ruled)
    finally:
        bench.db.drop_tables([Ruled])
    found.pop("soft_ruled_pkey", None)
    assert found == {
        "ruled_a": (True, live),
        "ruled_a_b": (True, live),
        "ruled_b_c": (False, ""),
        "ruled_c": (False, ""),
        "own": (True, f"b > 0 AND {live}"),
        "soft_ruled_lower": (True, live),
        "idx_soft_ruled_deleted_at": (False, "deleted_at IS NOT NULL"),
        "idx_soft_ruled_deleted_by": (False, "deleted_by IS NOT NULL"),
    }


@pytest.mark.parametrize("model", [Item, Pair, Acted, Audited, Derived])
def test_the_two_columns_are_indexed_where_they_are_set(
    bench: Bench, model: Any
) -> None:
    """`idx_<table>_<column>`, partial, also beside `ActorMixin` and by inheritance."""
    table = model._meta.table_name
    found = indexes(bench, model)
    for column in ("deleted_at", "deleted_by"):
        name = f"idx_{table}_{column}"
        assert found[name] == (False, f"{column} IS NOT NULL")
    keys = {k.column: k for k in bench.db.get_foreign_keys(table)}
    assert ("deleted_by" in keys) is (model is not Acted)
    if model is not Acted:
        assert keys["deleted_by"].dest_table == "users"


MILLION = f"""
INSERT INTO soft_integer_items (code, n, deleted_at)
WITH RECURSIVE i (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM i WHERE i < 999999)
SELECT 'c' || i, i, CASE WHEN i - i / 10 * 10 <> 0 THEN CAST('{MOMENT}' AS {{}}) END
FROM i
"""  # noqa: S608 - constants of this test


def test_a_live_row_is_found_by_the_partial_index(bench: Bench) -> None:
    """Among a million rows, nine of ten deleted, planners take it, also to delete."""
    kind = "TEXT" if bench.engine == "sqlite" else "TIMESTAMPTZ"
    bench.db.execute_sql(MILLION.format(kind))
    bench.db.execute_sql("ANALYZE")
    assert (len(Item), Item.with_deleted().count()) == (100_000, 1_000_000)
    name = "softinteger_code"
    assert indexes(bench, Item)[name] == (True, "deleted_at IS NULL")
    code = "c500"
    for query in (
        Item.select().where(Item.code == code),
        Item.update(n=1).where(Item.code == code),
        Item.delete().where(Item.code == code),
    ):
        sql, params = query.sql()
        verb = "EXPLAIN QUERY PLAN" if bench.engine == "sqlite" else "EXPLAIN"
        plan = "\n".join(
            str(row) for row in bench.db.execute_sql(f"{verb} {sql}", params).fetchall()
        )
        assert name in plan
    verb = "EXPLAIN QUERY PLAN" if bench.engine == "sqlite" else "EXPLAIN"
    sql, params = Item.only_deleted().order_by(Item.deleted_at).limit(5).sql()
    plan = str(bench.db.execute_sql(f"{verb} {sql}", params).fetchall())
    assert "idx_soft_integer_items_deleted_at" in plan


@pytest.mark.parametrize("query", ["delete", "restore", "upsert"])
def test_the_predicate_is_no_parameter(bench: Bench, query: str) -> None:
    """Planners and ON CONFLICT need to read it."""
    queries: dict[str, Any] = {
        "delete": Item.delete(),
        "restore": Item.restore(),
        "upsert": Item.insert(code="a").on_conflict(
            conflict_target=[Item.code], preserve=[Item.n]
        ),
    }
    sql, _ = queries[query].sql()
    test = "IS NOT NULL" if query == "restore" else "IS NULL"
    assert f'"deleted_at" {test}' in sql
