"""Removing rows of soft-deleted models for good, with what hangs on them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import peewee

from cmcore.changes import Action
from cmcore.errors import ConfigurationError, StillReferencedError
from cmcore.keys import now
from cmcore.models.base import whole
from cmcore.models.dependents import (
    Found,
    children_first,
    chunked,
    dependents,
    has_key,
    is_authorship,
    is_soft_deleted,
    keys_of,
    with_keys,
)
from cmcore.models.live import Show, Visible, narrowed
from cmcore.models.queries import RecordedDelete

BATCH = 500
_LEFT_TO_THE_DATABASE = {"SET NULL", "SET DEFAULT"}


class _Removal(RecordedDelete):
    """The DELETE of a purge."""

    action = Action.PURGE


class Purge(RecordedDelete):
    """`Model.purge()`: removes rows in batches, oldest first.

    Outside a transaction of the caller each batch is one of its own: what was removed
    before an error stays removed, and the call can be repeated.
    """

    action = Action.PURGE

    def _execute(self, database: Any) -> Any:
        """Return how many rows of the model were removed."""
        model = self.model
        if self._returning:
            msg = "purge() returns a count; the values that go are in the trail."
            raise ConfigurationError(msg)
        if _resolved(database) is not _resolved(model._meta.database):
            msg = (
                f"{model.__name__}.purge() also reads the models that refer to it. "
                "Bind them to the database first: with database.bind_ctx([Model])."
            )
            raise ConfigurationError(msg)
        _refuse_protected(model, [])
        if not has_key(model):  # nothing can refer to its rows
            return self._execute_at_once(database)
        is_deleted = self._reach[model] is Show.DELETED
        removed, left, tried = 0, self._limit, None
        while left is None or left > 0:
            size = BATCH if left is None else min(BATCH, left)
            keys = keys_of(model, self.rows().limit(size))
            if not keys or keys == tried:
                break
            removed += purge_rows(model, keys, is_deleted=is_deleted)
            left, tried = left and left - len(keys), keys
        return removed

    def _execute_at_once(self, database: Any) -> Any:
        removal = _Removal(self.model)
        vars(removal).update(vars(self))
        if self._reach[self.model] is Show.DELETED:
            removal = removal.where(self.model.deleted_at.is_null(False))
        return removal.execute(database)

    def __sql__(self, ctx: Any) -> Any:
        """Render one DELETE of the rows; what is sent is one for each batch."""
        shown = self.clone()
        if self._reach[self.model] is Show.DELETED:
            dead = Visible(self.model, Show.DELETED)
            shown._where = narrowed(self._where, [dead])
        return super(Purge, shown).__sql__(ctx)  # type: ignore[no-untyped-call]

    def rows(self) -> Any:
        """Return the select of the rows that are to be removed."""
        model = self.model
        query = model.select().showing(self._reach[model], model)
        if self._cte_list:
            query = query.with_cte(*self._cte_list)
        if self._where is not None:
            query = query.where(self._where)
        oldest = (model.deleted_at, *model._meta.get_primary_keys())
        return query.order_by(*(self._order_by or oldest))


def purge_query(
    model: Any, older_than: timedelta | None, *, include_live: bool
) -> Purge:
    """Return the query for rows that were deleted at least so long ago.

    Raises:
        ConfigurationError: An age that is none, or one for rows that are live.
    """
    query = Purge(model)
    query._reach = {model: Show.ALL if include_live else Show.DELETED}
    if older_than is None:
        return query
    age: Any = older_than
    if not isinstance(age, timedelta) or age < timedelta(0):
        msg = f"older_than is {older_than!r}, and should be as timedelta(days=90)."
        raise ConfigurationError(msg)
    older: Purge = query.where(model.deleted_at <= now() - older_than)
    return older


def purge_rows(model: Any, keys: list[Any], *, is_deleted: bool) -> int:
    """Remove rows, and first the deleted rows that depend on them; or nothing.

    Args:
        model: Whose rows they are.
        keys: Their primary keys.
        is_deleted: Whether a row that is live by now is left alone.

    Returns:
        How many rows of the model itself are gone.

    Raises:
        StillReferencedError: Live rows refer to one of them.
    """
    with whole(model, always=True) as unit:
        unit.before_reading()
        _refuse_protected(model, keys)
        live = None if is_deleted else (model, keys)
        return remove(going(model, keys), live=live)[model]


def going(model: Any, keys: list[Any], gone: Found | None = None) -> Found:
    """Return the rows that go when some are purged: they, and what hangs on them.

    Args:
        model: Their model.
        keys: Their primary keys.
        gone: Rows that are taken to be gone already.

    Raises:
        StillReferencedError: Live rows refer to one of them.
    """
    found = dependents(model, keys, _deleted_dependents)
    for link, child, refers in _references(found):
        soft = is_soft_deleted(child)
        rows = child.with_deleted() if soft and is_authorship(link) else child.select()
        also = found.get(child, set()) | (gone or {}).get(child, set())
        if _has_more(child, rows.where(refers), also):
            raise StillReferencedError(
                table=link.rel_model._meta.table_name,
                constraint=link.constraint_name,
                detail=f"Table {child._meta.table_name} refers to it.",
            )
    return found


def remove(found: Found, live: Any = None) -> dict[Any, int]:
    """Remove what `going` has found, and return how many rows of each model went.

    A deleted row with a nullable link to one of them loses the link and stays.

    Args:
        found: The rows.
        live: A model, and the keys of rows that go although they may be live.
    """
    for link, child, refers in _references(found):
        if is_soft_deleted(child) and link.null and not is_authorship(link):
            _cut(link, child, refers, found.get(child, set()))
    order = children_first(found)
    _cut_cycles(order, found)
    counts: dict[Any, int] = {}
    for each in order:
        gone: Any = each.deleted_at.is_null(False)
        if live is not None and each is live[0]:
            gone |= with_keys(*live)
        counts[each] = sum(
            _Removal(each).where(with_keys(each, part), gone).execute()
            for layer in _leaves_first(each, found[each])
            for part in chunked(layer)
        )
    return counts


def _resolved(database: Any) -> Any:
    return database.obj if isinstance(database, peewee.Proxy) else database


def _refuse_protected(model: Any, keys: list[Any]) -> None:
    """Refuse what may not be purged, before a foreign key answers."""
    guard = model._meta.layout.guard
    if guard is not None:
        removal = _Removal(model).where(with_keys(model, keys))
        guard.before(removal, _resolved(model._meta.database))


def _deleted_dependents(link: Any, child: Any) -> Any:
    if link.null or not is_soft_deleted(child):
        return None
    return child.only_deleted()


def _leaves_first(model: Any, keys: set[Any]) -> Iterator[list[Any]]:
    """Yield keys in the order in which links within the table let their rows go."""
    links = [f for f in model._meta.model_refs.get(model, ()) if not is_authorship(f)]
    if not links:
        yield list(keys)
        return
    key = model._meta.primary_key
    rows = (
        row
        for part in chunked(keys)
        for row in model.with_deleted(key, *links).where(key.in_(part)).tuples()
    )
    left = {row[0]: {owner for owner in row[1:] if owner != row[0]} for row in rows}
    while left:
        needed = set().union(*left.values())
        layer = [row for row in left if row not in needed] or list(left)
        yield layer
        for row in layer:
            del left[row]


def _cut_cycles(order: list[Any], found: Found) -> None:
    """Cut the links of rows that go to rows that go before them."""
    for i, parent in enumerate(order):
        for child in order[i + 1 :]:
            for link in parent._meta.model_backrefs.get(child, ()):
                if not link.null or is_authorship(link):
                    continue
                for part in chunked(found[parent]):
                    _cut(link, child, link.in_(part))


def _references(found: Found) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each link to some rows that is not the database's to cut.

    With it goes the model that has it, and the condition that a row refers to them.
    """
    for parent, keys in found.items():
        if not has_key(parent):
            continue
        for child, links in parent._meta.model_backrefs.items():
            for link in links:
                if (link.on_delete or "").upper() not in _LEFT_TO_THE_DATABASE:
                    for part in chunked(keys):
                        yield link, child, link.in_(part)


def _has_more(model: Any, query: Any, going: set[Any]) -> bool:
    """Tell whether a query finds a row that is not going as well."""
    if not going or not has_key(model):
        return bool(query.exists())
    return any(key not in going for key in keys_of(model, query))


def _cut(link: Any, child: Any, refers: Any, going: Any = ()) -> None:
    """Set a link of deleted rows to NULL, but for those that are going as well."""
    update = child.update_with_deleted({link: None})
    update = update.where(refers, child.deleted_at.is_null(False))
    if not going or not has_key(child):
        update.execute()
        return
    rows = child.only_deleted().where(refers)
    loose = [key for key in keys_of(child, rows) if key not in going]
    for part in chunked(loose):
        update.where(with_keys(child, part)).execute()
