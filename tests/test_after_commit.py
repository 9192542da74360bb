"""`cmcore_after_commit`: after COMMIT, what survived, each entry once, and no error."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from playhouse.pool import PooledPostgresqlDatabase, PooledSqliteDatabase

import cmcore
from cmcore import AuditLog
from cmcore.engines.opening import open_database
from tests.conftest import MakeUrl, unbind

Register = Callable[..., Any]


class Item(cmcore.Model):
    """What is written; its name says when."""

    name = peewee.TextField()

    class Meta:
        table_name = "observed_items"


class Note(cmcore.Model):
    """What observers write."""

    text = peewee.TextField()

    class Meta:
        table_name = "observed_notes"


class UndoneError(Exception):
    """Raised by a test to leave a block."""


class Observer:
    """A plugin that keeps what it is shown.

    Attributes:
        calls: For each call the names of the created rows, in their order.
        early: Entries that another connection, or nobody, could see when shown.
    """

    def __init__(self, look: Callable[[], set[str]] | None = None) -> None:
        """Take a function that says which ids another connection sees."""
        self.calls: list[list[str]] = []
        self.ids: list[str] = []
        self.early: list[str] = []
        self._look = look

    @cmcore.hookimpl
    def cmcore_after_commit(self, entries: list[AuditLog]) -> None:
        """Keep the entries, and check that they are committed."""
        self.calls.append([_name(entry) for entry in entries])
        self.ids += [entry.id for entry in entries]
        if self._look is not None:
            seen = self._look()
            self.early += [entry.id for entry in entries if entry.id not in seen]

    @property
    def seen(self) -> list[str]:
        """All that was shown, over all calls."""
        return [name for call in self.calls for name in call]


def _name(entry: AuditLog) -> str:
    values = entry.new_values or entry.old_values or {}
    return str(values.get("name") or values.get("text"))


def add(*names: str) -> None:
    """Create items."""
    for name in names:
        Item.create(name=name)


def names() -> list[str]:
    """Return the names of the items that there are."""
    return [item.name for item in Item.select().order_by(Item.id)]


@contextlib.contextmanager
def undone(block: Any) -> Iterator[Any]:
    """Run a block inside atomic() or a savepoint, which an error ends."""
    with contextlib.suppress(UndoneError), block as transaction:
        yield transaction
        raise UndoneError


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """The URL of a migrated database of each engine."""
    return make_url(engine, migrated=True)


@pytest.fixture
def db(url: str) -> Iterator[peewee.Database]:
    """A connected database with the tables of this file."""
    database = cmcore.connect(url)
    database.create_tables([Item, Note])
    yield database
    if not database.is_closed():
        database.close()
    unbind()


@pytest.fixture
def observer(url: str, db: peewee.Database, plugin: Register) -> Iterator[Observer]:
    """An observer that looks with a connection of its own.

    After the test it has seen nothing early, nothing twice, and nothing that is not
    in the trail.
    """
    other = open_database(url, {})

    def look() -> set[str]:
        return {row[0] for row in other.execute_sql("SELECT id FROM audit_logs")}

    watching = plugin(Observer(look))
    yield watching
    committed = look()
    other.close()
    assert watching.early == []
    assert len(watching.ids) == len(set(watching.ids))
    assert set(watching.ids) <= committed


def test_a_write_of_its_own_is_shown_at_once(
    db: peewee.Database, observer: Observer
) -> None:
    """Outside every block each call is a transaction, and is shown when it returns."""
    add("a")
    Item.insert_many([{"name": "b"}, {"name": "c"}]).execute()
    assert observer.calls == [["a"], ["b", "c"]]


def test_a_block_is_shown_whole_when_it_ends(
    db: peewee.Database, observer: Observer
) -> None:
    """All entries of the outermost block come in one call, after its end."""
    with db.atomic():
        add("a")
        with db.atomic():
            add("b")
        add("c")
        assert observer.calls == []
    assert observer.calls == [["a", "b", "c"]]


def test_a_rolled_back_block_is_not_shown(
    db: peewee.Database, observer: Observer
) -> None:
    """Neither at its end nor at the next commit."""
    with undone(db.atomic()):
        add("gone")
    add("kept")
    assert observer.calls == [["kept"]]


def test_rolled_back_savepoints_are_absent(
    db: peewee.Database, observer: Observer
) -> None:
    """At any depth, by an error or by hand, what is undone is not shown."""
    with db.atomic():
        add("a")
        with undone(db.atomic()):
            add("gone 1")
            with db.atomic():
                add("gone 2")
        with db.atomic() as savepoint:
            add("gone 3")
            savepoint.rollback()
            add("b")
        with db.savepoint() as savepoint:
            add("c")
            savepoint.commit()
            add("gone 4")
            savepoint.rollback()
        with undone(db.savepoint()):
            add("gone 5")
    assert observer.calls == [["a", "b", "c"]]
    assert names() == ["a", "b", "c"]


def test_a_block_of_which_nothing_is_left_is_not_shown(
    db: peewee.Database, observer: Observer
) -> None:
    """A committed transaction without entries makes no call."""
    with db.atomic():
        with undone(db.atomic()):
            add("gone")
        Item.select().count()
    assert observer.calls == []


def test_commit_in_mid_block(db: peewee.Database, observer: Observer) -> None:
    """Each commit shows what it committed, also when the rest is rolled back."""
    with undone(db.atomic()) as transaction:
        add("a")
        transaction.commit()
        assert observer.calls == [["a"]]
        add("b")
        transaction.commit()
        add("gone")
    assert observer.calls == [["a"], ["b"]]
    assert names() == ["a", "b"]


def test_rollback_in_mid_block(db: peewee.Database, observer: Observer) -> None:
    """What is rolled back in mid-block is not shown, what follows is."""
    with db.atomic() as transaction:
        add("gone")
        transaction.rollback()
        add("a")
    assert observer.calls == [["a"]]


def test_commit_without_a_new_begin(db: peewee.Database, observer: Observer) -> None:
    """After `commit(begin=False)` each write is its own transaction."""
    with db.atomic() as transaction:
        add("a")
        transaction.commit(begin=False)
        add("b")
        assert observer.calls == [["a"], ["b"]]
        db.begin()  # for the end of the block
    assert observer.calls == [["a"], ["b"]]


@pytest.mark.parametrize("is_kept", [True, False])
def test_sessions(db: peewee.Database, observer: Observer, is_kept: bool) -> None:
    """`session_commit` shows, `session_rollback` does not."""
    db.session_start()
    add("a")
    assert observer.calls == []
    assert db.session_commit() if is_kept else db.session_rollback()
    assert observer.calls == ([["a"]] if is_kept else [])
    add("b")
    assert observer.calls[-1] == ["b"]
    assert len(observer.calls) == 1 + is_kept


def test_a_nested_session_commits_the_outer_block(
    db: peewee.Database, observer: Observer
) -> None:
    """In peewee, `session_commit` ends the outer transaction; it is shown then."""
    with undone(db.atomic()):
        add("a")
        db.session_start()
        add("b")
        db.session_commit()
        assert observer.calls == [["a", "b"]]
        add("gone")
    assert observer.calls == [["a", "b"]]
    assert names() == ["a", "b"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_manual_commit(db: peewee.Database, observer: Observer, is_kept: bool) -> None:
    """`manual_commit()` with begin and commit shows it; rolled back, it does not."""
    with db.manual_commit():
        db.begin()
        add("a", "b")
        assert observer.calls == []
        db.commit() if is_kept else db.rollback()
        assert observer.calls == ([["a", "b"]] if is_kept else [])
        add("c")
    assert observer.calls[-1] == ["c"]
    assert observer.seen == (["a", "b", "c"] if is_kept else ["c"])


@pytest.mark.parametrize("is_kept", [True, False])
def test_raw_begin(db: peewee.Database, observer: Observer, is_kept: bool) -> None:
    """`db.begin()` without a block is never shown early, and not when rolled back."""
    db.begin()
    add("a")
    assert observer.calls == []
    db.commit() if is_kept else db.rollback()
    add("b")
    assert observer.calls == ([["a"], ["b"]] if is_kept else [["b"]])


def test_a_raw_rollback_inside_atomic(db: peewee.Database, observer: Observer) -> None:
    """What `db.rollback()` took is not shown, however the block ends."""
    with contextlib.suppress(peewee.OperationalError), db.atomic():
        add("gone")
        db.rollback()
    add("a")
    assert observer.seen == ["a"]
    assert names() == ["a"]


def test_a_raw_commit_inside_atomic(db: peewee.Database, observer: Observer) -> None:
    """What `db.commit()` kept is shown at most once, and nothing else is."""
    with contextlib.suppress(peewee.OperationalError, UndoneError), db.atomic():
        add("a")
        db.commit()
        raise UndoneError
    add("b")
    assert observer.seen in (["a", "b"], ["b"])
    assert names() == ["a", "b"]


def test_a_bare_savepoint(db: peewee.Database, observer: Observer, engine: str) -> None:
    """SQLite: a savepoint outside every block is a transaction that nobody ends.

    It is not shown early; PostgreSQL refuses it.
    """
    if engine == "postgresql":
        with pytest.raises(peewee.DatabaseError), db.savepoint():
            pass
    else:
        with db.savepoint():
            add("a")
            assert observer.calls == []
        with undone(db.savepoint()):
            add("gone")
        db.rollback()  # peewee leaves the transaction open after an error
    add("b")
    assert observer.seen in (["b"], ["a", "b"])


def test_a_commit_that_fails(db: peewee.Database, observer: Observer) -> None:
    """A deferred constraint that breaks at COMMIT: nothing is shown, then or later."""
    db.execute_sql("CREATE TABLE observed_parents (id INTEGER PRIMARY KEY)")
    db.execute_sql(
        "CREATE TABLE observed_children (parent INTEGER REFERENCES "
        "observed_parents(id) DEFERRABLE INITIALLY DEFERRED)"
    )

    def fail(end: Callable[[], Any]) -> None:
        add("gone")
        db.execute_sql("INSERT INTO observed_children VALUES (1)")
        end()

    with pytest.raises(peewee.IntegrityError), db.atomic():
        fail(lambda: None)
    db.session_start()
    with pytest.raises(peewee.IntegrityError):
        fail(db.session_commit)
    with contextlib.suppress(peewee.OperationalError):
        db.rollback()
    add("a")
    assert observer.seen == ["a"]
    assert names() == ["a"]


def test_an_interrupt_in_the_block(db: peewee.Database, observer: Observer) -> None:
    """Ctrl-C in a block rolls back, and nothing is shown."""

    def interrupted() -> None:
        with db.atomic():
            add("gone")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    add("a")
    assert observer.calls == [["a"]]


def test_a_raising_observer_is_logged(
    db: peewee.Database, plugin: Register, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller's block returns, the row is there, other plugins are called."""

    class Raising:
        @cmcore.hookimpl
        def cmcore_after_commit(self) -> None:
            msg = "the disk is full"
            raise OSError(msg)

    first = plugin(Observer(), "first")
    plugin(Raising(), "raising")
    last = plugin(Observer(), "last")
    with db.atomic():
        add("a")
    with db.atomic() as transaction:
        add("b")
        transaction.commit()
        add("c")
    assert first.calls == last.calls == [["a"], ["b"], ["c"]]
    assert names() == ["a", "b", "c"]
    assert "'raising'" in caplog.text
    assert "the disk is full" in caplog.text


