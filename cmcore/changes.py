"""A change of one row, and how two snapshots of a row are told apart.

Everything that hangs on writes (hooks, the audit trail, observers) hangs on lists of
`Change`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from peewee import Database, Model

from cmcore.context import Context

MASK = "***"


class Action(StrEnum):
    """What happened to a row."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"


@dataclass(frozen=True)
class Change:
    """What one write did to one row.

    `old` and `new` hold exactly the fields whose value differs. Where a row appears
    or disappears they hold all fields, and the other side is None. Masked fields are
    masked already and excluded ones are absent.

    Attributes:
        action: What happened.
        model: The model class.
        key: The primary key before the write (a tuple for composite keys; None for a
            model without a key, and in `before_create` of an automatic one).
        old: Field name to Python value before the write.
        new: Field name to Python value after the write.
        context: Who acted, from where, and why.
        at: When, as an aware UTC datetime.
        transaction_id: One UUIDv7 for the whole outermost transaction.
        database: Where it happened; audit rows go to the same connection.
    """

    action: Action
    model: type[Model]
    key: Any
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    context: Context
    at: datetime
    transaction_id: str
    database: Database = field(repr=False, compare=False)


def equal(old: Any, new: Any) -> bool:
    """Tell whether two Python values of one field are the same, NULL and NaN too."""
    if old is None or new is None:
        return old is new
    try:
        return bool(old == new) or bool(old != old and new != new)  # noqa: PLR0124
    except Exception:  # noqa: BLE001 - a value's own == may raise; then it differs
        return False
