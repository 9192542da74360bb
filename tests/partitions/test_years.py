"""Years of use in any order: no entry is ever lost, doubled or changed."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmcore.engines.catalog import rows
from cmcore.engines.partitioning import can_partition, is_partitioned
from cmcore.keys import now
from cmcore.partitions import convert, ensure, report, restore, retain, revert
from cmcore.partitions.archives import lines_in
from cmcore.partitions.entries import entries_of
from tests.conftest import MakeUrl, connected
from tests.partitions.tables import add

DAYS = st.lists(st.integers(-900, 200), min_size=1, max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), DAYS),
        st.tuples(st.just("retain"), st.integers(1, 30)),
        st.tuples(st.sampled_from(["convert", "revert", "restore", "mark"]), st.none()),
        st.tuples(st.just("ensure"), st.integers(1, 8)),
    ),
    max_size=12,
)


class Years:
    """A trail and its archives, and what ought to be in them."""

    def __init__(self, db: peewee.Database, folder: Path) -> None:
        """Begin with nothing."""
        self._db = db
        self._folder = folder
        self._has_partitions = can_partition(db)
        self._written: dict[str, dt.datetime] = {}

    def write(self, days: list[int]) -> None:
        """Add entries of some days from today."""
        prefix = f"{len(self._written):05}-"
        moments = [now() + dt.timedelta(days=n) for n in days]
        add(self._db, moments, prefix)
        self._written |= {f"{prefix}{i:06}": m for i, m in enumerate(moments)}

    def retain(self, months: int) -> None:
        """Archive; a rehearsal tells the same before."""
        expected = retain(self._db, months, self._folder, dry_run=True)
        assert retain(self._db, months, self._folder) == expected

    def restore(self, _: None) -> None:
        """Put all archives back, twice."""
        for file in sorted(self._folder.glob("*.gz")):
            restore(self._db, file)
            assert restore(self._db, file) == 0

    def mark(self, _: None) -> None:
        """Change an entry that may be in an archive already."""
        self._db.execute_sql(
            "UPDATE audit_logs SET deleted_at = updated_at"
            " WHERE id = (SELECT min(id) FROM audit_logs)"
        )

    def convert(self, _: None) -> None:
        """Partition the trail."""
        if self._has_partitions:
            convert(self._db)

    def revert(self, _: None) -> None:
        """Make it one table."""
        if self._has_partitions:
            revert(self._db)

    def ensure(self, months: int) -> None:
        """Add months; then no entry is in the default partition."""
        if self._has_partitions and is_partitioned(self._db, "audit_logs"):
            ensure(self._db, months)
            assert report(self._db).default_rows == 0

    def check(self) -> None:
        """Find every entry in the trail or in an archive, and none twice in one."""
        found = rows(self._db, "SELECT id FROM audit_logs")
        online = {key for (key,) in found}
        assert len(online) == len(found)
        assert sum(p.rows for p in report(self._db).partitions) == len(found)
        texts = [line for file in self._folder.glob("*.gz") for line in lines_in(file)]
        assert len(set(texts)) == len(texts)
        archived = {key for key in self._written if any(f'"{key}"' in t for t in texts)}
        assert online | archived == set(self._written)

    def check_contents(self) -> None:
        """Bring everything back, and find each entry at its moment."""
        self.restore(None)
        found = rows(self._db, f"SELECT {entries_of(self._db).source}")
        moments = {key: json.loads(text)["created_at"] for _, key, text in found}
        assert len(moments) == len(found)
        assert moments == {
            key: moment.isoformat(timespec="microseconds")
            for key, moment in self._written.items()
        }


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_no_entry_is_lost_in_any_order(
    engine: str, make_url: MakeUrl, tmp_path_factory: Any, steps: list[Any]
) -> None:
    """Written, converted, archived, restored, reverted: all entries are somewhere."""
    folder: Path = tmp_path_factory.mktemp("years")
    with connected(make_url(engine, migrated=True)) as db:
        years = Years(db, folder)
        for name, argument in steps:
            step: Callable[[Any], None] = getattr(years, name)
            step(argument)
            years.check()
        years.check_contents()
