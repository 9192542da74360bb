"""What a reversion that was killed leaves: a trail that works, and is tidied up."""

import multiprocessing
import signal

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.introspection import run
from cmcore.engines.partitioning import is_partitioned
from cmcore.keys import now
from cmcore.partitions import convert, reversion, revert, shadow
from cmcore.partitions.health import examine_partitions
from cmcore.partitions.leftovers import leftovers
from tests.conftest import MakeUrl, connected
from tests.partitions.deaths import die_before, wait_for_the_dead
from tests.partitions.stages import INSERT, Meanwhile
from tests.partitions.tables import add, anatomy, content, day

pytestmark = pytest.mark.postgresql

# Whatever changes the database comes between two of these.
STEPS = [(peewee.Database, name) for name in ("execute_sql", "commit")]
ALL = ["cmcore_revert_changes", "cmcore_revert_copy", "the trigger cmcore_revert_note"]


class Killed(BaseException):
    """Stands for the end of a process that has no time to tidy up."""


def kill() -> None:
    """Raise what stands for a kill."""
    raise Killed


@pytest.fixture
def abandoned(
    grown: peewee.Database, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> peewee.Database:
    """A trail whose reversion was killed when all entries were copied."""
    with monkeypatch.context() as patch:
        patch.setattr(reversion, "_tidy", lambda _: "")
        with pytest.raises(Killed):
            revert(grown, progress=meanwhile("copied", kill))
    return grown


def test_others_go_on_writing(abandoned: peewee.Database) -> None:
    """The trail has partitions and takes entries; the next run has them too."""
    assert leftovers(abandoned) == ALL
    for sql in (
        INSERT.format("late", now()),
        "UPDATE audit_logs SET action = 'x' WHERE id = 'm1-000001'",
        "DELETE FROM audit_logs WHERE id = 'm2-000002'",
        "DELETE FROM users WHERE id = 'u3'",
    ):
        run(abandoned, sql)
    entries = content(abandoned)
    revert(abandoned)
    assert content(abandoned) == entries
    assert leftovers(abandoned) == []


@pytest.mark.parametrize("few", [-1, 1000])
def test_the_next_run_leaves_nothing(
    abandoned: peewee.Database, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way it goes."""
    monkeypatch.setattr(reversion, "_FEW", few)
    revert(abandoned)
    assert not is_partitioned(abandoned, "audit_logs")
    assert leftovers(abandoned) == []
    assert anatomy(abandoned)["triggers"] == []
    assert rows(abandoned, "SELECT 1 FROM pg_proc WHERE proname ~ '^cmcore'") == []


def test_a_conversion_keeps_the_partitions(abandoned: peewee.Database) -> None:
    """It drops what was left, as a dry run of it tells."""
    entries, there = content(abandoned), anatomy(abandoned)
    told = convert(abandoned, dry_run=True)
    assert anatomy(abandoned) == there
    assert told == [
        f"Drop {name}, which was left by an interrupted run." for name in ALL
    ]
    assert convert(abandoned) == told
    assert leftovers(abandoned) == []
    assert content(abandoned) == entries
    assert convert(abandoned) == []


def test_the_doctor_names_it_and_the_cure(abandoned: peewee.Database) -> None:
    """Both ways out are told."""
    [finding] = examine_partitions(abandoned)
    assert not finding.is_fine
    assert ", ".join(ALL) in finding.text
    assert "revert` again, or `cmcore partition convert`" in finding.text


def test_foreign_keys_that_were_not_checked_are_told(
    grown: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the swap, there is one table; the next run checks what is open."""
    with monkeypatch.context() as patch:
        patch.setattr(shadow, "check_references", lambda _: kill())
        with pytest.raises(Killed) as error:
            revert(grown)
    assert "cmcore_revert_changes stays: revert again." in error.value.__notes__
    sql = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated"
    assert rows(grown, sql) == [(4,)]
    [finding] = examine_partitions(grown)
    cure = "Run `cmcore partition revert` again."
    assert finding.text == f"cmcore_revert_changes is left of a revert. {cure}"
    told = revert(grown, dry_run=True)
    assert rows(grown, sql) == [(4,)]
    assert revert(grown) == told
    assert len(told) == 1
    assert rows(grown, sql) == [(0,)]
    assert leftovers(grown) == []
    assert revert(grown) == []


def revert_and_die(url: str, step: int) -> None:
    """Revert, and die before a step."""
    reversion._FEW = -1
    database = cmcore.connect(url)
    die_before(step, STEPS)
    revert(database)


@pytest.mark.slow
def test_a_kill_at_any_step_loses_nothing(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All entries are there, can be written, and the next run makes the table."""
    monkeypatch.setattr(reversion, "_FEW", -1)
    url = make_url("postgresql", migrated=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with connected(url) as db:
        add(db, [day(2025, 1, n) for n in range(1, 10)])
        plain, before = anatomy(db), content(db)
        convert(db)
        parts, step, after = anatomy(db), 0, 0
        while True:
            step += 1
            process = context.Process(target=revert_and_die, args=(url, step))
            process.start()
            process.join()
            assert process.exitcode in {0, -signal.SIGKILL}
            if process.exitcode == 0:
                break
            wait_for_the_dead(db, "postgresql")
            assert content(db) == before
            run(db, INSERT.format("late", now()))
            run(db, "DELETE FROM audit_logs WHERE id = 'late'")
            if not is_partitioned(db, "audit_logs"):
                after += 1
            elif step % 2:
                convert(db)
                assert anatomy(db) == parts
            revert(db)
            assert anatomy(db) == plain
            assert content(db) == before
            convert(db)
        assert step > after + 40
        assert after > 0
        assert anatomy(db) == plain
