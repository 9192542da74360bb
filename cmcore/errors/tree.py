"""Every exception of cmcore, one tree under `CmcoreError`.

The data is on attributes, the text is in the class, and each text ends with what to
do next. Errors pickle and copy. None of them ever holds a secret: `value` is None
where the field is a secret or masked one.
"""

from typing import Any

import peewee


class CmcoreError(Exception):
    """The base of every error of cmcore, which is never raised itself."""


class ConfigurationError(CmcoreError):
    """Something is set up wrongly; the text says what and how to set it right."""


class UnboundModelError(
    ConfigurationError, peewee.InterfaceError, peewee.ImproperlyConfigured
):
    """A model is used before it has a database."""

    def __init__(self, model: str = "This model") -> None:
        """Take the name of the model."""
        super().__init__(model)
        self.model = model

    def __str__(self) -> str:
        """Say which model, and how to bind it."""
        return (
            f"{self.model} has no database. Call cmcore.connect(url), or "
            "cmcore.init(database) with a database of your own, before using it."
        )


class PluginError(ConfigurationError):
    """A plugin cannot be registered, or broke a rule that all plugins share."""


class UnreachableDatabaseError(ConfigurationError, peewee.OperationalError):
    """A database cannot be opened: a server that is down, a file that is not ours."""


class DatabaseLockedError(CmcoreError, peewee.OperationalError):
    """Somebody else kept the database locked for longer than we may wait."""

    def __init__(self, table: str | None = None) -> None:
        """Take the name of the table that was being written or read."""
        super().__init__(table)
        self.table = table

    def __str__(self) -> str:
        """Say what was locked, and what helps."""
        where = f" while using table {self.table!r}" if self.table else ""
        return (
            f"The database is locked by another connection{where}; nothing was "
            "changed. Try again, make the other transaction shorter, or wait longer: "
            "cmcore.connect(url, timeout=30). A transaction that reads before it "
            'writes should begin with db.atomic("IMMEDIATE").'
        )


class Veto(CmcoreError):  # noqa: N818 - a verb of the plugin author, not a fault
    """A plugin refuses a change; raise it in a `cmcore_before_…` hook.

    Args:
        reason: A sentence for the person whose change is refused.
    """

    def __init__(self, reason: str = "A plugin refused the change.") -> None:
        """Take the reason."""
        super().__init__(reason)
        self.reason = reason


class NaiveDatetimeError(CmcoreError, ValueError):
    """A datetime without a time zone was given to a field that stores moments."""

    def __init__(self, field: str = "", value: Any = None, table: str = "") -> None:
        """Take the field's name, the value, and the name of the table."""
        super().__init__(field, value, table)
        self.field = field
        self.value = value
        self.table = table

    def __str__(self) -> str:
        """Name the field and the cure."""
        place = f"{self.table}.{self.field}" if self.table else self.field
        return (
            f"{place}: the datetime {self.value!s} has no time zone. Give an "
            "aware one, for example datetime.now(timezone.utc)."
        )


class ConstraintError(CmcoreError, peewee.IntegrityError):
    """A rule of the database refused a row.

    Attributes:
        table: The table's name, always known.
        column: The column's name, where it can be told.
        constraint: The constraint's name, where the engine tells it.
        value: The refused value, where it can be told and is not a secret.
        orig: The driver's error, as on peewee's own errors; None where its text may
            hold a secret, and after pickling.
    """

    orig: BaseException | None = None

    def __init__(
        self,
        *,
        table: str = "",
        column: str | None = None,
        constraint: str | None = None,
        value: Any = None,
        detail: str = "",
    ) -> None:
        """Take what is known; `detail` is a sentence about the rule."""
        super().__init__()
        self.table = table
        self.column = column
        self.constraint = constraint
        self.value = value
        self.detail = detail

    def __reduce__(self) -> Any:
        """Pickle and copy the attributes; drivers' errors do not travel."""
        return type(self), (), {**vars(self), "orig": None}

    @property
    def args(self) -> tuple[Any, ...]:  # type: ignore[override]  # derived from the rest
        """The text, which is what peewee's own errors have first."""
        return (str(self),)

    def __repr__(self) -> str:
        """Show the class and the text, as other exceptions do."""
        return f"{type(self).__name__}({str(self)!r})"

    problem = "breaks a rule of the table"
    cure = "Correct the value and try again."

    def __str__(self) -> str:
        """Say where, what, by which rule, and what to do."""
        where = f"{self.table}.{self.column}" if self.column else self.table
        shown = "" if self.value is None else f" {_shortened(self.value)}"
        rule = f" (constraint {self.constraint})" if self.constraint else ""
        detail = f" {self.detail}" if self.detail else ""
        return f"{where}: the value{shown} {self.problem}{rule}.{detail} {self.cure}"


class InvalidValueError(ConstraintError):
    """A value breaks a CHECK rule, or NULL was given where a value is needed."""

    problem = "is not valid"


class TooLongError(InvalidValueError, peewee.DataError):
    """A text is longer than its column."""

    problem = "is too long"
    cure = "Shorten it and try again."


