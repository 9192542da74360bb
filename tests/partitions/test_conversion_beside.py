"""A conversion beside writers and readers, beside locks of others, and killed."""

import multiprocessing
import os
import signal
import time
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.engines.partitioning import is_partitioned
from cmcore.errors import InvalidValueError, MigrationError
from cmcore.partitions import conversion, convert, revert
from cmcore.partitions.belongings import Belongings
from cmcore.partitions.leftovers import leftovers
from cmcore.schema import patience
from tests.conftest import MakeUrl, connected
from tests.partitions.tables import add, anatomy, content, day, places
from tests.partitions.threads import beside, writing

pytestmark = pytest.mark.postgresql


def record() -> None:
    """Write an entry."""
    cmcore.record("export", resource_type="reports", description="A report.")


@pytest.mark.usefixtures("way")
def test_writers_and_readers_see_no_error(server: peewee.Database) -> None:
    """Converted, reverted and converted again under load, no entry is lost."""
    with writing(server) as written:
        for step in (convert, revert, convert):
            time.sleep(0.3)
            step(server)
            time.sleep(0.3)
    assert min(written) > 0
    assert cmcore.AuditLog.select().count() == sum(written)
    assert is_partitioned(server, "audit_logs")


def test_two_conversions_at_once_are_one(server: peewee.Database) -> None:
    """The second waits, and finds the work done."""
    told: list[list[str]] = []
    beside(server, *[lambda: told.append(convert(server))] * 2)
    assert sorted(map(len, told)) == [0, 4]


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon."""
    monkeypatch.setattr(patience, "ATTEMPTS", 2)
    monkeypatch.setattr(patience, "PAUSE", 0.05)
    monkeypatch.setattr(patience, "PATIENTLY", "100ms")
    monkeypatch.setattr(conversion, "PATIENTLY", "100ms")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("back", [False, True])
def test_a_transaction_that_stays_open_stops_it(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    """The error says so, and nothing has changed; afterwards it goes on."""
    url = make_url("postgresql", migrated=True)
    step = revert if back else convert
    with connected(url) as db:
        record()
        if back:
            convert(db)
        before = content(db)
        impatient(monkeypatch)
        reader = peewee.PostgresqlDatabase(url)
        with reader.connection_context(), reader.atomic() as transaction:
            reader.execute_sql("SELECT count(*) FROM audit_logs")
            with pytest.raises(
                MigrationError, match=r"locked.*idle in transaction"
            ) as error:
                step(db)
            left = leftovers(db)
            assert left
            assert all(name in str(error.value.__notes__) for name in left)
            transaction.rollback()
            assert is_partitioned(db, "audit_logs") is back
            step(db)
            assert content(db) == before
            assert is_partitioned(db, "audit_logs") is not back


def test_months_that_cannot_be_added_are_told(
    server: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that the trail is converted; another conversion adds them."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "cmcore.partitions.conversion.new_months",
            lambda *_: server.execute_sql("x"),
        )
        with pytest.raises(MigrationError, match="is converted, and its next months"):
            convert(server)
    assert is_partitioned(server, "audit_logs")
    assert len(convert(server)) > 0


def test_what_the_database_refuses_leaves_nothing_behind(
    server: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the middle of the swap undoes all of it, and what was made ahead."""
    record()
    before = anatomy(server)
    monkeypatch.setattr(Belongings, "arrive", lambda *_: server.execute_sql("x"))
    with pytest.raises(MigrationError, match="was not converted"):
        convert(server)
    assert anatomy(server) == before


@pytest.mark.usefixtures("way")
def test_a_revert_that_fails_leaves_the_partitions(
    converted: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the middle of the swap undoes all of it, and what was made ahead."""
    record()
    before = anatomy(converted)
    monkeypatch.setattr(Belongings, "arrive", lambda *_: converted.execute_sql("x"))
    with pytest.raises(MigrationError, match="partitioned as before"):
        revert(converted)
    assert anatomy(converted) == before


STEPS = ("_build", "_check", "_swap", "_tidy")


def convert_and_die(url: str, at: str, *, after: bool) -> None:
    """Convert, and be killed before or after a step."""
    step = getattr(conversion._Conversion, at, None)

    def dying(self: Any) -> None:
        if after and step is not None:
            step(self)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(conversion._Conversion, at, dying)
    if at == "_tidy":
        conversion._Conversion._swap = lambda _: 1 / 0  # type: ignore[assignment,method-assign]
    convert(cmcore.connect(url))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", STEPS)
def test_a_killed_conversion_is_finished_by_the_next(
    make_url: MakeUrl, at: str, *, after: bool
) -> None:
    """Whatever was made ahead, entries stay, can be written, and it comes out right."""
    url = make_url("postgresql", migrated=True)
    with connected(url) as db:
        add(db, [day(2025, 1, n) for n in range(1, 20)])
        context = multiprocessing.get_context("spawn")
        process = context.Process(
            target=convert_and_die, args=(url, at), kwargs={"after": after}
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        record()
        before = content(db)
        assert len(before) == 20
        convert(db)
        assert content(db) == before
        assert len(places(db)) == 1
        there = anatomy(db)
        revert(db)
        convert(db)
        assert anatomy(db) == there


def test_the_check_of_a_killed_conversion_names_the_cure(
    server: peewee.Database,
) -> None:
    """Should nobody finish it for a month, whoever writes reads what to do."""
    conversion._Conversion(server)._check()
    with pytest.raises(InvalidValueError) as error:
        cmcore.AuditLog.create(
            action="x", resource_type="y", description="z", created_at=day(2999, 1)
        )
    assert "rerun_cmcore_partition_convert" in str(error.value)
    found = rows(server, "SELECT count(*) FROM audit_logs")
    assert found == [(0,)]
