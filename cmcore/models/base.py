"""`Model`: a peewee model whose writes are recorded."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import peewee

from cmcore.engines.binding import engine_of
from cmcore.errors import DuplicateError, UnboundModelError
from cmcore.hooks import dispatch
from cmcore.models.failures import holder_of
from cmcore.models.metaclass import ModelMeta
from cmcore.models.metadata import Metadata
from cmcore.models.queries import RecordedDelete, RecordedInsert, RecordedUpdate
from cmcore.models.reads import RecordedAlias, RecordedSelect
from cmcore.models.schema_state import require_schema
from cmcore.models.unit import Unit

if TYPE_CHECKING:
    from cmcore.models.audit_log import Trail


class _KnowingInstance:
    """A class method that tells its query which object it was called on.

    `save()` calls `self.insert()` or `self.update()`: so the stamps that the database
    gets are shown on the object too.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __get__(self, instance: Any, owner: Any) -> Any:
        def build(data: Any = None, /, **values: Any) -> Any:
            query = self._kind(owner, owner._normalize_data(data, values))
            query._instance = instance
            return query

        return build


class Model(peewee.Model, metaclass=ModelMeta, abstract=True):
    """A `peewee.Model` without fields, whose writes are recorded row by row.

    Not seen: `execute_sql`, `Model.raw`, `truncate_table`, a write used as a common
    table expression, virtual tables, and what the database's own ON DELETE actions or
    triggers change.

    Options of `class Meta`, beside peewee's: `audit` (False stops audit rows, not
    hooks), `audit_exclude` (names of fields that are never recorded), `audit_mask`
    (names of fields recorded as `"***"`). The last two add up over base classes.

    Example:
        class Invoice(cmcore.AuditMixin, cmcore.Model):
            number = peewee.CharField(unique=True)

            class Meta:
                audit_mask = ("iban",)
    """

    _trail: ClassVar[Any] = None

    if TYPE_CHECKING:  # what peewee's stubs leave without types
        id: Any
        _dirty: set[str]
        _meta: Metadata
        _pk: Any
        _pk_expr: Any

        @classmethod
        def replace(cls, data: Any = None, /, **insert: Any) -> peewee.ModelInsert:
            """Return an insert that replaces the row which is in its way."""

        @classmethod
        def replace_many(cls, rows: Any, fields: Any = None) -> peewee.ModelInsert:
            """Return an insert of many rows that replaces rows in their way."""

        @classmethod
        def set_by_id(cls, key: Any, value: Any) -> int:
            """Update the row with this key, and return how many there were."""

        @classmethod
        def delete_by_id(cls, pk: Any) -> int:
            """Delete the row with this key, and return how many there were."""

        @classmethod
        def get_or_create(cls, **kwargs: Any) -> tuple[Self, bool]:
            """Return the row, and whether it was created; `defaults` fill it in."""

        @classmethod
        def filter(cls, *nodes: Any, **filters: Any) -> peewee.ModelSelect[Self]:
            """Return a select narrowed in the way of Django's queries."""

        @classmethod
        def table_exists(cls) -> bool:
            """Tell whether the database has the table."""

    else:  # the stubs of these say what a caller needs
        insert = _KnowingInstance(RecordedInsert)
        update = _KnowingInstance(RecordedUpdate)

        @classmethod
        def select(cls, *fields: Any) -> Any:
            """Return a select; reading before `cmcore.migrate` raises a clear error."""
            is_default = not fields
            return RecordedSelect(
                cls, fields or cls._meta.sorted_fields, is_default=is_default
            )

        @classmethod
        def insert_many(cls, rows: Any, fields: Any = None) -> Any:
            """Return an insert of many rows: dicts, or tuples with `fields`."""
            return RecordedInsert(cls, insert=rows, columns=fields)

        @classmethod
        def insert_from(cls, query: Any, fields: Any) -> Any:
            """Return an INSERT … SELECT."""
            columns = [getattr(cls, f) if isinstance(f, str) else f for f in fields]
            return RecordedInsert(cls, insert=query, columns=columns)

        @peewee.classmethod_only
        def delete(cls) -> Any:  # noqa: N805 - peewee's own decorator
            """Return a delete."""
            return RecordedDelete(cls)

    @classmethod
    def alias(cls, alias: str | None = None) -> Any:
        """Return the model under another name, for joining it twice."""
        return RecordedAlias(cls, alias)

    @classmethod
    def bulk_create(cls, model_list: Any, batch_size: int | None = None) -> None:
        """Insert many objects, all of them or none."""
        with whole(cls):
            super().bulk_create(model_list, batch_size)

    @classmethod
    def bulk_update(
        cls, model_list: Any, fields: Any, batch_size: int | None = None
    ) -> int:
        """Update fields of many objects, of all of them or none."""
        with whole(cls):
            update: Any = super().bulk_update
            count: int = update(model_list, fields, batch_size)
        return count

    def delete_instance(
        self, recursive: bool = False, delete_nullable: bool = False
    ) -> int:
        """Delete the row, and with `recursive` those that depend on it, or nothing."""
        if not recursive:
            return int(super().delete_instance(recursive, delete_nullable))
        with whole(type(self)):
            return int(super().delete_instance(recursive, delete_nullable))

    def history(self) -> "Trail":
        """Return the entries of this row since it was created, newest first.

        A chainable select of `AuditLog`, also after the row is gone.
        """
        trail: Trail = Model._trail.history_of(self)
        return trail

    @classmethod
    def use_trail(cls, audit_log: type[peewee.Model]) -> None:
        """Name the model that holds the trail; it builds on this class."""
        Model._trail = audit_log

    @classmethod
    def create_table(cls, safe: bool = True, **options: Any) -> None:
        """Create the table; one that refers to cmcore's needs the migrations first.

        Raises:
            PendingMigrationsError: It refers to a table of cmcore that is not there.
        """
        meta: Any = cls._meta
        for field in meta.refs:
            other: Any = field.rel_model
            if other is cls or not getattr(other._meta, "owned", False):
                continue
            if not (meta.owned and other.table_exists()):
                needs_more = other._meta.table_name != "audit_logs"
                require_schema(meta.database, meta.table_name, is_ours=needs_more)
        super().create_table(safe, **options)


