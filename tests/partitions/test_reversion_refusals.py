"""A reversion that copies refuses what it cannot follow, and changes nothing."""

# ruff: noqa: S608 - constants of this test

from typing import Any

import peewee
import pytest

from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import is_partitioned
from cmcore.errors import MigrationError
from cmcore.partitions import revert
from cmcore.partitions.leftovers import leftovers
from tests.partitions.old_months import THIS
from tests.partitions.stages import INSERT, MONTHS, STAGES, Meanwhile
from tests.partitions.tables import content

pytestmark = pytest.mark.postgresql

CHANGES = {
    "was detached": (
        f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{MONTHS[0]}",
        f"DROP TABLE audit_logs_{MONTHS[1]}",
        f"ALTER TABLE audit_logs_{MONTHS[2]} DISABLE TRIGGER cmcore_revert_note",
    ),
    "entries": (
        f"TRUNCATE audit_logs_{MONTHS[0]}",
        "TRUNCATE audit_logs",
        f"CREATE TABLE theirs (LIKE audit_logs INCLUDING ALL);"
        f" INSERT INTO theirs SELECT * FROM audit_logs_{MONTHS[0]};"
        f" UPDATE theirs SET created_at = '{THIS.shifted(40).start}', id = id || 'x';"
        f" ALTER TABLE audit_logs ATTACH PARTITION theirs FOR VALUES"
        f" FROM ('{THIS.shifted(40).start}') TO ('{THIS.shifted(41).start}')",
    ),
    "columns": (
        "ALTER TABLE audit_logs ADD COLUMN theirs text",
        "ALTER TABLE audit_logs ADD CONSTRAINT ck_theirs CHECK (id <> '')",
        "CREATE INDEX theirs ON audit_logs (user_email)",
        "ALTER TABLE audit_logs ALTER user_email SET DEFAULT 'x'",
    ),
}


@pytest.mark.parametrize("when", ["copied", "verified"])
@pytest.mark.parametrize(
    ("what", "sql"), [(what, sql) for what, texts in CHANGES.items() for sql in texts]
)
def test_a_change_that_no_trigger_notes_is_told(  # noqa: PLR0913, PLR0917
    grown: peewee.Database,
    other: peewee.Database,
    when: str,
    what: str,
    sql: str,
    meanwhile: Meanwhile,
) -> None:
    """The trail is partitioned as before, and as it is then; the next run has it."""
    seen: dict[str, Any] = {}

    def work() -> None:
        run(other, sql)
        seen.update(entries=content(other))

    with pytest.raises(MigrationError, match=f"as before.* {what}.*Run again"):
        revert(grown, progress=meanwhile(when, work))
    assert leftovers(grown) == []
    assert rows(grown, "SELECT 1 FROM pg_proc WHERE proname LIKE 'cmcore%'") == []
    assert is_partitioned(grown, "audit_logs")
    assert content(grown) == seen["entries"]
    revert(grown)
    assert content(grown) == seen["entries"]


@pytest.mark.parametrize("when", STAGES)
def test_a_partition_that_went_and_came_back_is_told(
    grown: peewee.Database,
    other: peewee.Database,
    when: str,
    meanwhile: Meanwhile,
) -> None:
    """What changed in it while it was away is noted nowhere."""
    month = MONTHS[1]

    def work() -> None:
        run(other, f"ALTER TABLE audit_logs DETACH PARTITION audit_logs_{month}")
        run(other, f"UPDATE audit_logs_{month} SET action = 'x'")
        run(
            other,
            f"ALTER TABLE audit_logs ATTACH PARTITION audit_logs_{month}"
            f" FOR VALUES FROM ('{month.start}') TO ('{month.end}')",
        )

    with pytest.raises(MigrationError, match=f"audit_logs_{month} was detached"):
        revert(grown, progress=meanwhile(when, work))
    assert rows(grown, "SELECT count(*) FROM audit_logs WHERE action = 'x'") == [(30,)]


@pytest.mark.parametrize("when", STAGES)
def test_an_id_that_comes_twice_is_named(
    grown: peewee.Database,
    other: peewee.Database,
    when: str,
    meanwhile: Meanwhile,
) -> None:
    """Another month takes it, and one table would not."""
    sql = INSERT.format("m0-000001", MONTHS[2].start)
    work = lambda: run(other, sql)  # noqa: E731
    with pytest.raises(MigrationError, match="more than one entry of id m0-000001"):
        revert(grown, progress=meanwhile(when, work))
    assert leftovers(grown) == []
    assert rows(grown, "SELECT count(*) FROM audit_logs") == [(121,)]
