"""The door: the three write queries through which every ORM write passes.

A statement is stamped, rendered once, and executed as a unit with everything that
hangs on it: its rows before and after become changes, and hooks see them.
"""

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import peewee

from cmcore.changes import Action
from cmcore.engines.binding import engine_of
from cmcore.engines.capture import Captured, Write
from cmcore.engines.statement import Renderable, render
from cmcore.errors import DuplicateError
from cmcore.hooks import dispatch
from cmcore.keys import now
from cmcore.layout import Layout
from cmcore.models.actors import acting_context
from cmcore.models.failures import KEPT_KEY, translated
from cmcore.models.literals import (
    COMPUTED,
    assigned,
    assigned_by_key,
    computed_positions,
    field_of,
    inserted_rows,
)
from cmcore.models.live import Show, visible_update, visible_upsert
from cmcore.models.recorder import Recorder
from cmcore.models.refusals import refuse_marks, unmarked_rows
from cmcore.models.schema_state import require_schema
from cmcore.models.stamps import IfChanged, stamped
from cmcore.models.unbound import Bindable
from cmcore.models.unit import Unit


class Recorded(Renderable, Bindable):
    """What the three queries share.

    Attributes:
        _instance: The object whose `save()` made the query, or None.
        _sent: The query as it was executed, stamped and with its generators read; None
            where it is this one.
        _reach: What it sees of which source, where that is not the live rows.
        action: What an UPDATE or DELETE is to the row.
        marks: Whether all it does is to mark rows as deleted, or as live again.
    """

    _instance: Any = None
    _sent: Any = None
    _reach: Mapping[Any, Show] = {}
    action = Action.UPDATE
    marks = False
    model: Any

    if TYPE_CHECKING:  # what peewee's stubs leave out
        _cte_list: Any
        _from: Any
        _limit: Any
        _on_conflict: Any
        _order_by: Any
        _returning: Any
        _update: Any
        _where: Any
        clone: Any

    def _execute(self, database: Any) -> Any:
        """Execute, and record what is to be recorded."""
        if isinstance(database, peewee.Proxy):
            database = database.obj or database
        layout = self.model._meta.layout
        with translated(self, database, layout):
            engine = engine_of(database)
            listening = dispatch.listeners()
            if engine is None or layout.is_virtual:
                return super()._execute(database)  # type: ignore[misc]  # mixin
            recorded = (
                listening.plugged
                or (layout.audit and listening.audited)
                or layout.guard is not None
                or self._may_replace_deleted(layout)
            )
            if not recorded and not layout.stamps and not self.marks:
                return super()._execute(database)  # type: ignore[misc]  # mixin
            restores = self.action is Action.RESTORE
            if not recorded and self._instance is None and not restores:
                return self._execute_stamped(database, engine, layout)
            savepoint = listening.plugged or layout.guard is not None or restores
            with Unit(database, engine, layout, savepoint=savepoint) as unit:
                if layout.owned or (layout.audit and listening.audited):
                    table = layout.model._meta.table_name
                    require_schema(
                        database, table, unit.before_reading, is_ours=layout.owned
                    )
                if layout.guard is not None:
                    unit.before_reading()
                    layout.guard.before(self, database)
                return self._execute_recorded(database, engine, layout, unit)

    def _execute_stamped(self, database: Any, engine: Any, layout: Layout) -> Any:
        """Execute one statement with its stamps, which needs no unit around it."""

        def before_reading() -> None:
            if engine.in_transaction(database):
                engine.lock(database, layout)

        context = acting_context(database, before_reading)
        at = self._moment(database, before_reading)
        query = self._completed(layout, at, context.user_id)
        result = super(Recorded, query)._execute(database)  # type: ignore[misc]  # mixin
        self._cursor_wrapper = query._cursor_wrapper
        return result

    def _execute_recorded(
        self, database: Any, engine: Any, layout: Layout, unit: Unit
    ) -> Any:
        context = acting_context(database, unit.before_reading)
        at = self._moment(database, unit.before_reading)
        query = self._prepared(database)._completed(layout, at, context.user_id)
        listening = dispatch.listeners()
        recorder = Recorder(database, layout, context, at, self.action)
        self._sent = None if query is self else query  # which would be a cycle
        try:
            rendered = render(query, database)
        except peewee.Insert.DefaultValuesException:
            return None
        if listening.warned:
            unit.before_reading()  # which hooks may do at once
        write = Write(
            database=database,
            query=query,
            layout=layout,
            rendered=rendered,
            before_reading=unit.before_reading,
            before=(
                self._announcing(query, layout, recorder) if listening.warned else None
            ),
        )
        captured: Captured = engine.capture(write)
        unit.has_changed = True
        self._refuse(captured, layout)
        changes = recorder.happened(captured.pairs)
        if layout.guard is not None:
            layout.guard.after(changes)
        dispatch.after(changes)
        if self._instance is not None and layout.stamps:
            _refresh(self._instance, layout, captured)
        return self._finished(query, database, captured.cursor)

    def _moment(self, database: Any, before_reading: Callable[[], None]) -> datetime:
        """Return when the statement happens."""
        return now()

    def _prepared(self, database: Any) -> Any:
        """Return a query whose data can be read more than once."""
        return self

    def _completed(self, layout: Layout, at: datetime, user_id: str | None) -> Any:
        """Return the query as it is sent, with its stamps."""
        return stamped(self, layout, at, user_id) if layout.stamps else self

    def _may_replace_deleted(self, layout: Layout) -> bool:
        return False

    def _refuse(self, captured: Captured, layout: Layout) -> None:
        """Raise where the statement did what it must not do; all is undone then."""

    def _announcing(self, query: Any, layout: Layout, recorder: Recorder) -> Any:
        """Return what the engine calls before the statement; None if that is done."""
        return recorder.announce

    def _finished(self, query: Any, database: Any, cursor: Any) -> Any:
        """Return what peewee would return."""
        if not query._returning:
            return query.handle_result(database, cursor)
        wrapper = self._cursor_wrapper = query._get_cursor_wrapper(cursor)
        return query.handle_result(database, wrapper)


