"""Every form of delete marks live rows, once, and the trail says so."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from tests.soft_delete_writes.bench import FORMS, MARKS, Bench, acting, key_of, made
from tests.soft_delete_writes.models import (
    ITEMS,
    KINDS,
    Acted,
    ActedLast,
    Article,
    ArticleTag,
    Audited,
    Derived,
    DerivedTwice,
    Item,
    Tag,
)

Delete = Callable[[Any, Any], Any]
KEYED = [kind for kind in KINDS if kind != "none"]


def _by_cte(model: Any, row: Any) -> int:
    cte = model.select(model.code).where(model.n == row.n).cte("chosen")
    query = model.delete().with_cte(cte)
    query = query.where(model.code.in_(cte.select(cte.c.code)))
    return len(list(query.returning(model.code)))


def _del(model: Any, row: Any) -> int:
    del model[row._pk]
    return 1


BY_QUERY: dict[str, Delete] = {
    "where": lambda model, row: model.delete().where(model.code == row.code).execute(),
    "sub-select": lambda model, row: (
        model.delete()
        .where(model.code.in_(model.select(model.code).where(model.n == row.n)))
        .execute()
    ),
    "returning": lambda model, row: len(
        list(model.delete().where(model.code == row.code).returning(model.code))
    ),
    "returning all": lambda model, row: len(
        list(model.delete().where(model.code == row.code).returning(model))
    ),
    "cte": _by_cte,
}
BY_KEY: dict[str, Delete] = {
    "instance": lambda _, row: row.delete_instance(),
    "recursive": lambda _, row: row.delete_instance(recursive=True),
    "by id": lambda model, row: model.delete_by_id(row._pk),
    "del": _del,
}


def cases() -> list[Any]:
    """Return each kind of key with each form that it has."""
    return [
        pytest.param(kind, form, id=f"{kind}-{name}")
        for kind in KINDS
        for name, form in {**BY_QUERY, **(BY_KEY if kind != "none" else {})}.items()
    ]


@pytest.mark.parametrize(("kind", "delete"), cases())
def test_each_form_marks_the_row_and_nothing_else(
    bench: Bench, kind: str, delete: Delete
) -> None:
    """One row gets a moment and a user; it stays, and others are untouched."""
    model = ITEMS[kind]
    _, row, _ = made(model, 3)
    before = bench.rows(model)
    bench.forget()
    with acting("alice"):
        assert delete(model, row) == 1
    after = bench.rows(model)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    ((old, new),) = changed
    assert old["code"] == "b"
    assert {n for n in new if new[n] != old[n]} == set(MARKS)
    assert new["deleted_by"] == "alice"
    ((action, key, was, now, user),) = bench.entries(model)
    assert (action, user) == ("delete", "alice")
    assert key == (None if kind == "none" else key_of(row))
    assert was == {"deleted_at": None, "deleted_by": None}
    assert now == {"deleted_at": new["deleted_at"], "deleted_by": "alice"}


@pytest.mark.parametrize(("kind", "delete"), cases())
def test_a_second_delete_changes_nothing(
    bench: Bench, kind: str, delete: Delete
) -> None:
    """It returns 0, writes no entry, and keeps the first time and user."""
    model = ITEMS[kind]
    (row,) = made(model, 1)
    with acting("alice"):
        model.delete().execute()
    first = bench.rows(model)
    bench.forget()
    with acting("bob"):
        count = delete(model, row)
    assert count == 0 or delete is BY_KEY["del"]
    assert bench.rows(model) == first
    assert bench.entries(model) == []


def test_rows_come_back_from_a_delete_that_returns_them(bench: Bench) -> None:
    """`returning()` gives the rows as they are now."""
    made(Item, 2)
    (gone,) = Item.delete().where(Item.code == "a").returning(Item)
    assert (gone.code, gone.is_deleted, gone.deleted_by_id) == ("a", True, "system")


def test_a_delete_with_a_limit_marks_so_many(sqlite: Bench) -> None:
    """ORDER BY and LIMIT hold where the engine has them, and over live rows."""
    made(Item, 4)
    Item.delete().where(Item.code == "d").execute()
    query = Item.delete().order_by(Item.n.desc()).limit(2)
    assert query.execute() == 2
    assert sqlite.live(Item, "code") == ["a"]
    assert sqlite.actions(Item)[-2:] == ["delete", "delete"]


@pytest.mark.parametrize("form", FORMS)
def test_a_delete_is_recorded_in_every_kind_of_transaction(
    bench: Bench, form: str
) -> None:
    """Autocommit, transactions, savepoints and manual_commit end the same way."""
    rows = made(Item, 3)
    bench.forget()
    with bench.in_transaction(form):
        assert rows[0].delete_instance() == 1
        assert rows[1].delete_instance(recursive=True) == 1
        assert rows[0].restore_instance() == 1
        assert rows[1].restore_instance(recursive=True) == 1
        assert rows[0].purge_instance() == 1
    assert bench.live(Item, "code") == ["b", "c"]
    assert bench.actions(Item) == ["delete", "delete", "restore", "restore", "purge"]


def test_a_rolled_back_delete_leaves_no_trace(bench: Bench) -> None:
    """Neither in the row nor in the trail, savepoints included."""
    row, other = made(Item, 2)
    bench.forget()
    with bench.db.atomic():
        with bench.db.atomic() as savepoint:
            row.delete_instance(recursive=True)
            savepoint.rollback()
        other.delete_instance()
    assert bench.live(Item, "code") == ["a"]
    assert [e.key for e in bench.entries(Item)] == [str(other.id)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_brings_the_row_back_and_is_recorded(bench: Bench, kind: str) -> None:
    """The entry has exactly the two columns; a second restore returns 0."""
    model = ITEMS[kind]
    made(model, 2)
    live = bench.rows(model)
    with acting("alice"):
        model.delete().where(model.code == "a").execute()
    (at,) = [at for at, _ in bench.marks(model, "code").values() if at]
    bench.forget()
    with acting("bob"):
        assert model.restore().execute() == 1
        assert model.restore().execute() == 0
    assert bench.rows(model) == live
    ((action, _, old, new, user),) = bench.entries(model)
    assert (action, user) == ("restore", "bob")
    assert old == {"deleted_at": at, "deleted_by": "alice"}
    assert new == {"deleted_at": None, "deleted_by": None}


def test_an_object_shows_what_was_done_to_its_row(bench: Bench) -> None:
    """After delete and restore the two attributes are those of the row."""
    (row,) = made(Item, 1)
    with acting("alice"):
        row.delete_instance()
    assert row.is_deleted
    assert (row.deleted_at, row.deleted_by_id) == bench.marks(Item, "code")["a"]
    assert row.deleted_by.full_name == "alice"
    assert row.restore_instance() == 1
    assert (row.is_deleted, row.deleted_by_id, row.deleted_by) == (False, None, None)
    assert not row.is_dirty()
    assert row.restore_instance() == 0


@pytest.mark.parametrize("model", [Acted, ActedLast, Audited, Derived, DerivedTwice])
def test_mixins_in_any_order_and_inherited(bench: Bench, model: Any) -> None:
    """The two columns are there, plain beside `ActorMixin`, and are filled in."""
    row = model.create(name="x")
    with acting("alice"):
        row.delete_instance()
    assert [(r["name"], r["deleted_by"]) for r in bench.rows(model)] == [("x", "alice")]
    assert model.select().count() == 0
    column = model._meta.fields["deleted_by"]
    is_plain = model in {Acted, ActedLast}
    assert isinstance(column, peewee.ForeignKeyField) is not is_plain
    assert column.max_length == 36 if is_plain else column.rel_model is cmcore.User


@pytest.mark.parametrize("kind", KEYED)
def test_an_object_read_without_the_two_columns_looks_them_up(
    bench: Bench, kind: str
) -> None:
    """By its key and once; one that was never saved is live, and asks nobody."""
    model = ITEMS[kind]
    gone, live = made(model, 2)
    with acting("alice"):
        gone.delete_instance()
    keys = model._meta.get_primary_keys()
    read = {row._pk: row for row in model.with_deleted(*keys)}
    for row in (gone, live):
        assert read[row._pk].is_deleted == row.is_deleted
    found = read[gone._pk]
    gone.purge_instance()
    assert (found.is_deleted, found.deleted_at) == (True, gone.deleted_at)
    assert found.deleted_by_id == "alice"
    with bench.counted() as sent:
        assert not model(code="x").is_deleted
        assert not model().is_deleted
    assert sent == []
    assert not model.with_deleted(*keys).get().is_deleted


def test_a_delete_leaves_the_stamps_alone(bench: Bench) -> None:
    """`updated_at` and `updated_by` are those of the last change of content."""
    row = Audited.create(name="x")
    (before,) = bench.rows(Audited)
    with acting("alice"):
        row.delete_instance()
        row.restore_instance()
    assert bench.rows(Audited) == [before]


def test_rows_between_two_models_are_marked_too(bench: Bench) -> None:
    """`remove`, `clear` and `add` of a many-to-many field mark, and add anew."""
    article = Article.create(title="t")
    tags = [Tag.create(word=w) for w in "abc"]
    for _ in range(2):
        article.tags.add(tags)
        assert article.tags.remove(tags[0]) == 1
        assert article.tags.remove(Tag.select().where(Tag.word == "b")) == 1
        article.tags.add(tags[:2])
        assert article.tags.clear() == 3
    article.tags.add(tags, clear_existing=True)
    assert [t.word for t in article.tags.order_by(Tag.word)] == ["a", "b", "c"]
    assert len(bench.rows(ArticleTag)) == 13
    assert bench.actions(ArticleTag).count("delete") == 10


def test_a_query_that_runs_twice_has_two_moments(bench: Bench) -> None:
    """`deleted_at` is that of the execution, not that of the query."""
    made(Item, 2)
    query = Item.delete().where(Item.n < 10)
    assert query.execute() == 2
    Item.create(code="z", n=5)
    assert query.execute() == 1
    moments = [at for at, _ in bench.marks(Item, "code").values()]
    assert len(set(moments)) == 2


def test_sql_shows_what_is_sent(bench: Bench) -> None:
    """`sql()` of a delete and a restore is an UPDATE, and executes nothing."""
    made(Item, 1)
    for query in (Item.delete(), Item.restore()):
        sql, params = query.where(Item.n == 0).sql()
        assert sql.startswith('UPDATE "soft_integer_items" SET "deleted_at" = ')
        assert len(params) == 3
    assert bench.live(Item, "code") == ["a"]


def test_ten_thousand_rows_take_as_many_statements_as_ten(bench: Bench) -> None:
    """A delete and a restore of 10,000 rows are a handful of statements."""
    sent: dict[int, int] = {}
    for count in (10, 10_000):
        rows = [{"code": f"c{i}", "n": i} for i in range(count)]
        Item.insert_many(rows).execute()
        bench.forget()
        with bench.counted() as statements:
            assert Item.delete().execute() == count
            assert Item.restore().execute() == count
        sent[count] = len(statements)
        assert bench.actions(Item) == ["delete"] * count + ["restore"] * count
        bench.clear()
    assert sent[10] == sent[10_000]
