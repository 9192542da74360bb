"""Two databases side by side, and what the trail of the first one says."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import peewee

from cmcore import AuditLog, values
from tests import models

Row = dict[str, Any]

SEED = (
    {"code": "a", "n": 1, "note": "first"},
    {"code": "b", "n": 2, "note": "second"},
    {"code": "c", "n": 3, "note": None},
    {"code": "d", "n": None, "note": "fourth"},
)


def key_columns(kind: str, number: int) -> Row:
    """Return the columns of a key that is given, not made."""
    if kind == "composite":
        return {"region": "north", "number": number}
    keys: dict[str, Any] = {
        "integer": int,
        "text": models.text_key,
        "uuid": models.uuid_key,
    }
    return {"id": keys[kind](number)} if kind in keys else {}


class Entry(NamedTuple):
    """What a row of the trail says, decoded."""

    action: str
    key: str | None
    old: Row | None
    new: Row | None
    at: Any
    transaction: str


class Bench:
    """The recorded database, the plain one, and a look at the trail."""

    def __init__(self, engine: str, url: str, db: Any, plain: Any) -> None:
        """Take the databases, which stay open for a whole run."""
        self.engine = engine
        self.url = url
        self.db = db
        self.plain = plain

    def bind_plain_models(self) -> None:
        """Give the plain models their databases."""
        for model in models.UNSEEN:
            model._meta.set_database(self.plain)
        self.bind_mirrors()

    def bind_mirrors(self) -> None:
        """Let the plain views look at the recorded database."""
        for model in (*models.MIRRORS.values(), *models.MIRROR_TREE):
            model._meta.set_database(self.db)

    def close(self) -> None:
        """Close both databases."""
        self.db.close()
        self.plain.close()

    def clear(self) -> None:
        """Empty all tables, and count keys from 1 again."""
        self.bind_plain_models()
        for database, tables in (
            (self.db, [*reversed(models.RECORDED), AuditLog]),
            (self.plain, [*reversed(models.UNSEEN)]),
        ):
            with database.atomic():
                for model in tables:
                    self._empty(database, model)
        for kind in models.KEYS:
            for family in (models.ITEMS, models.PLAIN, models.MIRRORS):
                family[kind].counter.restart()

    def _empty(self, database: Any, model: Any) -> None:
        meta = model._meta
        database.execute_sql(f'DELETE FROM "{meta.table_name}"')  # noqa: S608
        if self.engine == "postgresql" and isinstance(
            meta.primary_key, peewee.AutoField
        ):
            database.execute_sql(f"SELECT setval('{meta.table_name}_id_seq', 1, false)")

    def seed(self, kind: str, rows: Iterable[Row] = SEED) -> None:
        """Put the same rows into the plain table and, unseen, into the recorded one."""
        for model in (models.PLAIN[kind], models.MIRRORS[kind]):
            model.insert_many(
                {**row, **key_columns(kind, i), "price": "2.50"}
                if kind != "integer"
                else {**row, "price": "2.50"}
                for i, row in enumerate(rows, 1)
            ).execute()
            model.counter.restart(1001)
        models.ITEMS[kind].counter.restart(1001)

    def entries(self, model: Any = None) -> list[Entry]:
        """Return what the trail says, oldest first."""
        named = ("action", "resource_id", "resource_type", "old_values", "new_values")
        moments = (AuditLog.created_at, AuditLog.transaction_id)
        query: Any = AuditLog.select(*(getattr(AuditLog, n) for n in named), *moments)
        query = query.order_by(AuditLog.created_at, AuditLog.id)
        if model is not None:
            query = query.where(AuditLog.resource_type == model._meta.table_name)
        tables = {m._meta.table_name: m for m in models.RECORDED}
        return [
            Entry(
                action,
                key,
                decoded(tables[table], old),
                decoded(tables[table], new),
                at,
                transaction,
            )
            for action, key, table, old, new, at, transaction in query.tuples()
        ]


def decoded(model: Any, encoded: Any) -> Row | None:
    """Return the Python values of what the trail holds of a row."""
    if encoded is None:
        return None
    fields = model._meta.fields
    return {n: values.decode(fields[n], value) for n, value in encoded.items()}


def rows_of(model: Any) -> list[Row]:
    """Return a table's rows, sorted."""
    return in_order(model.select().dicts())


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows, whatever the order of their columns."""
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


def key_text_of(model: Any, row: Row) -> str | None:
    """Return the key of a row as the trail writes it."""
    names = [field.name for field in model._meta.get_primary_keys()]
    if not names:
        return None
    key = tuple(row[name] for name in names)
    return values.key_text(key if model._meta.composite_key else key[0])
