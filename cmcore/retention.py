"""Rows that were deleted: bringing one back, and removing old ones for good."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import peewee

from cmcore.engines.catalog import ForeignKey, references_to
from cmcore.errors import AppendOnlyError, ConfigurationError, StillReferencedError
from cmcore.models.audit_log import AuditLog
from cmcore.models.base import whole
from cmcore.models.customer import Customer
from cmcore.models.dependents import (
    Found,
    children_first,
    chunked,
    has_key,
    is_soft_deleted,
    keys_of,
    with_keys,
)
from cmcore.models.purging import BATCH, going, remove
from cmcore.models.schema_state import require_schema, schema_of
from cmcore.models.soft_delete import deleted_with
from cmcore.models.user import User
from cmcore.schema.application import models_of
from cmcore.trail import taken_along
from cmcore.values import decode, key_text


class Kept(NamedTuple):
    """A row that cannot be purged, since live rows refer to it.

    Attributes:
        row: Which one, as `table/key`.
        reason: What refers to it.
    """

    row: str
    reason: str


class Purged(NamedTuple):
    """What a purge has removed, or would remove.

    Attributes:
        rows: How many rows, by table.
        kept: Those that are old enough, and stay.
    """

    rows: dict[str, int]
    kept: list[Kept]


@contextmanager
def deletable(
    db: peewee.Database, modules: Iterable[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the models that mark their rows as deleted, by table; bound to a database.

    Args:
        db: The database, which is connected.
        modules: The dotted names of modules with an application's models.

    Raises:
        PendingMigrationsError: The database lacks migrations of cmcore.
        ConfigurationError: A module cannot be imported.
    """
    theirs = [model for module in modules for model in models_of(module)]
    require_schema(db, "audit_logs")
    users = [] if schema_of(db).kind == "trail" else [User, Customer]
    related = {m for model in theirs for _, m, _ in model._meta.model_graph()}
    with db.bind_ctx(
        {AuditLog, *users, *related}, bind_refs=False, bind_backrefs=False
    ):
        yield {
            model._meta.table_name: model
            for model in (AuditLog, *users, *filter(is_soft_deleted, theirs))
            if model.table_exists()
        }


def chosen(models: dict[str, Any], table: str) -> Any:
    """Return the model of a table.

    Raises:
        ConfigurationError: No model marks rows of this table as deleted.
    """
    if table not in models:
        msg = (
            f"No model that is known here soft-deletes rows of a table {table!r}, only "
            f"of {', '.join(models)}. Name the application's models with --models."
        )
        raise ConfigurationError(msg)
    return models[table]


def find_row(model: Any, key: str) -> Any:
    """Return a row by its key as the trail has it, live or deleted; or None."""
    fields = model._meta.get_primary_keys()
    try:
        parts = [key] if len(fields) == 1 else json.loads(key)
        values = tuple(decode(f, part) for f, part in zip(fields, parts, strict=True))
        is_this = with_keys(model, values if len(fields) == 1 else [values])
        return model.with_deleted().where(is_this).get_or_none()
    except (ValueError, TypeError, ArithmeticError, peewee.DataError):
        return None  # a text that is no key of this model


def left_behind(row: Any) -> list[str]:
    """Return the tables with rows of the same deletion that no loaded model reaches."""
    known = {model._meta.table_name for _, model, _ in type(row)._meta.model_graph()}
    return taken_along(row, known)


def restore_row(row: Any, *, recursive: bool = False) -> list[str]:
    """Bring a row back, and with `recursive` what its deletion took along.

    Returns:
        The restored rows as `table/key`; none if the row is live.

    Raises:
        RestoreConflictError: A live row has a unique value of one of them; nothing is
            restored.
    """
    model = type(row)
    with whole(model, always=True) as unit:
        unit.before_reading()
        found = deleted_with(row) if recursive else {model: {row.get_id()}}
        if not row.restore_instance(recursive):
            return []
    return [_name(each, key) for each, keys in found.items() for key in keys]


