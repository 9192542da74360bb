"""Whether a deleted row of a model shows anywhere, or a live one is lost."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import peewee

from cmcore.errors import ConfigurationError
from cmcore.testing.links import Link, joined, loaded, related, related_ends
from cmcore.testing.rows import Maker, Row, hides_deleted, live_of, rows_of
from cmcore.testing.shapes import Shape, saved, single


def assert_no_leaks(model: type[peewee.Model]) -> None:
    """Make sure that no way of reading a model shows a deleted row or loses a live one.

    For the tests of an application with models of its own, which may override methods
    of theirs. All happens in a transaction that is undone, on the database to which
    the model is bound: deleted and live rows, such that refer to them and to which they
    refer, are made where they are missing, by plausible values and past all hooks.
    Whole tables are read.

    Args:
        model: A model with `SoftDeleteMixin`. Models that are related to it are looked
            at if they are bound to the same database and have a table there.

    Raises:
        AssertionError: It names each way of reading that is wrong.
        ConfigurationError: The model has no `SoftDeleteMixin`, shows its deleted rows
            on purpose, or has no database; or a row cannot be made up.

    Example:
        def test_no_invoice_leaks(database):
            cmcore.testing.assert_no_leaks(Invoice)
    """
    if not hides_deleted(model):
        msg = (
            f"{model.__name__} shows all rows: it has no SoftDeleteMixin, or it is "
            "the trail."
        )
        raise ConfigurationError(msg)
    database = model._meta.database
    if database is None:
        msg = f"{model.__name__} has no database: call cmcore.connect or cmcore.init."
        raise ConfigurationError(msg)
    with database.atomic() as transaction:
        try:
            wrong = list(_World(model, database).complaints())
        finally:
            transaction.rollback()
    if wrong:
        listed = "\n".join(f"  {line}" for line in wrong)
        msg = f"{model.__name__} leaks, or loses rows:\n{listed}"
        raise AssertionError(msg)


class _World:
    """The rows of a model and of its neighbours, and what should be seen of them."""

    def __init__(self, model: Any, database: Any) -> None:
        self.model = model
        self.database = database
        meta = model._meta
        self.links = [
            Link(model, field, parent)
            for field, parent in meta.refs.items()
            if self._is_here(parent)
            and field.name != "deleted_by"  # no live row has it
        ]
        self.links += [
            Link(child, field, model)
            for field, child in meta.backrefs.items()
            if child is not model and self._is_here(child)
        ]
        self.relations = [
            field
            for field in meta.manytomany.values()
            if self._is_here(field.through_model)
        ]
        self._provide(Maker())
        models = {model, *(m for link in self.links for m in (link.child, link.parent))}
        for field in self.relations:
            models |= {field.rel_model, field.through_model}
        self.rows = {each: rows_of(each) for each in models}

    def _is_here(self, model: Any) -> bool:
        return model._meta.database is self.database and bool(model.table_exists())

    def _provide(self, maker: Maker) -> None:
        """See to it that there are rows of every kind."""
        found = rows_of(self.model)
        for state in (False, True):
            if state not in {row.is_deleted for row in found}:
                maker.make(self.model, deleted=state)
        for link in self.links:
            known = {(a.is_deleted, b.is_deleted) for a, b in _pairs(link)}
            for of_child in _states(link.child):
                for of_parent in _states(link.parent):
                    if (of_child, of_parent) not in known:
                        row = maker.make(link.parent, deleted=of_parent)
                        given = {link.field.name: row.values[link.field.rel_field.name]}
                        maker.make(link.child, given, deleted=of_child)
        for field in self.relations:
            self._provide_relation(maker, field)

    def _provide_relation(self, maker: Maker, field: Any) -> None:
        """Relate a live row to a live and to a deleted one."""
        accessor = field.model.__dict__[field.name]
        source, target = accessor.src_fk, accessor.dest_fk
        owners, others, through = map(
            rows_of, (self.model, field.rel_model, field.through_model)
        )
        ends = related_ends(accessor, live_of(owners), others, live_of(through))
        for state in _states(field.rel_model):
            if any(other.is_deleted == state for _, other in ends):
                continue
            row = maker.make(self.model, deleted=False)
            other = maker.make(field.rel_model, deleted=state)
            given = {
                source.name: row.values[source.rel_field.name],
                target.name: other.values[target.rel_field.name],
            }
            maker.make(field.through_model, given, deleted=False)

    def complaints(self) -> Iterator[str]:
        """Run every shape, each in a savepoint, and say what is wrong."""
        for shape in self._shapes():
            try:
                with self.database.atomic():
                    found = Counter(shape.read())
            except Exception as error:  # noqa: BLE001 - told with the others
                yield f"{shape.name}: {type(error).__name__}"
                continue
            expected = Counter(shape.expected)
            if found - expected:
                yield f"{shape.name}: shows {(found - expected).total()} too many"
            if expected - found:
                yield f"{shape.name}: loses {(expected - found).total()}"

    def _shapes(self) -> Iterator[Shape]:
        yield from single(self.model, self.rows[self.model])
        for link in self.links:
            yield from joined(link, self.rows)
            yield from loaded(link, self.rows)
        for field in self.relations:
            yield from related(field, self.rows)
        yield from saved(self.model, self.rows[self.model])


def _states(model: Any) -> tuple[bool, ...]:
    return (False, True) if hides_deleted(model) else (False,)


def _pairs(link: Link) -> Iterator[tuple[Row, Row]]:
    """Yield each row with the one that it refers to."""
    name = link.field.rel_field.name
    parents = {row.values[name]: row for row in rows_of(link.parent)}
    for row in rows_of(link.child):
        parent = parents.get(row.values[link.field.name])
        if parent is not None:
            yield row, parent
