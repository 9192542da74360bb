"""Removing rows of soft-deleted models for good, with what hangs on them."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import Any

from cmcore.changes import Action
from cmcore.errors import ConfigurationError, StillReferencedError
from cmcore.keys import now
from cmcore.models.base import whole
from cmcore.models.dependents import (
    Found,
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


def purge_rows(model: Any, keys: Iterable[Any]) -> int:
    """Remove rows, and first the deleted rows that depend on them; or nothing.

    Returns:
        How many rows of the model itself are gone.

    Raises:
        StillReferencedError: Live rows refer to one of them.
    """
    with whole(model, always=True) as unit:
        unit.before_reading()
        return remove(going(model, keys)).get(model, 0)


def going(model: Any, keys: Iterable[Any], gone: Found | None = None) -> Found:
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
        is_kept = is_soft_deleted(child) and _is_authorship(link)
        rows = child.with_deleted() if is_kept else child.select()
        left = set(keys_of(child, rows.where(refers)))
        if left.difference(found.get(child, ()), (gone or {}).get(child, ())):
            raise StillReferencedError(
                table=link.rel_model._meta.table_name,
                constraint=link.constraint_name,
                detail=f"Table {child._meta.table_name} refers to it.",
            )
    return found


def remove(found: Found) -> dict[Any, int]:
    """Remove what `going` has found, and return how many rows of each model went.

    A deleted row with a nullable link to one of them loses the link and stays.
    """
    for link, child, refers in _references(found):
        if is_soft_deleted(child) and link.null and not _is_authorship(link):
            _release(link, child, refers, found.get(child, ()))
    return {
        model: sum(
            _Removal(model).where(with_keys(model, part)).execute()
            for part in chunked(found[model])
        )
        for model in children_first(found)
    }


def _deleted_dependents(link: Any, child: Any) -> Any:
    if link.null or not is_soft_deleted(child):
        return None
    return child.only_deleted()


def _references(found: Found) -> Iterator[tuple[Any, Any, Any]]:
    """Yield each link to some rows that is not the database's to cut.

    With it goes the model that has it, and the condition that a row refers to them.
    """
    for parent, keys in found.items():
        for child, links in parent._meta.model_backrefs.items():
            for link in links:
                if (link.on_delete or "").upper() not in _LEFT_TO_THE_DATABASE:
                    for part in chunked(keys):
                        yield link, child, link.in_(part)


def _release(link: Any, child: Any, refers: Any, gone: Collection[Any]) -> None:
    """Cut a link of deleted rows that stay."""
    rows = keys_of(child, child.only_deleted().where(refers))
    for part in chunked(key for key in rows if key not in gone):
        update = child.update_with_deleted({link: None})
        update.where(with_keys(child, part)).execute()


def _is_authorship(link: Any) -> bool:
    return hasattr(link, "named_index")
