"""The trail is complete: replaying it from the start gives the tables as they are."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import cmcore
from cmcore.models import AuditLog
from cmcore.values import decode, key_text
from tests.conftest import MakeUrl, connected


class Plant(cmcore.TimestampMixin, cmcore.Model):
    """A row with an automatic key, a unique text, and values of several kinds."""

    code = peewee.CharField(unique=True, null=True)
    height = peewee.DecimalField(max_digits=8, decimal_places=2, null=True)
    seen = cmcore.fields.UTCDateTimeField(null=True)
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "replay_plants"


class Bed(cmcore.Model):
    """A row with a composite key that may change."""

    row = peewee.IntegerField()
    place = peewee.CharField()
    label = peewee.TextField(null=True)

    class Meta:
        table_name = "replay_beds"
        primary_key = peewee.CompositeKey("row", "place")


class Growth(cmcore.Model):
    """Depends on a plant."""

    plant = peewee.ForeignKeyField(Plant, backref="growths")
    note = peewee.TextField(default="")

    class Meta:
        table_name = "replay_growths"


MODELS: list[Any] = [Plant, Bed, Growth]

codes = st.sampled_from(["a", "b", "c", "d", None])
heights = st.none() | st.decimals(-999, 999, places=2)
moments = st.none() | st.sampled_from(
    [datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), datetime(1, 1, 1, tzinfo=UTC)]
)
texts = st.none() | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5
)
small = st.integers(0, 3)
plants = st.fixed_dictionaries(
    {"code": codes, "height": heights, "seen": moments, "n": small}
)
beds = st.fixed_dictionaries(
    {"row": small, "place": st.sampled_from("xy"), "label": texts}
)


def replayed(model: Any) -> dict[Any, dict[str, Any]]:
    """Return the rows by key that the trail of a model says there are."""
    fields = model._meta.fields
    rows: dict[Any, dict[str, Any]] = {}
    entries = AuditLog.select().where(AuditLog.resource_type == model._meta.table_name)
    for entry in entries.order_by(AuditLog.created_at, AuditLog.id):
        values = {
            name: decode(fields[name], encoded)
            for name, encoded in (entry.new_values or {}).items()
        }
        old = {
            name: decode(fields[name], encoded)
            for name, encoded in (entry.old_values or {}).items()
        }
        if entry.action == "create":
            assert entry.resource_id not in rows
            rows[entry.resource_id] = values
            continue
        row = rows.pop(entry.resource_id)
        assert {name: row[name] for name in old} == old
        if entry.action == "update":
            assert values != old
            row = {**row, **values}
            rows[key_of(model, row)] = row
    return rows


def key_of(model: Any, row: dict[str, Any]) -> Any:
    """Return a row's key as the trail writes it."""
    keys = [row[field.name] for field in model._meta.get_primary_keys()]
    return key_text(keys[0] if len(keys) == 1 else tuple(keys))


def present(model: Any) -> dict[Any, dict[str, Any]]:
    """Return the rows of a table by key, stamps that moved alone left aside."""
    return {key_of(model, row): row for row in model.select().dicts()}


