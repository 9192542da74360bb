"""Rows that cmcore itself needs: what may not be done to them, on any path."""

from collections.abc import Sequence
from typing import Any

import peewee

from cmcore.changes import Action, Change
from cmcore.engines.capture import Row
from cmcore.engines.execution import quiet
from cmcore.engines.internals import internal
from cmcore.errors import AppendOnlyError, LastAdminError, ProtectedRowError
from cmcore.layout import Layout
from cmcore.models.literals import assigned, inserted_rows
from cmcore.models.recorder import Changes


class AppendOnly:
    """Entries of the trail can be added, and nothing else."""

    def before(self, query: Any, database: Any) -> None:
        """Raise `AppendOnlyError` for what would change an entry or remove it."""
        if query.marks:
            return
        if isinstance(query, peewee.Update):
            raise AppendOnlyError(operation="update")
        if isinstance(query, peewee.Delete):
            raise AppendOnlyError(operation="purge")
        conflict = query._on_conflict
        if conflict is not None and (conflict._action or "").upper() != "IGNORE":
            raise AppendOnlyError(operation="replace")

    def after(self, changes: Sequence[Change]) -> None:
        """Do nothing: what may not happen was refused before."""


class ProtectedRow:
    """One row that cannot be deleted, and whose key cannot change.

    Args:
        key: Its primary key.
        unique: The name of a unique field, through which a REPLACE may push it out.
    """

    def __init__(self, key: str, unique: str) -> None:
        """Take its primary key, and the name of a unique field."""
        self._key = key
        self._unique = unique

    def before(self, query: Any, database: Any) -> None:
        """Raise `ProtectedRowError` for a delete or a new key that would hit the row.

        It looks before the statement, so that a foreign key does not answer first.
        """
        key = query.model._meta.primary_key
        if isinstance(query, internal.Insert):
            if query._on_conflict is not None and self._is_in_the_way(query, database):
                self._refuse(query.model)
            return
        renames = isinstance(query, internal.Update) and key in (query._update or ())
        if renames or isinstance(query, peewee.Delete):
            sources = (query.model, *(getattr(query, "_from", None) or ()))
            hit = peewee.ModelSelect(query.model, (key,)).from_(*sources)
            hit = hit.where(key == self._key)
            if query._where is not None:
                hit = hit.where(query._where)
            if query._cte_list:
                hit = hit.with_cte(*query._cte_list)
            sql, params = database.get_sql_context().sql(hit).query()
            if quiet(database, sql, params).fetchone() is not None:
                self._refuse(query.model)

    def _is_in_the_way(self, query: Any, database: Any) -> bool:
        """Tell whether an upsert renames the row, or a REPLACE pushes it out."""
        meta = query.model._meta
        key, unique = meta.primary_key, meta.fields[self._unique]
        rows = inserted_rows(query, meta.layout)
        hits = any(row.get(key) == self._key for row in rows)
        if (query._on_conflict._action or "").upper() != "REPLACE":
            renamed = assigned(query, meta.layout).get(key, self._key)
            return hits and renamed != self._key
        held = peewee.ModelSelect(query.model, (unique,)).where(key == self._key)
        sql, params = database.get_sql_context().sql(held).query()
        value = (quiet(database, sql, params).fetchone() or (None,))[0]
        taken = [unique.db_value(row[unique]) for row in rows if unique in row]
        return hits or value in taken

    def after(self, changes: Sequence[Change]) -> None:
        """Raise where the row went all the same, as by a REPLACE or an upsert."""
        for change in changes:
            if change.key == self._key and (
                change.action in {Action.DELETE, Action.PURGE}
                or (change.action is Action.UPDATE and "id" in (change.new or {}))
            ):
                self._refuse(change.model)

    def _refuse(self, model: type[peewee.Model]) -> None:
        raise ProtectedRowError(model._meta.table_name, self._key)


class ProtectedUsers(ProtectedRow):
    """The user `system`, and the last admin who can act.

    Args:
        admin: The role, as the database has it.
    """

    def __init__(self, key: str, unique: str, *, admin: str) -> None:
        """Take the role beside what the one row needs."""
        super().__init__(key, unique)
        self._admin = admin

    def after(self, changes: Sequence[Change]) -> None:
        """Raise where the statement left nobody who is a live, active admin.

        `system` is none, whatever its row says, since it can never log in.
        An UPDATE of the row `system` makes those wait who take admins away meanwhile,
        or fail where they cannot see what happened: no two remove each other.
        """
        super().after(changes)
        if not isinstance(changes, Changes) or not self._takes_admins(changes):
            return
        database, table = changes.shared["database"], changes.layout.table_sql
        quiet(
            database,
            f"UPDATE {table} SET is_active = is_active WHERE id = '{self._key}'",
        )
        left = quiet(
            database,
            f"SELECT 1 FROM {table} WHERE role = '{self._admin}' AND is_active"
            f" AND deleted_at IS NULL AND id <> '{self._key}' LIMIT 1",
        )
        if left.fetchone() is None:
            raise LastAdminError

    def _takes_admins(self, changes: Changes) -> bool:
        layout = changes.layout
        return any(
            self._is_admin(layout, entry.old) and not self._is_admin(layout, entry.new)
            for entry in changes.entries
        )

    def _is_admin(self, layout: Layout, row: Row | None) -> bool:
        if row is None:
            return False
        names = ("id", "role", "is_active", "deleted_at")
        key, role, is_active, deleted_at = (row[layout.names.index(n)] for n in names)
        can_act = bool(is_active) and deleted_at is None and key != self._key
        return role == self._admin and can_act
