"""One trail, whichever way a row was written."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import cmcore
from cmcore.changes import Action
from cmcore.models import AuditLog
from tests.capture.witness import Witness


class Sample(cmcore.AuditMixin, cmcore.Model):
    """A row with values of several kinds."""

    id = peewee.IntegerField(primary_key=True)
    text = peewee.TextField(null=True)
    price = peewee.DecimalField(max_digits=12, decimal_places=3, null=True)
    at = cmcore.fields.UTCDateTimeField(null=True)
    flag = peewee.BooleanField(null=True)
    data = cmcore.fields.JSONField(null=True)
    secret = cmcore.fields.SecretField(null=True)

    class Meta:
        table_name = "equivalent_samples"


def row_of(values: dict[str, Any], **more: Any) -> Any:
    """Return an object that is not in the database."""
    return Sample(**values, **more)


CREATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "create": lambda v: Sample.create(id=7, **v),
    "save": lambda v: row_of(v, id=7).save(force_insert=True),
    "insert": lambda v: Sample.insert(id=7, **v).execute(),
    "insert_many": lambda v: Sample.insert_many([{"id": 7, **v}]).execute(),
    "tuples": lambda v: Sample.insert_many(
        [(7, *v.values())], fields=["id", *v]
    ).execute(),
    "generator": lambda v: Sample.insert_many({"id": 7, **v} for _ in "1").execute(),
    "bulk_create": lambda v: Sample.bulk_create([row_of(v, id=7)]),
    "get_or_create": lambda v: Sample.get_or_create(id=7, defaults=v),
    "ignore": lambda v: Sample.insert(id=7, **v).on_conflict_ignore().execute(),
    "upsert": lambda v: (
        Sample.insert(id=7, **v)
        .on_conflict(conflict_target=[Sample.id], preserve=list(v))
        .execute()
    ),
    "returning": lambda v: list(Sample.insert(id=7, **v).returning(Sample.id)),
}


def changed(values: dict[str, Any]) -> Any:
    """Return the stored object with other values."""
    sample = Sample.get_by_id(7)
    for name, value in values.items():
        setattr(sample, name, value)
    return sample


UPDATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "save": lambda v: changed(v).save(),
    "save only": lambda v: changed(v).save(only=list(v)),
    "update": lambda v: Sample.update(v).where(Sample.id == 7).execute(),
    "update all": lambda v: Sample.update(**v).execute(),
    "set_by_id": lambda v: Sample.set_by_id(7, v),
    "item": lambda v: Sample.__setitem__(7, v),
    "bulk_update": lambda v: Sample.bulk_update([changed(v)], list(v)),
    "upsert": lambda v: (
        Sample.insert(id=7, **v)
        .on_conflict(
            conflict_target=[Sample.id], preserve=[getattr(Sample, n) for n in v]
        )
        .execute()
    ),
    "upsert update": lambda v: (
        Sample.insert(id=7).on_conflict(conflict_target=[Sample.id], update=v).execute()
    ),
    "returning": lambda v: list(Sample.update(v).returning(Sample.id)),
}

DELETES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "delete_instance": lambda _: Sample.get_by_id(7).delete_instance(),
    "recursive": lambda _: Sample.get_by_id(7).delete_instance(recursive=True),
    "delete": lambda _: Sample.delete().execute(),
    "delete where": lambda _: Sample.delete().where(Sample.id == 7).execute(),
    "delete_by_id": lambda _: Sample.delete_by_id(7),
    "item": lambda _: Sample.__delitem__(7),
    "returning": lambda _: list(Sample.delete().returning(Sample.id)),
}


class Reader:
    """A plugin that looks at every row before its entry is built."""

    @cmcore.hookimpl
    def cmcore_redact(self, change: cmcore.Change) -> None:
        """Mask nothing."""
        assert change.old or change.new


@contextlib.contextmanager
def registered(plugin: Any) -> Iterator[None]:
    """Register a plugin for the length of a block."""
    name = cmcore.plugins.register(plugin)
    try:
        yield
    finally:
        cmcore.plugins.unregister(name)


@contextlib.contextmanager
def older_server() -> Iterator[None]:
    """Take PostgreSQL for a server whose RETURNING has no OLD and NEW."""
    with pytest.MonkeyPatch.context() as patch:
        database = Sample._meta.database
        if isinstance(database, peewee.PostgresqlDatabase):
            patch.setattr(database, "server_version", 150_000)
        yield


WAYS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "as it is": contextlib.nullcontext,
    "told before and after": lambda: registered(Witness()),
    "row by row": lambda: registered(Reader()),
    "older server": older_server,
}

plain_text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | plain_text,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(plain_text, inner, max_size=2)
    ),
    max_leaves=4,
)
samples = st.fixed_dictionaries(
    {
        "text": st.none() | plain_text,
        "price": st.none() | st.decimals(-99_999, 99_999, places=3),
        "at": st.none()
        | st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2)),  # noqa: DTZ001
        "flag": st.none() | st.booleans(),
        "data": json_values,
        "secret": st.none() | st.sampled_from(["a", "b"]),
    }
)
QUICK = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def entries(write: Callable[[Any], Any], values: dict[str, Any]) -> list[Any]:
    """Write, return the new entries without ids and times, and undo the write."""
    database: peewee.Database = Sample._meta.database
    with database.atomic() as transaction, cmcore.acting_as(request_id="this"):
        write(values)
        query = AuditLog.select().where(AuditLog.request_id == "this")
        found = list(query.order_by(AuditLog.created_at, AuditLog.id))
        transaction.rollback()
    return [
        (
            entry.action,
            entry.resource_type,
            entry.resource_id,
            entry.user_id,
            entry.description,
            timeless(entry.old_values),
            timeless(entry.new_values),
        )
        for entry in found
    ]


def timeless(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return recorded values with moments of writing made equal."""
    stamps = {"created_at", "updated_at"} & set(values or ())
    return values and {**values, **dict.fromkeys(stamps, "then")}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_leaves_the_same_trail(
    database: peewee.Database, way: str
) -> None:
    """Creations, updates and deletions are recorded alike by all forms.

    So they are whether or not plugins look on, and whatever the server can return.
    """
    database.create_tables([Sample])

    @QUICK
    @given(samples, samples)
    def check(first: dict[str, Any], second: dict[str, Any]) -> None:
        Sample.delete().execute()
        assert_alike(way, CREATES, first, Action.CREATE)
        Sample.create(id=7, **first)
        different = {n: v for n, v in second.items() if v != first[n]}
        forms = dict(UPDATES)
        if None in different.values():  # of no type in the CASE that peewee writes
            del forms["bulk_update"]
        if different:
            assert_alike(way, forms, different, Action.UPDATE)
        assert_alike(way, DELETES, first, Action.DELETE)

    check()


def assert_alike(
    way: str,
    forms: dict[str, Callable[[dict[str, Any]], Any]],
    values: dict[str, Any],
    action: Action,
) -> None:
    """Check that all forms leave the entry that the first leaves as it is."""
    reference = entries(next(iter(forms.values())), values)
    with WAYS[way]():
        found = {name: entries(form, values) for name, form in forms.items()}
    assert [entry[0] for entry in reference] == [action.value]
    for name, entry in found.items():
        assert (way, name, entry) == (way, name, reference)


def test_values_given_in_other_forms_are_recorded_alike(
    database: peewee.Database,
) -> None:
    """What a field adapts is recorded as what the database holds."""
    database.create_tables([Sample])
    given_as_text = {"price": "1.50", "flag": 1, "at": "2024-02-29T12:00:00+02:00"}
    at = datetime(2024, 2, 29, 10, tzinfo=UTC)
    given_plainly = {"price": Decimal("1.500"), "flag": True, "at": at}
    assert entries(CREATES["create"], given_as_text) == entries(
        CREATES["insert"], given_plainly
    )
