"""Values that drivers wrap: hooks and the trail see them as Python has them."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import fields
from cmcore.models import AuditLog

VALUES: dict[str, Any] = {
    "data": {"a": [1, None, "%"], "$decimal": "1"},
    "word": '{"a": 1}',
    "blob": b"\0\xff%s",
    "bits": b"\x01\x02",
    "token": uuid.UUID(int=1),
    "key": uuid.UUID(int=2),
    "price": Decimal("1.50"),
    "at": datetime(2024, 2, 29, microsecond=1, tzinfo=UTC),
}


class Wrapped(cmcore.Model):
    """One field of each kind that a driver stores in a form of its own."""

    data = fields.JSONField(null=True)
    word = fields.JSONField(null=True)
    blob = peewee.BlobField(null=True)
    bits: Any = peewee.BigBitField()
    token = peewee.BinaryUUIDField(null=True)
    key = peewee.UUIDField(null=True)
    price = peewee.DecimalField(10, 2, null=True)
    at = fields.UTCDateTimeField(null=True)

    class Meta:
        table_name = "wrapped"


class BinaryKey(cmcore.Model):
    """A row whose key is bytes."""

    id = peewee.BlobField(primary_key=True)

    class Meta:
        table_name = "binary_keys"


class BinaryUUIDKey(cmcore.Model):
    """A row whose key is stored as bytes."""

    id = peewee.BinaryUUIDField(primary_key=True)

    class Meta:
        table_name = "binary_uuid_keys"


class Listening:
    """A plugin that keeps the new values it was shown."""

    def __init__(self) -> None:
        """Begin with none."""
        self.before: list[dict[str, Any]] = []
        self.after: list[dict[str, Any]] = []

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Any) -> None:
        """Keep them."""
        self.before += [change.new for change in changes]

    @cmcore.hookimpl
    def cmcore_before_update(self, changes: Any) -> None:
        """Keep them."""
        self.before += [change.new for change in changes]

    @cmcore.hookimpl
    def cmcore_after_create(self, changes: Any) -> None:
        """Keep them."""
        self.after += [change.new for change in changes]

    @cmcore.hookimpl
    def cmcore_after_update(self, changes: Any) -> None:
        """Keep them."""
        self.after += [change.new for change in changes]


def described(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the fields that are tested, with their types."""
    return {n: (type(values[n]), values[n]) for n in VALUES if n in values}


def test_hooks_see_plain_values_before_and_after(
    database: peewee.Database, plugin: Callable[..., Any]
) -> None:
    """What a hook sees has the type of the value that was given, at every time."""
    database.create_tables([Wrapped])
    listening = plugin(Listening())
    given = described(VALUES)
    wrapped = Wrapped.create(**VALUES)
    Wrapped.update(dict.fromkeys(set(VALUES) - {"bits"}), bits=b"").execute()
    Wrapped.update(**VALUES).execute()
    for seen in (listening.before, listening.after):
        created, _, updated = map(described, seen)
        assert (created, updated) == (given, given)
    Wrapped.update(**VALUES).execute()
    wrapped.save()
    assert (len(listening.before), len(listening.after)) == (3, 3)


@pytest.mark.parametrize(
    ("model", "key"), [(BinaryKey, b"\0\xff"), (BinaryUUIDKey, uuid.UUID(int=3))]
)
def test_a_row_with_a_binary_key_has_a_history(
    database: peewee.Database, model: Any, key: Any
) -> None:
    """Its entries are found by an object, whatever the driver makes of the key."""
    database.create_tables([model])
    row = model.create(id=key)
    assert row.history().count() == 1
    assert AuditLog.for_instance(model(id=key)).count() == 1