def purge(
    models: Sequence[Any], older_than: timedelta, *, dry_run: bool = False
) -> Purged:
    """Remove rows that were deleted at least so long ago, in batches.

    Deleted rows that depend on them go too, whatever their age. Rows to which live
    ones refer stay, or rows of tables without a loaded model. Outside a transaction of
    yours each batch is one of its own.

    Args:
        models: Whose rows.
        older_than: How long ago.
        dry_run: Only count; nothing is changed, and no hook is called.

    Raises:
        AppendOnlyError: The trail is among the models; nothing was removed.
    """
    if AuditLog in models:
        raise AppendOnlyError(operation="purge")
    keyless: dict[Any, int] = {}
    run = _Run(dry_run, {model: set() for model in models}, [], {})
    for model in children_first(run.gone):
        query = model.purge(older_than=older_than)
        due = query.rows()
        if not has_key(model):  # nothing can refer to its rows
            keyless[model] = due.count() if dry_run else query.execute()
            continue
        for keys in peewee.chunked(keys_of(model, due), BATCH):
            run.take(model, due, list(keys))
    counts = {model: len(keys) for model, keys in run.gone.items()} | keyless
    return Purged({m._meta.table_name: n for m, n in counts.items()}, run.kept)


class _Run(NamedTuple):
    """A purge, or its rehearsal."""

    is_dry: bool
    gone: Found
    kept: list[Kept]
    foreign: dict[Any, list[ForeignKey]]

    def take(self, model: Any, due: Any, keys: list[Any]) -> None:
        """Remove rows that are still due; find one that must stay by halves."""
        try:
            found = self._found(model, due, keys)
        except StillReferencedError as error:
            half = len(keys) // 2
            if half == 0:
                name = _name(model, keys[0])
                self.kept.append(Kept(name, error.detail or str(error)))
            else:
                self.take(model, due, keys[:half])
                self.take(model, due, keys[half:])
            return
        for each, held in found.items():
            self.gone.setdefault(each, set()).update(held)

    def _found(self, model: Any, due: Any, keys: list[Any]) -> Found:
        if self.is_dry:
            found = going(model, keys, self.gone)
            self._refuse_foreign(found)
            return found
        with whole(model, always=True) as unit:
            unit.before_reading()
            found = going(model, keys_of(model, due.where(with_keys(model, keys))))
            self._refuse_foreign(found)
            remove(found)
        return found

    def _refuse_foreign(self, found: Found) -> None:
        """Refuse rows to which a table refers that no loaded model describes."""
        for model, keys in found.items():
            if model not in self.foreign:
                self.foreign[model] = _foreign_references(model)
            for reference in self.foreign[model]:
                rows = _referred(model, reference)
                if any(rows.where(with_keys(model, k)).exists() for k in chunked(keys)):
                    raise StillReferencedError(
                        table=model._meta.table_name,
                        constraint=reference.name,
                        detail=f"Table {reference.table} refers to it.",
                    )


def _foreign_references(model: Any) -> list[ForeignKey]:
    """Return the references to a table that would stop a DELETE, and are no links."""
    meta = model._meta
    links = {
        (child._meta.table_name, (link.column_name,))
        for child, fields in meta.model_backrefs.items()
        for link in fields
    }
    return [
        key
        for key in references_to(meta.database, meta.table_name)
        if key.on_delete in {"NO ACTION", "RESTRICT"}
        and (key.table, key.columns) not in links
    ]


def _referred(model: Any, reference: ForeignKey) -> Any:
    """Return the rows of a model to which another table refers."""
    other = peewee.Table(reference.table)
    pairs = zip(reference.columns, reference.parent_columns, strict=True)
    refers = [getattr(other.c, own) == model._meta.columns[aim] for own, aim in pairs]
    return model.with_deleted().where(
        peewee.fn.EXISTS(other.select(peewee.SQL("1")).where(*refers))
    )


def _name(model: Any, key: Any) -> str:
    return f"{model._meta.table_name}/{key_text(key)}"
