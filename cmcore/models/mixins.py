"""Mixins that fill in who and when; they may stand anywhere among the bases."""

from typing import TYPE_CHECKING, Any, NamedTuple

import peewee

from cmcore.fields import UTCDateTimeField
from cmcore.models.base import Model


class Stamp(NamedTuple):
    """What the door writes into a column by itself: a moment or the acting user."""

    kind: str  # "time" or "user"
    once: bool  # set when the row is created, and never again


class StampedTime(UTCDateTimeField):
    """A moment which every write sets, or only the first one."""

    def __init__(self, *args: Any, once: bool = False, **kwargs: Any) -> None:
        """Take whether only the creation sets it."""
        super().__init__(*args, **kwargs)
        self.stamp = Stamp("time", once)


class StampedUser(peewee.CharField):
    """A user id without a foreign key, for databases that hold only the trail."""

    def __init__(self, *args: Any, once: bool = False, **kwargs: Any) -> None:
        """Take whether only the creation sets it."""
        super().__init__(*args, **{"max_length": 36, "null": True, **kwargs})
        self.stamp = Stamp("user", once)


class UserReference(peewee.ForeignKeyField):
    """A foreign key to cmcore's own `User`, whatever else bears that name.

    It adds no back-reference, and `delete_instance(recursive=True)` does not follow
    it. The constraint is `fk_<table>_<column>`, the index `idx_<table>_<column>`.
    """

    _users: type[peewee.Model] | None = None

    def __init__(
        self, *args: Any, partial_index: bool | None = False, **kwargs: Any
    ) -> None:
        """Take whether the index leaves NULLs out; None asks for no index."""
        defaults = {"on_delete": "SET NULL", "backref": "+", "index": False}
        kwargs.pop("model", None)
        super().__init__("self", *args, **{"null": True, **defaults, **kwargs})
        self.named_index = partial_index

    def bind(
        self, model: type[peewee.Model], name: str, set_attribute: bool = True
    ) -> None:
        """Aim at `User`, which is the first model that has such a field."""
        if UserReference._users is None:
            UserReference._users = model
        self._is_self_reference = UserReference._users is model
        self.rel_model = UserReference._users
        self.rel_field = None
        self.column_name = self.column_name or name
        table = model._meta.table_name
        super().bind(model, name, set_attribute)
        self.constraint_name = f"fk_{table}_{self.column_name}"


class StampedReference(UserReference):
    """A reference to the acting user which every write sets, or only the first one."""

    def __init__(self, *args: Any, once: bool = False, **kwargs: Any) -> None:
        """Take whether only the creation sets it."""
        super().__init__(*args, **kwargs)
        self.stamp = Stamp("user", once)


class TimestampMixin(Model, abstract=True):
    """Adds `created_at` and `updated_at`.

    `created_at` is set once, and a value given at creation is kept; `updated_at` by
    every write that changes the row, query-level and bulk ones included.
    """

    created_at = StampedTime(once=True)
    updated_at = StampedTime()


if TYPE_CHECKING:  # no subclass for checkers, so that a model may name both mixins

    class _Timestamps(Model, abstract=True):
        created_at = StampedTime(once=True)
        updated_at = StampedTime()
else:
    _Timestamps = TimestampMixin


class AuditMixin(_Timestamps, abstract=True):
    """Adds `created_by` and `updated_by`, foreign keys to `User`, to the timestamps."""

    created_by = StampedReference(once=True)
    updated_by = StampedReference()

    if TYPE_CHECKING:
        created_by_id: peewee.CharField[str | None]
        updated_by_id: peewee.CharField[str | None]


class ActorMixin(_Timestamps, abstract=True):
    """As `AuditMixin`, with plain user ids for databases that hold only the trail."""

    has_plain_users = True

    created_by = StampedUser(once=True)
    updated_by = StampedUser()
