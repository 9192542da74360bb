"""What soft delete costs: ratios of times, side by side.

    python benchmarks/soft_delete.py                     # SQLite, a temporary file
    python benchmarks/soft_delete.py --database postgresql://user:pass@host/empty_database

- A live row is read by an indexed column: a table of which 90% is deleted, to a table
  of the live rows alone.
- Queries are built and run: `select()`, to `where(deleted_at.is_null())` written by
  hand for a plain peewee.Model of the same table.
- Rows are deleted: `delete()`, to an audited `update()` of two columns.

Each figure is the median, over the repeats, of the ratio of two timings taken right
after each other; the order alternates.
"""

import argparse
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import peewee
from comparison import median_ratio, migrated_database
from rich.console import Console
from rich.table import Table

import cmcore
from cmcore.fields import ForeignKeyField, UTCDateTimeField
from cmcore.models import User

LIVE_SHARE = 10
LOOKUPS = 300
ROUNDS = 30
PAGE = 50

Query = Any


def columns() -> dict[str, Any]:
    """Return the fields that all tables have."""
    return {
        "code": peewee.CharField(unique=True),
        "name": peewee.CharField(index=True),
        "title": peewee.CharField(),
        "quantity": peewee.IntegerField(default=0),
        "note": peewee.TextField(null=True),
    }


def soft_model(name: str, **fields: Any) -> Any:
    """Make a model with soft delete."""
    return type(name, (cmcore.SoftDeleteMixin, cmcore.Model), {**columns(), **fields})


Crowded = soft_model("Crowded")
Sparse = soft_model("Sparse")
Child = soft_model("Child", parent=ForeignKeyField(Sparse, backref="+"))


def plain_model(model: Any, **fields: Any) -> Any:
    """Make a model of peewee on the table of another one, with the same columns."""
    meta = type("Meta", (), {"table_name": model._meta.table_name})
    marks = {
        "deleted_at": UTCDateTimeField(null=True),
        "deleted_by": peewee.ForeignKeyField(
            User, column_name="deleted_by", null=True, backref="+"
        ),
    }
    body = {**marks, **columns(), **fields, "Meta": meta}
    return type(f"Plain{model.__name__}", (peewee.Model,), body)


PlainSparse = plain_model(Sparse)
PlainChild = plain_model(Child, parent=peewee.ForeignKeyField(PlainSparse, backref="+"))


class Bench:
    """Times pairs on one database."""

    def __init__(self, database: peewee.Database, rows: int, repeats: int) -> None:
        """Create the tables; nine of ten rows of the crowded one are deleted."""
        self.live = rows // LIVE_SHARE
        self.repeats = repeats
        self.numbers = itertools.count()
        database.bind([PlainSparse, PlainChild])
        database.create_tables([Crowded, Sparse, Child])
        gone = {"deleted_at": cmcore.keys.now(), "deleted_by": "system"}
        self.insert(Crowded, rows - self.live, **gone)
        self.insert(Crowded, self.live)
        self.insert(Sparse, self.live)
        parents = Sparse.select(Sparse.id).tuples()
        self.insert(Child, self.live, parent=parents.first()[0])
        database.execute_sql("ANALYZE")

    def insert(self, model: Any, count: int, **values: Any) -> None:
        """Insert rows, unseen by the trail; ten of the crowded table share a name."""
        rows = [
            {
                "code": f"C{next(self.numbers):08}",
                "name": f"N{number % self.live:08}",
                "title": f"Item number {number} of the list",
                "quantity": number % 100,
                "note": "a note that is neither long nor short",
                **values,
            }
            for number in range(count)
        ]
        with model._meta.database.atomic():
            for part in peewee.chunked(rows, 1000):
                peewee.ModelInsert(model, part).execute()

    def ratio(self, pair: Any, prepare: Any, work: Any) -> float:
        """Return the median ratio of the second one to the first."""
        return median_ratio(pair, prepare, work, self.repeats)


