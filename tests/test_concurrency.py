"""Threads and tasks that write at once: no row lost, no user mixed up, no new lock."""

import asyncio
import contextvars
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import peewee
import pytest
from playhouse import db_url

import cmcore
from cmcore.models import AuditLog, User
from tests.conftest import unbind

USERS = [f"user{i}" for i in range(8)]
WRITES = 1_000
TASKS = 1_000
PEER = "203.0.113.7"


class Job(cmcore.AuditMixin, cmcore.Model):
    """What one thread writes."""

    owner = peewee.CharField()
    n = peewee.IntegerField()

    class Meta:
        table_name = "concurrency_jobs"


class Total(cmcore.Model):
    """One row that all threads update."""

    n = peewee.IntegerField()

    class Meta:
        table_name = "concurrency_totals"


class Plain(peewee.Model):
    """The same table as `Total`, as peewee has it."""

    n = peewee.IntegerField()

    class Meta:
        table_name = "concurrency_totals"


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file and eight users, on each engine."""
    return filled(database)


@pytest.fixture
def pooled(engine: str, make_url: Any) -> Iterator[peewee.Database]:
    """The same in a pooled database of an application's own."""
    url = make_url(engine, migrated=True)
    name, _, rest = url.partition("://")
    options: dict[str, Any] = {}
    if engine == "sqlite":
        options = {"pragmas": {"foreign_keys": 1}, "check_same_thread": False}
    database = db_url.connect(f"{name}+pool://{rest}", max_connections=20, **options)
    cmcore.init(database)
    yield filled(database)
    database.close_all()
    unbind()


def filled(database: peewee.Database) -> peewee.Database:
    """Make the tables and the users."""
    database.create_tables([Job, Total])
    for name in USERS:
        mail, secret = f"{name}@example.com", "!unusable"
        User.create(id=name, email=mail, full_name=name, password_hash=secret)
    return database


def acting() -> str | None:
    """Return the id of who acts."""
    return cmcore.current_context().user_id


def written() -> AuditLog:
    """Write a row and return its entry."""
    return Total.create(n=1).history().get()


def connected_call(db: peewee.Database, function: Callable[[], Any]) -> Any:
    """Call a function with a connection of this thread, closed afterwards."""
    with db.connection_context():
        return function()


class Worker:
    """Writes as one user, and keeps account of what the trail should hold."""

    def __init__(self, db: peewee.Database, name: str) -> None:
        """Begin with an empty account."""
        self.db = db
        self.name = name
        self.account: list[tuple[str, int, int | None, int | None]] = []
        self.rows: dict[int, int] = {}

    def run(self) -> None:
        """Make `WRITES` writes of every kind."""
        turns = [self.create, self.update, self.delete, self.undone, self.nested]
        with self.db.connection_context(), cmcore.acting_as(self.name):
            i = 0
            while len(self.account) < WRITES:
                turns[i % len(turns)]()
                i += 1

    def create(self) -> None:
        """Two rows, each in a transaction of its own."""
        for n in (1, 2):
            self.note("create", Job.create(owner=self.name, n=n).id, None, n)

    def update(self) -> None:
        """A row and the shared counter, in one deferred transaction."""
        key, n = next(iter(self.rows.items()))
        with self.db.atomic():
            assert Job.update(n=Job.n + 5).where(Job.id == key).execute() == 1
            Total.update(n=Total.n + 1).execute()
        self.note("update", key, n, n + 5)

    def delete(self) -> None:
        """The newest row."""
        key, n = list(self.rows.items())[-1]
        assert Job.delete_by_id(key) == 1
        self.note("delete", key, n, None)

    def undone(self) -> None:
        """A transaction that is rolled back, of which nothing may be seen."""
        with self.db.atomic() as transaction:
            Job.create(owner=self.name, n=-1)
            Total.update(n=Total.n + 1_000).execute()
            transaction.rollback()

    def nested(self) -> None:
        """A transaction with one savepoint kept and one rolled back."""
        with self.db.atomic():
            kept = Job.create(owner=self.name, n=7)
            with self.db.atomic() as savepoint:
                Job.update(n=-2).where(Job.id == kept.id).execute()
                savepoint.rollback()
            with self.db.atomic():
                kept.n = 8
                kept.save()
        self.note("create", kept.id, None, 7)
        self.note("update", kept.id, 7, 8)

    def note(self, action: str, key: int, old: int | None, new: int | None) -> None:
        """Enter a committed write into the account."""
        self.account.append((action, key, old, new))
        if new is None:
            del self.rows[key]
        else:
            self.rows[key] = new


