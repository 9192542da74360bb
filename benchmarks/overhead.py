"""What auditing costs: ratios of audited cmcore to plain peewee, side by side.

    python benchmarks/overhead.py                        # SQLite, a temporary file
    python benchmarks/overhead.py --database postgresql://user:pass@host/empty_database

Each figure is the median, over the repeats, of the ratio of two timings taken right
after each other; the order alternates. The table has ten columns and a foreign key, the
trail is as migrated; SQLite runs on a file in WAL mode with synchronous=NORMAL.
"""

import argparse
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import peewee
from comparison import median_ratio, migrated_database
from rich.console import Console
from rich.table import Table

import cmcore
from cmcore.models import AuditLog

SINGLE_ROWS = 300
BULK_ROWS = 10_000
TRAIL_ENTRIES = 200_000


class Pair(NamedTuple):
    """The same table twice: plain, and audited."""

    owner: Any
    plain: Any
    audited: Any


def make_models(database: peewee.Database) -> Pair:
    """Create both tables, and the one that they refer to."""
    owners = type("Owner", (peewee.Model,), {"name": peewee.CharField()})
    owners.bind(database)  # type: ignore[attr-defined]
    database.create_tables([owners])

    def columns() -> dict[str, Any]:
        return {
            "owner": peewee.ForeignKeyField(owners, backref="+"),
            "number": peewee.CharField(index=True),
            "title": peewee.CharField(),
            "quantity": peewee.IntegerField(default=0),
            "price": peewee.DecimalField(10, 2, default=0),
            "weight": peewee.DoubleField(default=1.5),
            "is_open": peewee.BooleanField(default=True),
            "note": peewee.TextField(null=True),
            "due_on": peewee.DateField(null=True),
        }

    meta = type("Meta", (), {"database": database})
    plain = type("PlainItem", (peewee.Model,), {**columns(), "Meta": meta})
    audited = type("AuditedItem", (cmcore.Model,), {**columns(), "Meta": meta})
    database.create_tables([plain, audited])
    owner = owners.create(name="somebody")  # type: ignore[attr-defined]
    return Pair(owner, plain, audited)


class Bench:
    """Times one thing on both models, interleaved."""

    def __init__(self, database: peewee.Database, models: Pair, repeats: int) -> None:
        """Take the database, the models and the number of repeats."""
        self.database = database
        self.models = models
        self.repeats = repeats
        self.numbers = itertools.count()

    def values(self) -> dict[str, Any]:
        """Return the values of a new row."""
        number = next(self.numbers)
        return {
            "owner": self.models.owner.id,
            "number": f"N{number:08}",
            "title": f"Item number {number} of the list",
            "quantity": number % 100,
            "price": "12.50",
            "note": "a note that is neither long nor short",
        }

    def rows(self, model: Any, count: int) -> list[Any]:
        """Return new rows as objects, outside the timing."""
        with self.database.atomic():
            plain = peewee.ModelInsert(model, [self.values() for _ in range(count)])
            plain.execute()
        newest = peewee.ModelSelect(model, model._meta.sorted_fields)
        return list(newest.order_by(model.id.desc()).limit(count))

    def ratio(
        self,
        prepare: Callable[[Any], Any],
        work: Callable[[Any, Any], None],
    ) -> float:
        """Return the median ratio of audited to plain."""
        return median_ratio(self.models[1:], prepare, work, self.repeats)


def single(bench: Bench, *, own_transaction: bool) -> Iterator[tuple[str, float]]:
    """Measure create, update of two fields, and delete of single rows."""
    count = SINGLE_ROWS
    database = bench.database

    def each(work: Callable[[Any], None], items: Any) -> None:
        with nullcontext() if own_transaction else database.atomic():
            for item in items:
                with database.atomic() if own_transaction else nullcontext():
                    work(item)

    def change(item: Any) -> None:
        item.quantity += 1
        item.title = "another title"
        item.save()

    yield (
        "create",
        bench.ratio(
            lambda _: [bench.values() for _ in range(count)],
            lambda model, rows: each(lambda row: model.create(**row), rows),
        ),
    )
    yield (
        "update",
        bench.ratio(
            lambda model: bench.rows(model, count),
            lambda _, items: each(change, items),
        ),
    )
    yield (
        "delete",
        bench.ratio(
            lambda model: bench.rows(model, count),
            lambda _, items: each(lambda item: item.delete_instance(), items),
        ),
    )


