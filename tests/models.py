"""Sample models: the same tables once recorded by cmcore, once plain peewee.

Keys are counted, not random, so that both give equal keys as long as each asks for as
many: a default that is evaluated twice shows.
"""

import itertools
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import peewee

import cmcore
from cmcore.fields import KeyField, ManyToManyField, UTCDateTimeField

USERS = ("alice", "bob")
"""Ids of users who act."""
KEYS = ("integer", "text", "uuid", "composite", "none")


class Counter:
    """A default that counts from 1, in the form of one kind of key."""

    def __init__(self, form: Callable[[int], Any]) -> None:
        """Take what makes a key of a number."""
        self._form = form
        self.restart()

    def restart(self, start: int = 1) -> None:
        """Count from 1 again, or from another number."""
        self._numbers = itertools.count(start)

    def __call__(self) -> Any:
        """Return the next key."""
        return self._form(next(self._numbers))


def text_key(number: int) -> str:
    """Return a text key for a number."""
    return f"key-{number:032d}"


def uuid_key(number: int) -> uuid.UUID:
    """Return a UUID for a number."""
    return uuid.UUID(int=number)


def _key_fields(kind: str, counter: Counter) -> dict[str, Any]:
    if kind == "text":
        return {"id": KeyField(primary_key=True, default=counter)}
    if kind == "uuid":
        return {"id": peewee.UUIDField(primary_key=True, default=counter)}
    if kind == "composite":
        return {
            "region": peewee.CharField(max_length=20),
            "number": peewee.IntegerField(column_name="row_number"),
        }
    return {}


def item_model(base: type[peewee.Model], kind: str) -> Any:
    """Make a model with one kind of key, on cmcore's base class or on peewee's."""
    counter = Counter(uuid_key if kind == "uuid" else text_key)
    options: dict[str, Any] = {"table_name": f"{kind}_items"}
    if kind == "composite":
        options["primary_key"] = peewee.CompositeKey("region", "number")
    if kind == "none":
        options["primary_key"] = False
    body = {
        **_key_fields(kind, counter),
        "code": peewee.CharField(unique=True),
        "n": peewee.IntegerField(null=True, default=0),
        "note": peewee.TextField(null=True, column_name="remark"),
        "price": peewee.DecimalField(10, 2, null=True, default=Decimal("1.50")),
        "Meta": type("Meta", (), options),
    }
    metaclass: Any = type(base)
    model = metaclass(f"{kind.title()}Item", (base,), body)
    model.counter = counter
    return model


ITEMS = {kind: item_model(cmcore.Model, kind) for kind in KEYS}
"""Recorded models."""
PLAIN = {kind: item_model(peewee.Model, kind) for kind in KEYS}
"""The same on plain peewee, for another database."""
MIRRORS = {kind: item_model(peewee.Model, kind) for kind in KEYS}
"""Plain views of the recorded tables, to fill and read them unseen."""


def tree_models(base: type[peewee.Model]) -> Any:
    """Make models that refer to each other: nodes, their leaves, labels of nodes."""
    metaclass: Any = type(base)
    many = ManyToManyField if base is cmcore.Model else peewee.ManyToManyField
    node = metaclass(
        "Node",
        (base,),
        {
            "name": peewee.CharField(),
            "parent": peewee.ForeignKeyField("self", null=True, backref="children"),
            "Meta": type("Meta", (), {"table_name": "nodes"}),
        },
    )
    leaf = metaclass(
        "Leaf",
        (base,),
        {
            "name": peewee.CharField(),
            "node": peewee.ForeignKeyField(node, backref="leaves"),
            "spare": peewee.ForeignKeyField(node, null=True, backref="spares"),
            "Meta": type("Meta", (), {"table_name": "leaves"}),
        },
    )
    label = metaclass(
        "Label",
        (base,),
        {
            "name": peewee.CharField(unique=True),
            "nodes": many(node, backref="labels"),
            "Meta": type("Meta", (), {"table_name": "labels"}),
        },
    )
    return [node, leaf, label, label.nodes.get_through_model()]


TREE = tree_models(cmcore.Model)
PLAIN_TREE = tree_models(peewee.Model)
MIRROR_TREE = tree_models(peewee.Model)


class Stamped(cmcore.TimestampMixin, cmcore.Model):
    """With moments only."""

    name = peewee.CharField(unique=True)
    n = peewee.IntegerField(null=True, default=0)

    class Meta:
        table_name = "stamped"


class Audited(cmcore.AuditMixin, cmcore.Model):
    """With moments and users."""

    name = peewee.CharField(unique=True)
    n = peewee.IntegerField(null=True, default=0)

    class Meta:
        table_name = "audited"


class Acted(cmcore.ActorMixin, cmcore.Model):
    """With user ids that no foreign key checks."""

    name = peewee.CharField(unique=True)
    n = peewee.IntegerField(null=True, default=0)

    class Meta:
        table_name = "acted"


class ApplicationModel(cmcore.Model):
    """The base model of an application, with a key and a mask of its own."""

    id = KeyField(primary_key=True)
    iban = peewee.CharField(null=True)

    class Meta:
        audit_mask = ("iban",)


class Account(cmcore.AuditMixin, ApplicationModel):
    """A mixin before an application's base model; both name options of the trail."""

    name = peewee.CharField(unique=True)
    n = peewee.IntegerField(null=True, default=0)
    pin = peewee.CharField(null=True)
    secret = peewee.CharField(null=True)

    class Meta:
        table_name = "accounts"
        audit_mask = ("pin",)
        audit_exclude = ("secret",)


class Unrecorded(cmcore.Model):
    """Without audit rows; hooks see it."""

    name = peewee.CharField(unique=True)
    n = peewee.IntegerField(null=True, default=0)

    class Meta:
        table_name = "unrecorded"
        audit = False


class Measurement(cmcore.Model):
    """Values that are hard to compare."""

    value = peewee.DoubleField(null=True)
    taken = UTCDateTimeField(null=True)
    price = peewee.DecimalField(10, 3, null=True)
    data = peewee.BlobField(null=True)

    class Meta:
        table_name = "measurements"


STAMPED = (Stamped, Audited, Acted, Account)
OTHERS = (*STAMPED, Unrecorded, Measurement)
RECORDED = [*ITEMS.values(), *TREE, *OTHERS]
UNSEEN = [*PLAIN.values(), *PLAIN_TREE]
