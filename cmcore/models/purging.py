"""Removing rows of soft-deleted models for good, with what hangs on them."""

from datetime import timedelta
from typing import Any

from cmcore.changes import Action
from cmcore.errors import ConfigurationError, StillReferencedError
from cmcore.keys import now
from cmcore.models.base import whole
from cmcore.models.dependents import (
    children_first,
    chunked,
    dependents,
    is_soft_deleted,
    keys_of,
    with_keys,
)
from cmcore.models.live import Show
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
        removed = 0
        while keys := keys_of(self.model, self.rows().limit(BATCH)):
            removed += purge_rows(self.model, keys)
            if self._limit is not None:
                break
        return removed

    def rows(self) -> Any:
        """Return the select of the rows that are to be removed."""
        model = self.model
        query = model.select().showing(self._reach.get(model, Show.DELETED), model)
        if self._where is not None:
            query = query.where(self._where)
        oldest = (model.deleted_at, *model._meta.get_primary_keys())
        return query.order_by(*(self._order_by or oldest)).limit(self._limit)


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


def purge_rows(model: Any, keys: list[Any]) -> int:
    """Remove rows, and first the deleted rows that depend on them; or nothing.

    A deleted row with a nullable link loses the link and stays.

    Returns:
        How many rows of the model itself are gone.

    Raises:
        StillReferencedError: Live rows refer to one of them.
    """
    with whole(model, always=True) as unit:
        unit.before_reading()
        found = dependents(model, keys, _deleted_dependents)
        for parent, held in found.items():
            _release(parent, held, found)
        counts: dict[Any, int] = {}
        for each in children_first(found):
            counts[each] = sum(
                _Removal(each).where(with_keys(each, part)).execute()
                for part in chunked(found[each])
            )
    return counts[model]


def _deleted_dependents(link: Any, child: Any) -> Any:
    if link.null or not is_soft_deleted(child):
        return None
    return child.only_deleted()


def _release(parent: Any, keys: set[Any], found: Any) -> None:
    """Cut the links that may be cut, and refuse where another one is left."""
    for child, links in parent._meta.model_backrefs.items():
        for link in links:
            if (link.on_delete or "").upper() in _LEFT_TO_THE_DATABASE:
                continue
            for part in chunked(keys):
                _release_link(link, child, link.in_(part), found.get(child, ()))


def _release_link(link: Any, child: Any, refers: Any, going: Any) -> None:
    meta = child._meta
    soft = is_soft_deleted(child)
    is_authorship = hasattr(link, "named_index")
    rows = child.with_deleted() if soft and is_authorship else child.select()
    left = [key for key in keys_of(child, rows.where(refers)) if key not in going]
    if left:
        raise StillReferencedError(
            table=link.rel_model._meta.table_name,
            constraint=link.constraint_name,
            detail=f"Table {meta.table_name} refers to it.",
        )
    if soft and link.null and not is_authorship:
        loose = [
            key
            for key in keys_of(child, child.only_deleted().where(refers))
            if key not in going
        ]
        for part in chunked(loose):
            update = child.update_with_deleted({link: None})
            update.where(with_keys(child, part)).execute()
