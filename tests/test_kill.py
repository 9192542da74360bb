"""Killed at any point, a writer leaves rows and entries that agree."""

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from typing import Any

import peewee

import cmcore
from cmcore.models import AuditLog
from tests.conftest import MakeUrl, connected
from tests.test_replay import present, replayed

KILLS = 50
LONGEST_LIFE = 0.03


class Step(cmcore.TimestampMixin, cmcore.Model):
    """What a writer writes."""

    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "kill_steps"


class Twin(cmcore.Model):
    """Written in one transaction with each change of a step."""

    step = peewee.IntegerField()
    n = peewee.IntegerField()

    class Meta:
        table_name = "kill_twins"


def write_until_killed(url: str, started: Connection) -> None:
    """Write in every way, without end."""
    database = cmcore.connect(url)
    while True:
        first = Step.create()
        with database.atomic():
            Step.update(n=Step.n + 1).where(Step.id == first.id).execute()
            Twin.create(step=first.id, n=1)
        Step.insert_many([{"n": 5} for _ in range(10)]).execute()
        with database.atomic(), database.atomic():
            for step in Step.select().where(Step.n == 5).limit(3):
                step.n = 6
                step.save()
                Twin.create(step=step.id, n=6)
        Step.delete().where(Step.n == 5).execute()
        started.send(True)


def killed_writer(context: Any, url: str) -> int:
    """Start a writer, kill it at any moment of its work, and return its exit code."""
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=write_until_killed, args=(url, sending))
    process.start()
    sending.close()
    assert receiving.recv()
    time.sleep(random.uniform(0, LONGEST_LIFE))  # noqa: S311
    process.kill()
    process.join()
    receiving.close()
    return int(process.exitcode)


def test_after_every_kill_rows_and_entries_agree(
    engine: str, make_url: MakeUrl
) -> None:
    """50 writers die by SIGKILL: each committed row has its entry, and vice versa."""
    url = make_url(engine, migrated=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with connected(url) as database:
        database.create_tables([Step, Twin])
    codes = [killed_writer(context, url) for _ in range(KILLS)]
    assert set(codes) == {-9}
    with connected(url) as database:
        assert Step.select().count() > KILLS
        for model in (Step, Twin):
            assert replayed(model) == present(model)
        twins = {(twin.step, twin.n) for twin in Twin.select()}
        assert twins == {(s.id, s.n) for s in Step.select().where(Step.n.in_([1, 6]))}
        orphans = AuditLog.select().where(AuditLog.user.is_null())
        assert orphans.count() == 0
        if engine == "sqlite":
            assert database.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
