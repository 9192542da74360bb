"""Two databases with the same rows, from one of which the deleted ones are gone."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee

from tests.soft_delete.models import PURGED, SOFT, models_of

MOMENT = datetime(2026, 5, 17, 12, tzinfo=UTC)
SIZES = {
    "City": 3,
    "Team": 6,
    "Person": 24,
    "Note": 30,
    "Tag": 8,
    "Skill": 8,
    "PersonSkill": 30,
    "Seat": 14,
    "Post": 16,
    "Album": 5,
    "PersonTag": 40,
    "AlbumPerson": 24,
}
THROUGH = {"PersonTag", "AlbumPerson"}
"""Tables in which each pair stands once."""

Row = dict[str, Any]


class Bench:
    """The database with deleted rows, and the one without them.

    Attributes:
        kind: The engine's name.
        db: Where the models of `SOFT` live.
        purged: Where those of `PURGED` live; it has no foreign keys.
    """

    def __init__(self, kind: str, db: Any, purged: Any) -> None:
        """Take two databases, the first one with the migrations applied."""
        self.kind = kind
        self.db = db
        self.purged = purged

    def bind(self) -> None:
        """Give both families their databases."""
        for names, database in ((SOFT, self.db), (PURGED, self.purged)):
            for model in models_of(names).values():
                model._meta.set_database(database)

    def fill(self) -> None:
        """Create the tables, and put the rows in."""
        self.bind()
        self.db.create_tables(models_of(SOFT).values())
        self.purged.create_tables(models_of(PURGED).values())
        drop_foreign_keys(self.purged, self.kind)
        for name, rows in made_rows().items():
            plain = getattr(PURGED, name)
            with self.db.bind_ctx([plain], bind_refs=False, bind_backrefs=False):
                plain.insert_many(rows).execute()
            live = [row for row in rows if row.get("deleted_at") is None]
            plain.insert_many(live).execute()


def drop_foreign_keys(database: Any, kind: str) -> None:
    """Let references dangle: a live row may refer to one that is gone."""
    if kind == "sqlite":
        database.pragma("foreign_keys", 0, permanent=True)
        return
    for model in models_of(PURGED).values():
        table = model._meta.table_name
        names = database.execute_sql(
            "SELECT constraint_name FROM information_schema.table_constraints "
            "WHERE table_name = %s AND constraint_type = 'FOREIGN KEY'",
            (table,),
        ).fetchall()
        for (name,) in names:
            database.execute_sql(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"')


def made_rows(seed: int = 7) -> dict[str, list[Row]]:
    """Return rows for all tables, two of five deleted, with values that repeat."""
    chosen = random.Random(seed)  # noqa: S311 - the same rows in every run
    tables: dict[str, list[Row]] = {}
    for name, model in models_of(PURGED).items():
        rows: list[Row] = []
        taken: set[Any] = set()
        once = list(model._meta.refs) if name in THROUGH else []
        for number in range(1, SIZES[name] + 1):
            row = {f.name: _value(f, number, chosen) for f in model._meta.sorted_fields}
            unique = tuple(row[field.name] for field in once)
            if unique and unique in taken:
                continue
            taken.add(unique)
            if "deleted_at" in row:
                gone = chosen.random() < 0.4
                at = MOMENT + timedelta(seconds=number)
                row.update(deleted_at=at if gone else None)
                row.update(deleted_by="system" if gone else None)
            rows.append(row)
        tables[name] = rows
    return tables


def _value(field: Any, number: int, chosen: random.Random) -> Any:
    is_null = field.null and chosen.random() < 0.2
    if is_null or field.name in {"deleted_at", "deleted_by"}:
        return None
    if isinstance(field, peewee.ForeignKeyField):
        is_own = field.rel_model is field.model  # rows are inserted in their order
        newest = number - 1 if is_own else SIZES[field.rel_model.__name__]
        return chosen.randint(1, newest) if newest else None
    if isinstance(field, peewee.CharField):
        return f"{field.model.__name__.lower()}-{chosen.randint(1, 9)}"
    is_key = isinstance(field, peewee.AutoField) or field.name == "number"
    return number if is_key else chosen.randint(1, 5)