class whole:  # noqa: N801 - reads as a clause: with whole(Model)
    """Makes one call that sends several statements one unit.

    Args:
        always: Also where nothing is recorded.
    """

    def __init__(self, model: Any, *, always: bool = False) -> None:
        """Take the model, whose database it is about."""
        self._model = model
        self._always = always
        self._unit: Unit | None = None
        self.database: Any = None

    def __enter__(self) -> "whole":
        """Begin."""
        meta = self._model._meta
        database = meta.database
        if database is None:
            raise UnboundModelError(self._model.__name__)
        if isinstance(database, peewee.Proxy):
            database = database.obj
        self.database = database
        engine = engine_of(database)
        listening = dispatch.listeners()
        recorded = listening.plugged or (meta.audit and listening.audited)
        if engine is not None and (recorded or self._always):
            self._unit = Unit(database, engine, meta.layout, savepoint=True)
            self._unit.__enter__()
        return self

    def before_reading(self) -> None:
        """Take the write lock, where the engine has one for the whole database."""
        if self._unit is not None:
            self._unit.before_reading()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Keep everything, or undo everything."""
        if self._unit is None:
            return
        self._unit.__exit__(kind, error, trace)
        if isinstance(error, DuplicateError) and error.key is None:
            self._find_holder(error)

    def _find_holder(self, error: DuplicateError) -> None:
        """Look again after all is undone: on the way it could not be read."""
        meta = self._model._meta
        if len(error.fields) == 1 and error.value is not None:
            fields = [meta.fields[error.fields[0]]]
            error.key = holder_of(meta.layout, meta.database, fields, [error.value])