class DuplicateError(ConstraintError):
    """A unique value is taken already.

    Attributes:
        fields: The names of the columns whose values must be unique together.
        key: The primary key of the row that holds the value, where it can be read
            without a further savepoint; else None. Nobody looks on behalf of a model
            with `audit = False` and no plugin, which sends what peewee sends.
    """

    problem = "is taken already"
    cure = "Choose another one, or update the row that holds it."

    def __init__(
        self, *, fields: tuple[str, ...] = (), key: Any = None, **known: Any
    ) -> None:
        """Take the unique columns and the holder's key."""
        super().__init__(**known)
        self.fields = fields
        self.key = key

    def __str__(self) -> str:
        """Add who holds the value."""
        held = "" if self.key is None else f" The row with the key {self.key!s} has it."
        return super().__str__() + held


class MissingReferenceError(ConstraintError):
    """A foreign key names a row that does not exist."""

    problem = "refers to a row that does not exist"
    cure = "Create that row first, or name one that exists."


class StillReferencedError(ConstraintError):
    """A row cannot go, because other rows refer to it."""

    cure = "Delete or change the rows that refer to it first."

    def __str__(self) -> str:
        """Say which table refers to the row, where it is known."""
        rule = f" (constraint {self.constraint})" if self.constraint else ""
        detail = f" {self.detail}" if self.detail else ""
        return (
            f"{self.table}: the row cannot be removed or renamed, because other rows "
            f"refer to it{rule}.{detail} {self.cure}"
        )


class AppendOnlyError(CmcoreError):
    """Audit entries can be added, not changed or removed."""

    def __init__(self, operation: str = "change") -> None:
        """Take the verb that was tried."""
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        """Say what to do instead."""
        return (
            f"audit_logs: refused to {self.operation} audit entries, the trail is "
            "append-only. Write a correcting entry with cmcore.record() instead."
        )


class ProtectedRowError(CmcoreError):
    """The user `system` was to go or to log in, or one of two columns to be written.

    These are `deleted_at` and `deleted_by`.
    """

    def __init__(
        self, table: str = "", key: Any = None, *, column: str | None = None
    ) -> None:
        """Take the table, and the row's primary key or the column."""
        super().__init__(table, key)
        self.table = table
        self.key = key
        self.column = column

    def __str__(self) -> str:
        """Say why it is protected."""
        if self.column is not None:
            return (
                f"{self.table}.{self.column}: only delete() and restore() write it. "
                "Call one of them, and leave the column out of this write."
            )
        return (
            f"{self.table}: the row {self.key!r} is who acted when nobody is named. "
            "It cannot be deleted or log in, and its id cannot change. Leave it out."
        )


class StaleDeletedError(CmcoreError):
    """An object was to be saved whose row has been deleted meanwhile.

    Attributes:
        model: The model class.
        key: The primary key.
        deleted_at: When it was deleted, as an aware UTC datetime.
        deleted_by: The id of the user who did it.
    """

    def __init__(
        self,
        model: Any = None,
        key: Any = None,
        deleted_at: Any = None,
        deleted_by: Any = None,
    ) -> None:
        """Take what the row says."""
        super().__init__(model, key, deleted_at, deleted_by)
        self.model = model
        self.key = key
        self.deleted_at = deleted_at
        self.deleted_by = deleted_by

    def __str__(self) -> str:
        """Say who deleted it and when, and what can be done."""
        name = getattr(self.model, "__name__", "The object")
        return (
            f"{name} {self.key!r} was deleted at {self.deleted_at} by "
            f"{self.deleted_by}; nothing was saved. Bring it back with "
            "restore_instance() and save it then, or forget the object."
        )


class RestoreConflictError(DuplicateError):
    """A deleted row cannot come back: another one has a unique value of it.

    Attributes:
        fields: The names of the fields whose values must be unique together.
        key: The primary key of the live row that has the value; None where two of the
            rows that were to be restored have the same one.
    """

    problem = "cannot be restored"
    cure = "Change one of the two rows, or leave one deleted; nothing was restored."


class UnsafeCascadeError(CmcoreError):
    """A recursive soft delete would have to remove rows that cannot be restored.

    Attributes:
        models: The dependent models that have no `SoftDeleteMixin`.
    """

    def __init__(self, models: tuple[Any, ...] = ()) -> None:
        """Take the models."""
        super().__init__(models)
        self.models = models

    def __str__(self) -> str:
        """Name the models, and what can be done."""
        names = ", ".join(model.__name__ for model in self.models)
        return (
            f"Rows of {names} would be removed for good, since the model has no "
            "SoftDeleteMixin; nothing was changed. Add the mixin, make the foreign key "
            "nullable, or delete those rows first."
        )


def _shortened(value: Any, limit: int = 80) -> str:
    text = repr(value)
    if len(text) <= limit:
        return text
    length = len(value if isinstance(value, str) else text)
    return f"{text[:limit]}… ({length} characters)"
