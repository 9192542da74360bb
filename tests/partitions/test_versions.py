"""An entry that is in several parts of a month: the last one has its newest version."""

from pathlib import Path

import peewee
import pytest

from cmcore.engines.introspection import rows, run
from cmcore.errors import ArchiveError
from cmcore.partitions import restore, retain
from tests.partitions.old_months import ago, fill, gz, ids, moments_of, others_told
from tests.partitions.tables import add, content


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_the_newest_version_comes_back(
    trail: peewee.Database,
    tmp_path: Path,
    order: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whichever part of the month is restored first."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    files = [gz(tmp_path, ago(-2), part) for part in (1, 2, 3)]
    for word in ("second", "first"):
        restore(trail, files[0])
        run(
            trail,
            "UPDATE audit_logs SET description = ? WHERE id = 'm02-000001'",
            [f"{word} thoughts"],
        )
        newest = content(trail)
        retain(trail, 1, tmp_path)
    assert [restore(trail, files[part - 1]) for part in order] == {
        1: [3, 0, 0],
        2: [1, 2, 0],
        3: [1, 0, 2],
    }[order[0]]
    assert content(trail) == newest
    retain(trail, 1, tmp_path)
    assert len(list(tmp_path.glob("*.gz"))) == 3
    assert others_told(caplog) == []


def test_going_back_to_an_older_version_is_a_version(
    trail: peewee.Database, tmp_path: Path
) -> None:
    """That an older part has the entry so is not enough."""
    fill(trail, -2)
    first = content(trail)
    retain(trail, 1, tmp_path)
    path = gz(tmp_path, ago(-2))
    for words in ("Changed.", "Made by a test."):
        restore(trail, path)
        run(trail, "UPDATE audit_logs SET description = ?", [words])
        retain(trail, 1, tmp_path)
    assert restore(trail, path) == 3
    assert content(trail) == first
    assert gz(tmp_path, ago(-2), 3).exists()


def test_a_later_part_that_is_damaged_is_refused(
    trail: peewee.Database, tmp_path: Path
) -> None:
    """Without it nobody knows which version is the newest."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    add(trail, moments_of(ago(-2)), prefix="late")
    retain(trail, 1, tmp_path)
    second = gz(tmp_path, ago(-2), 2)
    second.write_bytes(gz(tmp_path, ago(-2)).read_bytes())
    with pytest.raises(ArchiveError, match=second.name):
        restore(trail, gz(tmp_path, ago(-2)))
    assert ids(trail) == []


def test_parts_may_tell_other_columns(trail: peewee.Database, tmp_path: Path) -> None:
    """What a part does not tell is the default, whatever the later ones tell."""
    fill(trail, -2)
    retain(trail, 1, tmp_path)
    run(trail, "ALTER TABLE audit_logs ADD COLUMN tenant INTEGER NOT NULL DEFAULT 7")
    add(trail, [moments_of(ago(-2))[1]], prefix="m02-1")
    run(trail, "UPDATE audit_logs SET id = 'm02-000001', tenant = 9")
    retain(trail, 1, tmp_path)
    assert restore(trail, gz(tmp_path, ago(-2))) == 3
    found = rows(trail, "SELECT tenant FROM audit_logs ORDER BY created_at")
    assert found == [(7,), (9,), (7,)]
