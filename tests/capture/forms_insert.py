"""Forms that add rows."""

# ruff: noqa: D103 - each form says by its name what it is

from typing import Any

from peewee import SQL, fn

from tests.capture.table import KEYED, SINGLE, at, copied, form, fresh, given


@form("c")
def create(m: Any, kind: str) -> Any:
    return m.create(**fresh(kind))


@form("c", KEYED)
def create_with_key(m: Any, kind: str) -> Any:
    return m.create(**given(kind))


@form("c")
def save_new(m: Any, kind: str) -> Any:
    new = m(**fresh(kind))
    return new.save(force_insert=True), new


@form("u", KEYED)
def save_changed(m: Any, kind: str) -> Any:
    row = at(m)
    row.n = 50
    return row.save(), row


@form("", KEYED)
def save_unchanged(m: Any, kind: str) -> Any:
    row = at(m)
    row.note = "first"
    return row.save(), row


@form("u", KEYED)
def save_only(m: Any, kind: str) -> Any:
    row = at(m)
    row.n, row.note = 50, "not this one"
    return row.save(only=[m.n]), row


@form("u", KEYED)
def save_expression(m: Any, kind: str) -> Any:
    row = at(m)
    row.n = m.n + 5
    return row.save(only=[m.n])


@form("", SINGLE)
def save_absent(m: Any, kind: str) -> Any:
    row = m(**given(kind))
    return row.save()


@form("d", KEYED)
def delete_instance(m: Any, kind: str) -> Any:
    return at(m).delete_instance()


@form("", KEYED)
def delete_instance_again(m: Any, kind: str) -> Any:
    return m(**given(kind)).delete_instance()


@form("c")
def get_or_create_new(m: Any, kind: str) -> Any:
    row = fresh(kind)
    return m.get_or_create(code=row.pop("code"), defaults=row)


@form()
def get_or_create_existing(m: Any, kind: str) -> Any:
    return m.get_or_create(code="a", defaults={"n": 99})


@form("ccc")
def bulk_create(m: Any, kind: str) -> Any:
    rows = [m(**fresh(kind, i)) for i in (1, 2, 3)]
    return m.bulk_create(rows), rows


@form("ccc")
def bulk_create_in_batches(m: Any, kind: str) -> Any:
    rows = [m(**fresh(kind, i)) for i in (1, 2, 3)]
    return m.bulk_create(rows, batch_size=2), rows


@form()
def bulk_create_nothing(m: Any, kind: str) -> Any:
    return m.bulk_create([])


@form("uu", SINGLE)
def bulk_update(m: Any, kind: str) -> Any:
    rows = [at(m, code) for code in "abc"]
    rows[0].n, rows[1].note, rows[2].note = 70, None, None
    return m.bulk_update(rows, [m.n, "note"]), rows


@form("uu", SINGLE)
def bulk_update_in_batches(m: Any, kind: str) -> Any:
    rows = [at(m, code) for code in "abc"]
    rows[0].n, rows[2].n = 70, 71
    return m.bulk_update(rows, fields=["n"], batch_size=2)


@form("u", SINGLE)
def bulk_update_expression(m: Any, kind: str) -> Any:
    row = at(m)
    row.n = m.n + 30
    return m.bulk_update([row], [m.n])


@form("c")
def insert(m: Any, kind: str) -> Any:
    return m.insert(**fresh(kind)).execute()


@form("c", KEYED)
def insert_with_key(m: Any, kind: str) -> Any:
    return m.insert(**given(kind)).execute()


@form("c")
def insert_by_fields(m: Any, kind: str) -> Any:
    row = {getattr(m, name): value for name, value in fresh(kind).items()}
    return m.insert(row).execute()


@form("c")
def insert_expressions(m: Any, kind: str) -> Any:
    return m.insert(**fresh(kind, n=fn.ABS(-7), note=fn.LOWER("LOUD"))).execute()


@form("ccc")
def insert_many_dicts(m: Any, kind: str) -> Any:
    return m.insert_many([fresh(kind, i) for i in (1, 2, 3)]).execute()


@form("cc")
def insert_many_tuples(m: Any, kind: str) -> Any:
    fields = [getattr(m, name) for name in fresh(kind)]
    rows = [tuple(fresh(kind, i).values()) for i in (1, 2)]
    return m.insert_many(rows, fields=fields).execute()


@form("cc")
def insert_many_by_names(m: Any, kind: str) -> Any:
    rows = (list(fresh(kind, i).values()) for i in (1, 2))
    return m.insert_many(rows, fields=list(fresh(kind))).execute()


@form("cc")
def insert_many_generator(m: Any, kind: str) -> Any:
    return m.insert_many(fresh(kind, i) for i in (1, 2)).execute()


@form()
def insert_many_nothing(m: Any, kind: str) -> Any:
    return m.insert_many([]).execute()


@form()
def insert_many_empty_generator(m: Any, kind: str) -> Any:
    return m.insert_many(iter(())).execute()


@form("cc")
def insert_many_counted(m: Any, kind: str) -> Any:
    rows = [fresh(kind, i) for i in (1, 2)]
    return m.insert_many(rows).as_rowcount().execute()


@form("cc")
def insert_many_returning_tuples(m: Any, kind: str) -> Any:
    rows = [fresh(kind, i) for i in (1, 2)]
    return m.insert_many(rows).returning(m.code, m.n).tuples().execute()


@form("cc")
def insert_many_returning_objects(m: Any, kind: str) -> Any:
    rows = [fresh(kind, i) for i in (1, 2)]
    return m.insert_many(rows).returning(m).execute()


@form("c")
def insert_returning_dicts(m: Any, kind: str) -> Any:
    return m.insert(**fresh(kind)).returning(m.note, m.price).dicts().execute()


@form("c")
def insert_returning_star(m: Any, kind: str) -> Any:
    return list(m.insert(**fresh(kind)).returning(SQL("*")).tuples().execute())


@form("c")
def insert_from(m: Any, kind: str) -> Any:
    query, fields = copied(m, kind, "a")
    return m.insert_from(query, fields).execute()


@form("cc", ("integer", "composite", "none"))
def insert_from_by_names(m: Any, kind: str) -> Any:
    query, fields = copied(m, kind, "a", "d")
    return m.insert_from(query, [field.name for field in fields]).execute()


@form("c")
def insert_from_counted(m: Any, kind: str) -> Any:
    query, fields = copied(m, kind, "b")
    return m.insert_from(query, fields).as_rowcount().execute()


@form()
def insert_from_nothing(m: Any, kind: str) -> Any:
    query, fields = copied(m, kind, "nobody")
    return m.insert_from(query, fields).as_rowcount().execute()


@form("c", ("integer",))
def insert_from_raw_sql(m: Any, kind: str) -> Any:
    query = SQL("SELECT 700, 'raw', 1 WHERE 1 = 1")
    return m.insert_from(query, [m.id, m.code, m.n]).execute()


@form("c", SINGLE)
def set_by_id_new(m: Any, kind: str) -> Any:
    return m.set_by_id(None, fresh(kind))


@form("c", SINGLE)
def set_item_new(m: Any, kind: str) -> Any:
    m[None] = fresh(kind)