class RecordedUpdate(Recorded, peewee.ModelUpdate):
    """`Model.update()`."""

    def __init__(self, model: Any, update: Any = None, **options: Any) -> None:
        """Refuse assignments which only a delete or a restore may make."""
        super().__init__(model, update, **options)
        refuse_marks(model, update or ())

    def _completed(self, layout: Layout, at: datetime, user_id: str | None) -> Any:
        return visible_update(super()._completed(layout, at, user_id))

    def __sql__(self, ctx: Any) -> Any:
        """Render the query without the rows that it should not touch."""
        seen = visible_update(self)
        return super(RecordedUpdate, seen).__sql__(ctx)  # type: ignore[no-untyped-call]

    def _announcing(self, query: Any, layout: Layout, recorder: Recorder) -> Any:
        known, by_key = assigned(query, layout), assigned_by_key(query, layout)
        computed = {
            field
            for key, value in query._update.items()
            if (field := field_of(key, layout)) not in {**known, **by_key}
            and not (hasattr(field, "stamp") or isinstance(value, IfChanged))
        }
        return functools.partial(
            recorder.announce_updates,
            assigned=known,
            by_key=by_key,
            is_computed=bool(computed),
        )


class RecordedDelete(Recorded, peewee.ModelDelete):
    """`Model.delete()`."""

    action = Action.DELETE


class RecordedInsert(Recorded, peewee.ModelInsert):
    """`Model.insert()` and its kin."""

    _stamps: Mapping[Any, Any] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        """Refuse rows that would be born deleted."""
        super().__init__(*args, **options)
        self._insert = unmarked_rows(self)

    def on_conflict(self, *args: Any, **kwargs: Any) -> Any:
        """Do what peewee does; a deleted row is left alone."""
        query: Any = super().on_conflict(*args, **kwargs)
        conflict = query._on_conflict
        if conflict is not None:
            named = (*(conflict._update or ()), *(conflict._preserve or ()))
            refuse_marks(self.model, named)
        return query

    def _completed(self, layout: Layout, at: datetime, user_id: str | None) -> Any:
        return visible_upsert(super()._completed(layout, at, user_id))

    def __sql__(self, ctx: Any) -> Any:
        """Render the query, which touches live rows only."""
        seen = visible_upsert(self)
        return super(RecordedInsert, seen).__sql__(ctx)  # type: ignore[no-untyped-call]

    def _may_replace_deleted(self, layout: Layout) -> bool:
        conflict = self._on_conflict
        action = conflict and conflict._action
        return bool(layout.marks) and str(action).upper() == "REPLACE"

    def _refuse(self, captured: Captured, layout: Layout) -> None:
        """Refuse a REPLACE that pushed a deleted row out."""
        if not self._may_replace_deleted(layout):
            return
        for old, new in captured.pairs:
            if new is None and old is not None and layout.is_marked(old):
                raise DuplicateError(
                    table=layout.model._meta.table_name,
                    fields=tuple(layout.names[i] for i in layout.keys),
                    key=layout.key(old),
                    detail=KEPT_KEY,
                )

    def get_default_data(self) -> Any:
        """Add the stamps to the defaults of the fields."""
        defaults = super().get_default_data()  # type: ignore[no-untyped-call]  # peewee
        return {**defaults, **self._stamps} if self._stamps else defaults

    def _prepared(self, database: Any) -> Any:
        """Do what peewee's `Insert._execute` does first; read generators once."""
        query: Any = self.clone()
        if query._as_rowcount:
            if not query._return_cursor:
                query._returning = None
        elif query._returning is None and database.returning_clause:
            returning = query._pk_returning()
            if returning:
                query._returning = returning
                query._row_type = peewee.ROW.TUPLE
        insert = query._insert
        if not isinstance(
            insert, Mapping | list | tuple | peewee.SelectQuery | peewee.SQL
        ):
            query._insert = list(insert or ())
        return query

    def _announcing(self, query: Any, layout: Layout, recorder: Recorder) -> Any:
        """Announce plain inserts from the call; others after a trial in the engine."""
        if query._on_conflict is None and query._query_type != peewee.Insert.QUERY:
            defaults = {
                field: value
                for field, value in query.get_default_data().items()
                if not callable(value)  # these are not known yet
            }
            rows = inserted_rows(query, layout, computed=COMPUTED)
            recorder.announce_inserts([{**defaults, **row} for row in rows])
            return None
        absent = computed_positions(query, layout)
        return functools.partial(recorder.announce, absent=absent)


def _refresh(instance: Any, layout: Layout, captured: Captured) -> None:
    """Show the stamps that the database now has on the object that was saved."""
    for _, new in captured.pairs:
        if new is None:
            continue
        key = layout.key(new)
        if instance._pk in {None, key}:
            for field in (*layout.stamps, *layout.epochs):
                raw = new[layout.positions[field]]
                instance.__data__[field.name] = field.python_value(raw)
