"""Before-hooks that themselves write to the table that is written."""

from collections.abc import Callable
from typing import Any

import peewee
import pytest

import cmcore
from cmcore import AuditLog, Change

Register = Callable[..., Any]


class Stock(cmcore.Model):
    """What is written here."""

    name = peewee.TextField(unique=True)
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "stock"


class Meddler:
    """Writes once from a before-hook, and hears what the statement did."""

    def __init__(self, meddle: Callable[[], Any]) -> None:
        """Take what is to be written."""
        self._meddle = [meddle]
        self.heard: list[tuple[str, Any, Any]] = []

    def _before(self, what: str, changes: Any) -> None:
        self.heard += [(what, change.key, None) for change in changes]
        if self._meddle:
            self._meddle.pop()()

    def _after(self, what: str, changes: Any) -> None:
        self.heard += [(what, _n(c, "old"), _n(c, "new")) for c in changes]

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Any) -> None:
        """Write before rows are created."""
        self._before("before_create", changes)

    @cmcore.hookimpl
    def cmcore_before_update(self, changes: Any) -> None:
        """Write before rows are updated."""
        self._before("before_update", changes)

    @cmcore.hookimpl
    def cmcore_before_delete(self, changes: Any) -> None:
        """Write before rows are deleted."""
        self._before("before_delete", changes)

    @cmcore.hookimpl
    def cmcore_after_create(self, changes: Any) -> None:
        """Hear what was created."""
        self._after("create", changes)

    @cmcore.hookimpl
    def cmcore_after_update(self, changes: Any) -> None:
        """Hear what was updated."""
        self._after("update", changes)

    @cmcore.hookimpl
    def cmcore_after_delete(self, changes: Any) -> None:
        """Hear what was deleted."""
        self._after("delete", changes)


def _n(change: Change, side: str) -> Any:
    values = getattr(change, side)
    return None if values is None else values["n"]


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """One row, on each engine."""
    database.create_tables([Stock])
    Stock.create(name="a", n=1)
    return database


def set_to_50() -> None:
    """Change the row that the statement is about to change."""
    Stock.update(n=50).where(Stock.name == "a").execute()


@pytest.mark.parametrize(
    ("write", "last"),
    [
        (lambda: Stock.update(n=Stock.n + 1).execute(), ("update", 50, 51)),
        (lambda: Stock.delete().execute(), ("delete", 50, None)),
        (
            lambda: (
                Stock.insert(name="a")
                .on_conflict(conflict_target=[Stock.name], update={"n": Stock.n + 1})
                .as_rowcount()
                .execute()
            ),
            ("update", 50, 51),
        ),
    ],
    ids=["update", "delete", "upsert"],
)
def test_a_hook_may_change_the_row(
    db: peewee.Database,
    plugin: Register,
    write: Callable[[], int],
    last: tuple[Any, ...],
) -> None:
    """The statement hits the row as the hook left it, and its entry says so."""
    meddler = plugin(Meddler(set_to_50))
    assert write() == 1
    assert meddler.heard[-2:] == [("update", 1, 50), last]
    assert [row.n for row in Stock.select()] == [n for n in last[2:] if n is not None]
    assert AuditLog.select().count() == 3


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_rows_that_a_hook_adds_are_in_the_trail(
    db: peewee.Database, plugin: Register, verb: str
) -> None:
    """Whether the statement hits them or not, no row changes without an entry."""
    meddler = plugin(Meddler(lambda: Stock.create(name="b", n=2)))
    write = Stock.update(n=9) if verb == "update" else Stock.delete()
    hit = write.execute()
    assert [heard[0] for heard in meddler.heard].count(verb) == hit
    untouched = Stock.select().where(Stock.n != 9).count()
    assert untouched == 2 - hit


def test_a_row_that_a_hook_deletes_is_not_deleted_twice(
    db: peewee.Database, plugin: Register
) -> None:
    """The hook's delete is one entry, and the statement finds nothing."""
    plugin(Meddler(lambda: Stock.delete().execute()))
    assert Stock.delete().execute() == 0
    assert [e.action for e in AuditLog.select() if e.action == "delete"] == ["delete"]


def test_an_upsert_may_turn_out_otherwise(
    db: peewee.Database, plugin: Register
) -> None:
    """A hook inserts the row first: it is an update, and its hooks are called."""
    meddler = plugin(Meddler(lambda: Stock.create(name="b", n=2)))
    query = Stock.insert(name="b", n=7)
    query.on_conflict(conflict_target=[Stock.name], preserve=[Stock.n]).execute()
    told = [what for what, *_ in meddler.heard]
    assert told == [
        "before_create",
        "before_create",
        "create",
        "before_update",
        "update",
    ]
    assert meddler.heard[-1] == ("update", 2, 7)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_replace_pushes_out_what_a_hook_inserted(
    database: peewee.Database, plugin: Register
) -> None:
    """What is there by then is recorded as deleted; only SQLite has REPLACE."""
    database.create_tables([Stock])
    meddler = plugin(Meddler(lambda: Stock.create(name="b", n=2)))
    Stock.replace(name="b", n=7).execute()
    assert meddler.heard[-2:] == [("delete", 2, None), ("create", None, 7)]


def test_entries_stand_in_the_order_of_writing(
    db: peewee.Database, plugin: Register
) -> None:
    """What a hook writes before a statement stands before it in the trail."""
    plugin(Meddler(lambda: Stock.create(name="b", n=2)))
    Stock.update(n=Stock.n + 1).where(Stock.name == "a").execute()
    entries = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
    assert [entry.action for entry in entries] == ["create", "create", "update"]


INSERTS = {
    "upsert": lambda query: query.on_conflict(
        conflict_target=[Stock.name], preserve=[Stock.n]
    ),
    "ignore": lambda query: query.on_conflict_ignore(),
    "computed": lambda query: query.on_conflict_ignore(),
}


@pytest.mark.parametrize("way", INSERTS)
def test_what_the_database_computes_is_absent_before(
    db: peewee.Database, plugin: Register, way: str
) -> None:
    """A trial run shows its key and its values to nobody: the real ones may differ."""
    seen: list[Change] = []

    class Watcher:
        @cmcore.hookimpl
        def cmcore_before_create(self, changes: Any) -> None:
            """Keep what is told."""
            seen.extend(changes)

    plugin(Watcher())
    n: Any = peewee.SQL("3 + 4") if way == "computed" else 7
    INSERTS[way](Stock.insert(name="c", n=n)).execute()
    (change,) = seen
    assert change.key is None
    known = {"name": "c"} if way == "computed" else {"name": "c", "n": 7}
    assert dict(change.new or {}) == known