def bulk(bench: Bench) -> Iterator[tuple[str, float]]:
    """Measure statements that touch ten thousand rows."""
    count = BULK_ROWS

    def newest(model: Any, items: list[Any]) -> Any:
        return model.id >= items[-1].id

    def listed(model: Any, items: list[Any]) -> Any:
        return model.id.in_([item.id for item in items])

    def update(where: Callable[[Any, list[Any]], Any], model: Any, items: Any) -> None:
        query = model.update(quantity=model.quantity + 1, title="changed")
        query.where(where(model, items)).execute()

    def delete(where: Callable[[Any, list[Any]], Any], model: Any, items: Any) -> None:
        model.delete().where(where(model, items)).execute()

    yield (
        "insert_many",
        bench.ratio(
            lambda _: [bench.values() for _ in range(count)],
            lambda model, rows: model.insert_many(rows).execute(),
        ),
    )
    for name, work in (("update()", update), ("delete()", delete)):
        for how, where in (("by a condition", newest), ("by a list of ids", listed)):
            ratio = bench.ratio(
                lambda model: bench.rows(model, count), functools.partial(work, where)
            )
            yield f"{name} {how}", ratio


def reading(bench: Bench) -> float:
    """Measure reading ten thousand objects."""
    for model in bench.models[1:]:
        bench.rows(model, BULK_ROWS)
    return bench.ratio(
        lambda model: model.select().limit(BULK_ROWS),
        lambda _, query: list(query),  # type: ignore[arg-type]
    )


def history(bench: Bench) -> float:
    """Return the milliseconds of the last 20 changes of one object in a long trail."""
    obj = bench.rows(bench.models.audited, 1)[0]
    while AuditLog.select().count() < TRAIL_ENTRIES:
        bench.models.audited.insert_many(
            [bench.values() for _ in range(BULK_ROWS)]
        ).execute()
    for _ in range(25):
        obj.quantity += 1
        obj.save()
    taken = []
    for _ in range(50):
        start = time.perf_counter()
        entries = list(AuditLog.for_instance(obj).limit(20))
        taken.append(time.perf_counter() - start)
        if len(entries) != 20:  # noqa: PLR2004 - the measured number
            raise SystemExit(1)
    return statistics.median(taken) * 1000


def main() -> None:
    """Run everything and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="default: a temporary SQLite file")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--without-history", action="store_true")
    arguments = parser.parse_args()
    with migrated_database(arguments.database) as database:
        bench = Bench(database, make_models(database), arguments.repeats)
        table = Table(title="Audited cmcore to plain peewee, ratio of times")
        table.add_column("what")
        table.add_column("each in its own transaction", justify="right")
        table.add_column("many in one", justify="right")
        alone = dict(single(bench, own_transaction=True))
        together = dict(single(bench, own_transaction=False))
        for name, ratio in alone.items():
            table.add_row(name, f"{ratio:.2f}", f"{together[name]:.2f}")
        for name, ratio in bulk(bench):
            table.add_row(f"{name}, {BULK_ROWS:,} rows", "", f"{ratio:.2f}")
        table.add_row(f"read {BULK_ROWS:,} objects", "", f"{reading(bench):.2f}")
        Console(width=80).print(table)
        if not arguments.without_history:
            print(
                f"last 20 changes of one object in a trail of {TRAIL_ENTRIES:,}: "
                f"{history(bench):.2f} ms"
            )


if __name__ == "__main__":
    main()
