"""Every query gives what it gives where the deleted rows were never there."""

from typing import Any

import peewee
import pytest

from tests.soft_delete.bench import Bench
from tests.soft_delete.models import PURGED, SOFT, models_of
from tests.soft_delete.shapes_composed import COMPOSED, POSTGRESQL
from tests.soft_delete.shapes_loading import LOADING, PLAIN, WRITING
from tests.soft_delete.shapes_rows import JOINED, SINGLE, Shape

SHAPES = {**SINGLE, **JOINED, **COMPOSED, **LOADING, **WRITING, **PLAIN}


def flat(value: Any) -> Any:
    """Return a form of a result in which equal ones are equal; lists lose order."""
    if isinstance(value, peewee.Model):
        return type(value).__name__, flat(value.__data__)
    if isinstance(value, dict):
        return sorted((key, repr(flat(v))) for key, v in value.items())
    if isinstance(value, tuple):
        return tuple(flat(v) for v in value)
    if isinstance(value, list | peewee.BaseQuery):
        return sorted((flat(v) for v in value), key=repr)
    return value


def check(pair: Bench, shape: Shape) -> None:
    """Compare a shape's result with the oracle's, from which a leak would differ."""
    expected = flat(shape(PURGED))
    with pair.db.bind_ctx(list(models_of(PURGED).values())):
        assert flat(shape(PURGED)) != expected, "this shape cannot show a leak"
    assert flat(shape(SOFT)) == expected


@pytest.mark.parametrize("name", SHAPES)
def test_deleted_rows_are_not_there(pair: Bench, name: str) -> None:
    """A query on soft-deleted models equals the same one on purged tables."""
    check(pair, SHAPES[name])


@pytest.mark.postgresql
@pytest.mark.parametrize("name", POSTGRESQL)
def test_deleted_rows_are_not_there_on_postgresql(postgresql: Bench, name: str) -> None:
    """The same for what only PostgreSQL has."""
    check(postgresql, POSTGRESQL[name])
