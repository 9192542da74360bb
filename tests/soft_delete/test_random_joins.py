"""Random joins show what they show without the deleted rows."""

import pytest

from tests.soft_delete.bench import Bench
from tests.soft_delete.models import PURGED, SOFT, models_of
from tests.soft_delete.random_joins import FilteredQuery, RandomQuery, counted

PARTS = range(4)
IN_A_PART = 60


def seeds(part: int) -> range:
    """Return the seeds of one part."""
    return range(part * IN_A_PART, (part + 1) * IN_A_PART)


@pytest.mark.parametrize("part", PARTS)
def test_random_joins_equal_those_of_purged_tables(pair: Bench, part: int) -> None:
    """Two to five tables, any kinds of joins: the rows of the oracle, each as often."""
    nested = pair.kind == "postgresql"
    telling = 0
    for seed in seeds(part):
        expected = counted(RandomQuery(seed, PURGED, nested=nested).build())
        found = counted(RandomQuery(seed, SOFT, nested=nested).build())
        assert found == expected, seed
        with pair.db.bind_ctx(list(models_of(PURGED).values())):
            leaky = RandomQuery(seed, PURGED, nested=nested).build()
            telling += counted(leaky) != expected
    assert telling > IN_A_PART / 2


@pytest.mark.parametrize("part", PARTS)
def test_random_joins_show_of_each_source_what_they_are_told(
    pair: Bench, part: int
) -> None:
    """Sources live, with deleted rows or only these, equal filtered sub-selects."""
    nested = pair.kind == "postgresql"
    with pair.db.bind_ctx(list(models_of(PURGED).values())):
        for seed in seeds(part):
            oracle = FilteredQuery(seed, PURGED, nested=nested, modes=True).build()
            query = RandomQuery(seed, SOFT, nested=nested, modes=True).build()
            assert counted(query) == counted(oracle), seed