class Writes(RuleBasedStateMachine):
    """Writes at random through every form, in and out of transactions."""

    url: str
    replaces: bool

    @initialize()
    def connect(self) -> None:
        """Begin with empty tables and an empty trail."""
        self.stack = ExitStack()
        self.db = self.stack.enter_context(connected(self.url))
        self.open: list[Any] = []
        self.db.drop_tables(MODELS, safe=True)
        self.db.create_tables(MODELS)
        self.db.execute_sql("DELETE FROM audit_logs")

    def teardown(self) -> None:
        """Give up whatever is open."""
        if hasattr(self, "stack"):
            while self.open:
                self.end(keep=False)
            self.stack.close()

    def attempt(self, write: Callable[[], Any]) -> None:
        """Write in a savepoint; a refused write must leave nothing."""
        try:
            with self.db.atomic():
                write()
        except (cmcore.ConstraintError, peewee.IntegrityError):
            pass

    @rule()
    def begin(self) -> None:
        """Open a transaction or a savepoint."""
        if len(self.open) < 3:
            block: AbstractContextManager[Any] = self.db.atomic()
            self.open.append((block, block.__enter__()))

    @rule(keep=st.booleans())
    def end(self, keep: bool) -> None:
        """Commit or roll back the innermost one."""
        if self.open:
            block, transaction = self.open.pop()
            if not keep:
                transaction.rollback()
            block.__exit__(None, None, None)

    @rule(given=plants)
    def create(self, given: dict[str, Any]) -> None:
        """`create`."""
        self.attempt(lambda: Plant.create(**given))

    @rule(rows=st.lists(plants, max_size=4))
    def insert_many(self, rows: list[dict[str, Any]]) -> None:
        """`insert_many`, ignoring conflicts or not."""
        self.attempt(lambda: rows and Plant.insert_many(rows).execute())

    @rule(rows=st.lists(plants, min_size=1, max_size=4))
    def insert_or_ignore(self, rows: list[dict[str, Any]]) -> None:
        """`on_conflict_ignore`."""
        query = Plant.insert_many(rows).on_conflict_ignore()
        self.attempt(query.execute)

    @rule(rows=st.lists(plants, min_size=1, max_size=3, unique_by=lambda r: r["code"]))
    def upsert(self, rows: list[dict[str, Any]]) -> None:
        """An upsert of which some rows are new, some change and some are equal."""
        query = Plant.insert_many(rows).on_conflict(
            conflict_target=[Plant.code], preserve=[Plant.height, Plant.n]
        )
        self.attempt(query.execute)

    @rule(rows=st.lists(plants, max_size=3))
    def bulk_create(self, rows: list[dict[str, Any]]) -> None:
        """`bulk_create` in batches."""
        self.attempt(
            lambda: Plant.bulk_create([Plant(**r) for r in rows], batch_size=2)
        )

    @rule(given=plants, n=small)
    def save(self, given: dict[str, Any], n: int) -> None:
        """`save` of an object that was read."""

        def write() -> None:
            plant = Plant.get_or_none(Plant.n >= n)
            if plant is not None:
                for name, value in given.items():
                    setattr(plant, name, value)
                plant.save()

        self.attempt(write)

    @rule(step=st.integers(-1, 1), code=codes)
    def update(self, step: int, code: str | None) -> None:
        """`update` by an expression, with and without a condition."""
        query = Plant.update(n=Plant.n + step)
        if code is not None:
            query = query.where(Plant.code == code)
        self.attempt(query.execute)

    @rule(height=heights, seen=moments)
    def update_values(self, height: Decimal | None, seen: datetime | None) -> None:
        """`update` of the column that its own WHERE names."""
        condition = Plant.height.is_null() | (Plant.height != height)
        query = Plant.update(height=height, seen=seen).where(condition)
        self.attempt(query.execute)

    @rule(n=small)
    def bulk_update(self, n: int) -> None:
        """`bulk_update` of everything."""

        def write() -> None:
            found = list(Plant.select())
            for plant in found:
                plant.n = plant.n + n - 1
            if found:
                Plant.bulk_update(found, [Plant.n], batch_size=2)

        self.attempt(write)

    @rule(n=small, recursive=st.booleans())
    def delete(self, n: int, recursive: bool) -> None:
        """`delete_instance`, with its dependents or refused because of them."""

        def write() -> None:
            plant = Plant.get_or_none(Plant.n == n)
            if plant is not None:
                plant.delete_instance(recursive=recursive)

        self.attempt(write)

    @rule(note=st.sampled_from("pq"))
    def grow(self, note: str) -> None:
        """`insert_from` and a delete with a sub-select."""
        source = Plant.select(Plant.id, peewee.Value(note)).where(Plant.n > 0)
        query = Growth.insert_from(source, fields=[Growth.plant, Growth.note])
        self.attempt(query.execute)

    @rule(n=small)
    def prune(self, n: int) -> None:
        """A delete with a sub-select."""
        chosen = Plant.select(Plant.id).where(Plant.n < n)
        self.attempt(Growth.delete().where(Growth.plant.in_(chosen)).execute)

    @rule(given=beds)
    def lay(self, given: dict[str, Any]) -> None:
        """`replace` where the engine has it, else an upsert on the whole key."""
        query = Bed.insert(given).on_conflict(
            conflict_target=[Bed.row, Bed.place], update={"label": given["label"]}
        )
        if self.replaces and given["row"] % 2:
            query = Bed.replace(given)
        self.attempt(query.execute)

    @rule(step=st.sampled_from([1, 10]))
    def rename(self, step: int) -> None:
        """An update of a part of the primary key."""
        self.attempt(Bed.update(row=Bed.row + step).where(Bed.row < 30).execute)

    @rule(given=beds)
    def clear(self, given: dict[str, Any]) -> None:
        """`delete` by key."""
        self.attempt(lambda: Bed.delete_by_id((given["row"], given["place"])))

    @invariant()
    def the_trail_gives_the_tables(self) -> None:
        """Replaying the entries gives exactly the rows."""
        if hasattr(self, "db"):
            for model in MODELS:
                assert replayed(model) == present(model)


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """A migrated database of each engine, which does not wait for locks for ever."""
    made = make_url(engine, migrated=True)
    if engine == "postgresql":
        made += ("&" if "?" in made else "?") + "options=-c%20lock_timeout%3D2s"
    return made


def test_replaying_the_trail_gives_the_tables(url: str) -> None:
    """After each of many random writes, the trail alone rebuilds every table."""
    machine = type(
        "Machine", (Writes,), {"url": url, "replaces": url.startswith("sqlite")}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
