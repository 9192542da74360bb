"""The door: the three write queries through which every ORM write passes.

A statement is stamped, rendered once, and executed as a unit with everything that
hangs on it: its rows before and after become changes, and hooks see them.
"""

import functools
from collections.abc import Mapping
from typing import Any

import peewee

from cmcore.engines.binding import engine_of
from cmcore.engines.capture import Captured, Write
from cmcore.engines.statement import Renderable, render
from cmcore.hooks import dispatch
from cmcore.keys import now
from cmcore.layout import Layout
from cmcore.models.actors import acting_context
from cmcore.models.failures import translated
from cmcore.models.literals import (
    COMPUTED,
    assigned,
    field_of,
    inserted_rows,
)
from cmcore.models.recorder import Recorder
from cmcore.models.schema_state import require_schema
from cmcore.models.stamps import stamped
from cmcore.models.unit import Unit


class Recorded(Renderable):
    """What the three queries share.

    Attributes:
        _instance: The object whose `save()` made the query, or None.
        _sent: The query as it was executed, stamped and with its generators read.
    """

    _instance: Any = None
    _sent: Any = None
    model: Any

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
            )
            if not recorded and not layout.stamps:
                return super()._execute(database)  # type: ignore[misc]  # mixin
            if not recorded and self._instance is None:
                return self._execute_stamped(database, engine, layout)
            savepoint = listening.plugged or layout.guard is not None
            with Unit(database, engine, layout, savepoint=savepoint) as unit:
                if layout.owned or (layout.audit and listening.audited):
                    table = layout.model._meta.table_name
                    require_schema(database, table, unit.before_reading)
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
        query = stamped(self, layout, now(), context.user_id)
        result = super(Recorded, query)._execute(database)  # type: ignore[misc]  # mixin
        self._cursor_wrapper = query._cursor_wrapper
        return result

    def _execute_recorded(
        self, database: Any, engine: Any, layout: Layout, unit: Unit
    ) -> Any:
        context = acting_context(database, unit.before_reading)
        at = now()
        query = self._prepared(database)
        if layout.stamps:
            query = stamped(query, layout, at, context.user_id)
        listening = dispatch.listeners()
        recorder = Recorder(database, layout, context, at)
        self._sent = query
        try:
            rendered = render(query, database)
        except peewee.Insert.DefaultValuesException:
            return None
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
        changes = recorder.changes(captured.pairs)
        if layout.guard is not None:
            layout.guard.after(changes)
        dispatch.after(changes)
        if self._instance is not None and layout.stamps:
            _refresh(self._instance, layout, captured)
        return self._finished(query, database, captured.cursor)

    def _prepared(self, database: Any) -> Any:
        """Return a query whose data can be read more than once."""
        return self

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

    def _announcing(self, query: Any, layout: Layout, recorder: Recorder) -> Any:
        known = assigned(query, layout)
        named = {field_of(key, layout) for key in query._update}
        computed = {f for f in named - set(known) if not hasattr(f, "stamp")}
        return functools.partial(
            recorder.announce_updates, assigned=known, is_computed=bool(computed)
        )


class RecordedDelete(Recorded, peewee.ModelDelete):
    """`Model.delete()`."""


class RecordedInsert(Recorded, peewee.ModelInsert):
    """`Model.insert()` and its kin."""

    _stamps: Mapping[Any, Any] = {}

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
        return recorder.announce


def _refresh(instance: Any, layout: Layout, captured: Captured) -> None:
    """Show the stamps that the database now has on the object that was saved."""
    for _, new in captured.pairs:
        if new is None:
            continue
        key = layout.key(new)
        if instance._pk in {None, key}:
            for field in layout.stamps:
                raw = new[layout.positions[field]]
                instance.__data__[field.name] = field.python_value(raw)