def test_eight_threads_with_eight_users_lose_and_mix_nothing(
    db: peewee.Database,
) -> None:
    """8 threads of 1,000 writes: the trail is what each did, under its own user."""
    if isinstance(db, peewee.SqliteDatabase):  # a busy machine is no fault
        db.pragma("busy_timeout", 60_000, permanent=True)
    Total.create(n=0)
    workers = [Worker(db, name) for name in USERS]
    with ThreadPoolExecutor(len(workers)) as pool:
        for future in [pool.submit(worker.run) for worker in workers]:
            future.result()
    expected = {key: (w.name, n) for w in workers for key, n in w.rows.items()}
    assert {job.id: (job.owner, job.n) for job in Job.select()} == expected
    for job in Job.select():
        assert job.created_by_id == job.updated_by_id == job.owner
    for worker in workers:
        entries = (
            AuditLog.for_model(Job)
            .by_user(worker.name)
            .order_by(AuditLog.created_at, AuditLog.id)
        )
        recorded = [
            (
                entry.action,
                int(entry.resource_id or -1),
                (entry.old_values or {}).get("n"),
                (entry.new_values or {}).get("n"),
            )
            for entry in entries
        ]
        assert recorded == worker.account
    check_total(sum(a[0] == "update" and a[3] != 8 for w in workers for a in w.account))


def check_total(count: int) -> None:
    """Check that the counter's trail is an unbroken chain up to its value."""
    assert Total.get().n == count
    steps = [
        (entry.old_values["n"], entry.new_values["n"])
        for entry in AuditLog.for_model(Total).where(AuditLog.action == "update")
    ]
    assert sorted(steps) == [(i, i + 1) for i in range(count)]


def test_who_waits_for_a_row_writes_after_who_has_it(db: peewee.Database) -> None:
    """The trail is in the order of writing, not in that of asking."""
    Total.create(n=0)
    begun = threading.Event()

    def wait_for_it() -> None:
        with db.connection_context():
            begun.wait()
            Total.update(n=Total.n + 1).execute()

    other = threading.Thread(target=wait_for_it)
    other.start()
    with db.atomic():
        Total.update(n=Total.n + 1).execute()
        begun.set()
        time.sleep(0.4)  # by then the other one waits
        Total.update(n=Total.n + 1).execute()
    other.join()
    changes = AuditLog.for_model(Total).where(AuditLog.action == "update")
    entries = changes.order_by(AuditLog.created_at, AuditLog.id)
    steps = [(e.old_values["n"], e.new_values["n"]) for e in entries]
    assert steps == [(0, 1), (1, 2), (2, 3)]


def test_a_thousand_tasks_through_to_thread_keep_their_users(
    pooled: peewee.Database,
) -> None:
    """1,000 asyncio tasks that write in threads, of a pool: each as its own user."""

    async def task(i: int) -> None:
        with cmcore.acting_as(USERS[i % 8], request_id=str(i)):
            await asyncio.sleep(0)
            await asyncio.to_thread(connected_call, pooled, lambda: write(i))

    def write(i: int) -> None:
        Job.create(owner=USERS[i % 8], n=i)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(8))
        await asyncio.gather(*(task(i) for i in range(TASKS)))

    asyncio.run(main())
    entries = list(AuditLog.for_model(Job))
    assert len(entries) == TASKS
    for entry in entries:
        n = entry.new_values["n"]
        assert (entry.user_id, entry.request_id) == (USERS[n % 8], str(n))
        assert entry.user_email == f"{USERS[n % 8]}@example.com"
        assert entry.new_values["created_by"] == USERS[n % 8]


def held_lock(path: str, seconds: float) -> threading.Thread:
    """Hold the write lock in another connection for a while, then commit a write."""
    locked = threading.Event()

    def hold() -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE concurrency_totals SET n = n + 1")
        locked.set()
        time.sleep(seconds)
        other.execute("COMMIT")
        other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    return thread


@pytest.mark.parametrize("model", [Plain, Total])
@pytest.mark.parametrize("begin", [None, "DEFERRED"])
def test_a_first_write_waits_for_the_lock_as_in_peewee(
    make_url: Any, model: Any, begin: str | None
) -> None:
    """The very first write through a database waits its turn, in a transaction too."""
    url = make_url("sqlite", migrated=True)
    database = cmcore.connect(url)
    database.create_tables([Total])
    Total.create(n=0)
    database.close()
    fresh = cmcore.connect(url)
    try:
        with fresh.bind_ctx([model]):
            holder = held_lock(fresh.database, 0.3)
            if begin:
                with fresh.atomic(begin):
                    model.update(n=5).execute()
            else:
                model.update(n=5).execute()
            holder.join()
            assert model.select().get().n == 5
    finally:
        fresh.close()
        unbind()


class Asking:
    """A plugin whose hooks read before anything is written."""

    @cmcore.hookimpl
    def cmcore_resolve_user(self) -> Any:
        """Look the acting user up."""
        return User.get_by_id("system")

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Any) -> None:
        """Count what is there."""
        assert Job.select().count() >= 0


WAITING: dict[str, Callable[[], Any]] = {
    "create": lambda: Job.create(owner="a", n=1),
    "insert_many": lambda: Job.insert_many([{"owner": "a", "n": 1}]).execute(),
    "update": lambda: Total.update(n=5).execute(),
    "record": lambda: cmcore.record("a", resource_type="t", description="d"),
}