class Writing(Observer):
    """An observer that writes a note for each call, inside atomic() or not."""

    def __init__(self, name: str, block: Callable[[], Any]) -> None:
        """Take how it signs, and what it writes in."""
        super().__init__()
        self._sign = name
        self._block = block

    @cmcore.hookimpl
    def cmcore_after_commit(self, entries: list[AuditLog]) -> None:
        """Write a note."""
        super().cmcore_after_commit(entries)
        with self._block():
            Note.create(text=f"{self._sign} saw {self.calls[-1][0]}")


@pytest.mark.parametrize("way", ["plain", "atomic"])
def test_an_observer_may_write(
    db: peewee.Database, plugin: Register, observer: Observer, way: str
) -> None:
    """Its writes are transactions of their own, shown to others and not to itself."""
    block = db.atomic if way == "atomic" else contextlib.nullcontext
    writing = plugin(Writing("w", block), "writing")
    with undone(db.atomic()) as transaction:
        add("a")
        transaction.commit()
        add("gone")
    add("b")
    assert writing.calls == [["a"], ["b"]]
    assert observer.calls == [["a"], ["w saw a"], ["b"], ["w saw b"]]
    assert [note.text for note in Note.select()] == ["w saw a", "w saw b"]
    assert names() == ["a", "b"]