def lookups(bench: Bench) -> Iterator[tuple[str, float]]:
    """Measure reading live rows by an indexed column."""
    chosen = random.Random(7)  # noqa: S311 - the same rows in each run

    def read(name: str, model: Any, values: list[str]) -> None:
        field = getattr(model, name)
        for value in values:
            if len(model.select().where(field == value)) != 1:
                raise SystemExit(1)

    for name, what in (("code", "a unique column"), ("name", "an indexed column")):
        known = {
            model: [value for (value,) in model.select(getattr(model, name)).tuples()]
            for model in (Sparse, Crowded)
        }
        ratio = bench.ratio(
            (Sparse, Crowded),
            lambda model, known=known: chosen.choices(known[model], k=LOOKUPS),
            functools.partial(read, name),
        )
        yield f"read a live row by {what}", ratio


def with_mixin(row: Any) -> list[Query]:
    """Return typical queries of soft-deleted models."""
    joined = Child.select(Child, Sparse).join(Sparse)
    counted = Sparse.select(peewee.fn.COUNT(Sparse.id))
    many = Sparse.quantity >= row.quantity
    return [
        Sparse.select().where(Sparse.id == row.id),
        Sparse.select().where(Sparse.code == row.code),
        Sparse.select().where(many).order_by(Sparse.id).limit(PAGE),
        joined.where(many).order_by(Child.id).limit(PAGE),
        counted.where(Sparse.name == row.name),
    ]


def by_hand(row: Any) -> list[Query]:
    """Return the same queries of plain models."""
    mine, child = PlainSparse, PlainChild
    live = mine.deleted_at.is_null()
    joined = child.select(child, mine).join(mine).where(child.deleted_at.is_null())
    counted = mine.select(peewee.fn.COUNT(mine.id))
    many = mine.quantity >= row.quantity
    return [
        mine.select().where(mine.id == row.id, live),
        mine.select().where(mine.code == row.code, live),
        mine.select().where(many, live).order_by(mine.id).limit(PAGE),
        joined.where(many, live).order_by(child.id).limit(PAGE),
        counted.where(mine.name == row.name, live),
    ]


def queries(bench: Bench) -> float:
    """Measure building and running typical queries."""
    row = Sparse.get()

    def work(build: Callable[[Any], list[Query]], _: Any) -> None:
        for _ in range(ROUNDS):
            for query in build(row):
                list(query)

    return bench.ratio((by_hand, with_mixin), lambda _: None, work)


def deletes(bench: Bench, count: int) -> Iterator[tuple[str, float]]:
    """Measure a delete of many rows; what it writes is indexed."""
    parent = Sparse.get().id

    def prepare(_: Any) -> int:
        bench.insert(Child, count, parent=parent)
        newest: int = Child.select(peewee.fn.MAX(Child.id)).scalar()
        return newest - count + 1

    def work(build: Callable[[], Query], first: int) -> None:
        build().where(Child.id >= first).execute()

    for what, values in (
        ("plain columns", {"quantity": -1, "title": "changed"}),
        ("an indexed column", {"quantity": -1, "name": "changed"}),
    ):
        pair = (functools.partial(Child.update, values), Child.delete)
        yield f"update() of {what}", bench.ratio(pair, prepare, work)


def main() -> None:
    """Run everything and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", help="default: a temporary SQLite file")
    parser.add_argument(
        "--rows", type=int, default=200_000, help="of which 90% deleted"
    )
    parser.add_argument("--deletes", type=int, default=10_000, help="rows at once")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    with migrated_database(arguments.database) as database:
        bench = Bench(database, arguments.rows, arguments.repeats)
        table = Table(title="Soft delete, ratios of times")
        table.add_column("what")
        table.add_column("ratio", justify="right")
        for what, ratio in lookups(bench):
            table.add_row(f"{what}, 90% deleted", f"{ratio:.2f}")
        table.add_row("build and run queries", f"{queries(bench):.2f}")
        for what, ratio in deletes(bench, arguments.deletes):
            table.add_row(f"delete() to {what}", f"{ratio:.2f}")
        Console(width=80).print(table)


if __name__ == "__main__":
    main()