@pytest.mark.parametrize("write", WAITING.values(), ids=WAITING)
def test_a_hook_that_reads_waits_for_the_lock(
    make_url: Any, plugin: Callable[..., Any], write: Callable[[], Any]
) -> None:
    """A transaction that begins with a write waits, whatever hooks ask first."""
    database = cmcore.connect(make_url("sqlite", migrated=True))
    try:
        database.create_tables([Job, Total])
        Total.create(n=0)
        plugin(Asking())
        holder = held_lock(database.database, 0.3)
        with database.atomic():
            write()
        holder.join()
        assert AuditLog.select().order_by(AuditLog.id.desc()).get().user_id == "system"
    finally:
        database.close()
        unbind()


def test_an_event_that_cannot_wait_says_what_is_locked(make_url: Any) -> None:
    """`record()` raises what a write of a row raises."""
    database = cmcore.connect(make_url("sqlite", migrated=True), timeout=0.01)
    try:
        database.create_tables([Total])
        holder = held_lock(database.database, 0.3)
        with pytest.raises(cmcore.DatabaseLockedError, match="audit_logs"):
            cmcore.record("a", resource_type="t", description="d")
        holder.join()
    finally:
        database.close()
        unbind()


def test_contended_transactions_give_no_lock_error(make_url: Any) -> None:
    """Deferred transactions that begin with a write never meet "database is locked"."""
    database = cmcore.connect(make_url("sqlite", migrated=True))
    try:
        database.create_tables([Total])
        key = Total.create(n=0).id

        def work() -> None:
            with database.connection_context():
                for _ in range(40):
                    with database.atomic():
                        Total.update(n=Total.n + 1).execute()
                        row = Total.get_by_id(key)
                        row.n += 1
                        row.save()

        with ThreadPoolExecutor(4) as pool:
            errors = Counter(
                repr(f.exception()) for f in [pool.submit(work) for _ in range(4)]
            )
        assert errors == {"None": 4}
        check_total(320)
    finally:
        database.close()
        unbind()


def test_asyncio_tasks_carry_the_block_and_keep_their_own() -> None:
    """A task sees the block it was made in; what it enters stays inside it."""

    async def child(name: str) -> tuple[str | None, str | None, str | None]:
        outer = acting()
        async with cmcore.acting_as(name):
            await asyncio.sleep(0)
            inner = acting()
            threaded = await asyncio.to_thread(acting)
        return outer, inner, threaded

    async def main() -> list[Any]:
        async with cmcore.acting_as("parent"):
            found = await asyncio.gather(*(child(f"u{i}") for i in range(30)))
            assert acting() == "parent"
        return found

    expected = [("parent", f"u{i}", f"u{i}") for i in range(30)]
    assert asyncio.run(main()) == expected


def test_a_late_user_set_in_a_worker_thread_is_seen_by_the_request(
    db: peewee.Database,
) -> None:
    """`set_user` in a thread that shares the block names who acts for its owner."""
    with cmcore.acting_as(ip_address=PEER):
        assert written().user_id == "system"
        shared = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(shared.run, cmcore.set_user, User.get_by_id("user0")).result()
        with cmcore.acting_as(step=1):
            inner = written()
        cmcore.set_user("user1")
        late = written()
    assert (inner.user_id, inner.ip_address) == ("user0", PEER)
    assert inner.user_email == "user0@example.com"
    assert (late.user_id, late.user_email) == ("user1", "user1@example.com")
    assert written().user_id == "system"


def test_a_late_user_wins_over_a_look_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user named while another thread reads the context is not lost to its cache."""
    late = iter(["second"])

    def interrupted(extra: dict[str, Any]) -> MappingProxyType[str, Any]:
        for user in late:
            cmcore.set_user(user)
        return MappingProxyType(extra)

    with cmcore.acting_as("first"):
        cmcore.set_user("first")
        monkeypatch.setattr("cmcore.context.MappingProxyType", interrupted)
        cmcore.current_context()
        assert acting() == "second"


def test_carry_context_takes_the_block_into_threads(db: peewee.Database) -> None:
    """`executor.map` over a carried function writes as the block's user."""
    names = USERS[:4]

    def job(_: int) -> str:
        user_id: str = connected_call(db, written).user_id
        return user_id

    with ThreadPoolExecutor(4) as pool:
        runs = []
        for name in names:
            with cmcore.acting_as(name):
                runs.append(pool.map(cmcore.carry_context(job), range(5)))
        assert [list(run) for run in runs] == [[name] * 5 for name in names]
        assert pool.submit(acting).result() is None


def test_carry_context_takes_coroutines_and_loops_executors() -> None:
    """A carried coroutine function and `run_in_executor` see the block of today."""

    async def who() -> str | None:
        return acting()

    with cmcore.acting_as("carried"):
        carried, plain = cmcore.carry_context(who), cmcore.carry_context(acting)

    async def main() -> tuple[str | None, str | None, str | None]:
        threaded = await asyncio.get_running_loop().run_in_executor(None, plain)
        return await carried(), threaded, acting()

    assert asyncio.run(main()) == ("carried", "carried", None)