def test_observers_that_write_come_to_an_end(
    db: peewee.Database, plugin: Register
) -> None:
    """Two plugins that write about each other's writes do so once."""
    one = plugin(Writing("one", db.atomic), "one")
    two = plugin(Writing("two", db.atomic), "two")
    add("a")
    assert one.calls == [["a"], ["two saw a"]]
    assert two.calls == [["one saw a"], ["a"]]
    assert Note.select().count() == 4


def test_an_observer_that_fails_to_write_harms_nobody(
    db: peewee.Database, plugin: Register, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own transaction is rolled back; the caller's goes on."""

    class Clumsy:
        @cmcore.hookimpl
        def cmcore_after_commit(self) -> None:
            with db.atomic():
                Note.create(text="half")
                db.execute_sql("no such statement")

    plugin(Clumsy(), "clumsy")
    with db.atomic() as transaction:
        add("a")
        transaction.commit()
        add("b")
    assert names() == ["a", "b"]
    assert Note.select().count() == 0
    assert "'clumsy'" in caplog.text


def test_an_observer_that_closes_the_database(
    db: peewee.Database, plugin: Register
) -> None:
    """Even then the caller's block returns, and the next write works."""

    class Closing:
        @cmcore.hookimpl
        def cmcore_after_commit(self) -> None:
            db.close()

    plugin(Closing())
    add("a")
    with db.atomic():
        add("b")
    assert names() == ["a", "b"]


def test_an_entry_that_cannot_be_read_is_logged(
    db: peewee.Database, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    """A trail that is gone by then does not reach the caller as an error."""
    with db.atomic():
        add("a")
        db.execute_sql("ALTER TABLE audit_logs RENAME TO elsewhere")
    assert names() == ["a"]
    assert observer.calls == []
    assert "the entries cannot be read" in caplog.text
    db.execute_sql("ALTER TABLE elsewhere RENAME TO audit_logs")


def test_nobody_who_looks_costs_nothing(
    db: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an observer no entry is read again."""
    sent: list[str] = []
    execute: Any = db.execute_sql

    def spy(sql: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(sql)
        return execute(sql, *args, **kwargs)

    monkeypatch.setattr(db, "execute_sql", spy)
    add("a")
    assert [sql for sql in sent if "SELECT" in sql and "audit_logs" in sql] == []


def test_what_record_writes_is_shown(db: peewee.Database, observer: Observer) -> None:
    """Events that are no change of a row are entries as others are."""
    cmcore.record(
        "data_export", resource_type="reports", description="All", name="report"
    )
    assert len(observer.ids) == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_pooled_databases(
    engine: str, url: str, plugin: Register, is_kept: bool
) -> None:
    """A connection that goes back to its pool takes nothing along."""
    database: Any
    if engine == "sqlite":
        database = PooledSqliteDatabase(url.removeprefix("sqlite:///"))
    else:
        database = PooledPostgresqlDatabase(url)
    cmcore.init(database)
    try:
        database.create_tables([Item])
        observer = plugin(Observer())
        for round_ in ("1", "2"):
            with database.connection_context():
                with database.atomic() as transaction:
                    add(f"a{round_}")
                    if not is_kept:
                        transaction.rollback()
                add(f"b{round_}")
        kept = [["a1"], ["b1"], ["a2"], ["b2"]]
        assert observer.calls == (kept if is_kept else kept[1::2])
    finally:
        database.close_all()
        unbind()
