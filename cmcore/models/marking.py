"""The queries that mark rows as deleted, and as live again."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import peewee

from cmcore.changes import Action
from cmcore.context import current_context
from cmcore.engines.binding import engine_of
from cmcore.engines.execution import quiet
from cmcore.errors import DuplicateError, RestoreConflictError
from cmcore.keys import now
from cmcore.layout import Layout
from cmcore.models.actors import SYSTEM
from cmcore.models.dependents import neighbours
from cmcore.models.live import EVERYTHING, Show, Visible, narrowed
from cmcore.models.queries import Recorded, RecordedDelete, RecordedUpdate
from cmcore.models.recorder import Recorder
from cmcore.models.stamps import risen


class _Marking(RecordedUpdate):
    """The UPDATE that stands for a delete or a restore."""


class Marks(Recorded):
    """What a delete and a restore share: an UPDATE of two columns is sent.

    Attributes:
        call_moment: What `deleted_at` becomes, where it is a part of a larger call.
        moment: What the last execution wrote into it.
        marked_by: The user's id that the last execution wrote.
    """

    marks = True
    call_moment: datetime | None = None
    moment: datetime | None = None
    marked_by: str | None = None

    def _completed(self, layout: Layout, at: datetime, user_id: str | None) -> Any:
        update = _Marking(self.model)
        vars(update).update(vars(self))
        if self.action is Action.DELETE:
            self.moment, self.marked_by = self.call_moment or at, user_id
        by_name = layout.model._meta.fields
        values = (self.moment, self.marked_by)
        update._update = dict(
            zip((by_name["deleted_at"], by_name["deleted_by"]), values, strict=True)
        )
        if self.action is Action.DELETE:
            update._update |= risen(list(update._update.items()), layout)
        update._from = None
        show = Show.LIVE if self.action is Action.DELETE else Show.DELETED
        update._where = narrowed(self._where, [Visible(self.model, show)])
        update._reach = {EVERYTHING: Show.ALL}
        return update

    def _announcing(self, query: Any, layout: Layout, recorder: Recorder) -> Any:
        return query._announcing(query, layout, recorder)

    def __sql__(self, ctx: Any) -> Any:
        """Render the UPDATE, as it would be sent now."""
        user_id = current_context().user_id or SYSTEM
        shown = self.clone()
        return shown._completed(self.model._meta.layout, now(), user_id).__sql__(ctx)


class SoftDelete(Marks, RecordedDelete):
    """`Model.delete()` of a model with `SoftDeleteMixin`: marks live rows."""

    def _moment(self, database: Any, before_reading: Callable[[], None]) -> datetime:
        """Return a moment at which nothing near was deleted by another call."""
        if self.call_moment is not None:
            return now()
        before_reading()
        return free_moment(neighbours([self.model], below=False), database)


class Restore(Marks, RecordedUpdate):
    """`Model.restore()`: brings deleted rows back."""

    action = Action.RESTORE

    def _execute(self, database: Any) -> Any:
        """Execute, and name the live row that is in the way, if one is."""
        try:
            return super()._execute(database)
        except DuplicateError as error:
            raise self._conflict(error, database) from error

    def _conflict(self, error: DuplicateError, database: Any) -> RestoreConflictError:
        fields = [self.model._meta.fields[name] for name in error.fields]
        rival = self._rival(fields, database) if fields else None
        value = getattr(rival, fields[0].safe_name) if rival is not None else None
        both = "Two of the rows that were to be restored have it." if fields else ""
        return RestoreConflictError(
            table=error.table,
            column=error.column,
            constraint=error.constraint,
            detail=both if rival is None else "A live row has it.",
            value=value if len(fields) == 1 and self._is_shown(fields[0]) else None,
            fields=error.fields,
            key=None if rival is None else rival._pk,
        )

    def _rival(self, fields: list[Any], database: Any) -> Any:
        """Return a live row that has the unique values of a deleted one."""
        model = self.model
        deleted = model.only_deleted(*fields)
        if self._cte_list:
            deleted = deleted.with_cte(*self._cte_list)
        if self._where is not None:
            deleted = deleted.where(self._where)
        wanted = fields[0] if len(fields) == 1 else peewee.Tuple(*fields)
        try:
            return model.select().where(wanted.in_(deleted)).get_or_none(database)
        except peewee.DatabaseError:  # a transaction that cannot be read in any more
            return None

    def _is_shown(self, field: Any) -> bool:
        layout = self.model._meta.layout
        return layout.positions[field] not in layout.masked | layout.excluded


def free_moment(models: Iterable[Any], database: Any) -> datetime:
    """Return a moment at which no row of some models was deleted.

    Within a process moments are distinct; another process may have a clock of its own.
    """
    engine: Any = engine_of(database)
    layouts = [model._meta.layout for model in models]
    sql = " UNION ALL ".join(
        f"SELECT 1 FROM {layout.table_sql} "
        f"WHERE {layout.columns[layout.marks[0]]} = {engine.placeholder}"
        for layout in layouts
    )
    while True:
        moment = now()
        values = [layout.fields[layout.marks[0]].db_value(moment) for layout in layouts]
        if quiet(database, f"{sql} LIMIT 1", values).fetchone() is None:
            return moment
