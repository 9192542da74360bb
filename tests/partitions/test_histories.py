"""In whatever order things happen, no entry is lost, doubled, or older than it was."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cmcore.engines.introspection import rows, run
from cmcore.errors import MigrationError
from cmcore.partitions import convert, restore, retain, reversion, revert
from cmcore.partitions.detached import detached_months, table_of
from cmcore.partitions.months import Month
from cmcore.schema.tables import ALLOW_DATA_LOSS
from tests import stock
from tests.conftest import MakeUrl, connected
from tests.partitions.deaths import wait_for_the_dead
from tests.partitions.old_months import ago, entries, moments_of, shape_trail, snapshot
from tests.partitions.tables import anatomy, content
from tests.partitions.test_reversion_leftovers import Killed, kill
from tests.test_equivalence import QUICK

MOMENTS = [*moments_of(ago(-2), 2), *moments_of(ago(-1), 2)]
VALUES = st.sampled_from(["{}", ' [1.0,\n"}é😀"] ', "[" * 500 + "]" * 500])
FILES = [(os, "fsync"), (Path, "unlink"), (Path, "rename"), (Path, "replace")]
STEPS = st.sampled_from([*[10**6] * 6, 5, 15, 25, 35, 50, 70, 100])  # mostly none
Entries = dict[str, tuple[str, str | None]]  # their texts and users by id


class Histories(RuleBasedStateMachine):
    """A trail, the folder of its archives, and what each entry was like at last."""

    make_url: Callable[[str], str]
    engine: str

    @initialize(shape=st.sampled_from(["plain", "converted", "monthly"]))
    def begin(self, shape: str) -> None:
        """Begin with an empty trail of a shape."""
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.db: Any = self.stack.enter_context(connected(self.make_url(self.engine)))
        self.plain = anatomy(self.db) if self.engine == "postgresql" else {}
        shape_trail(self.db, shape if self.plain else "sqlite")
        self.known: Entries = {}
        self.files: dict[str, bytes] = {}
        self.user: str | None = "ada"
        stock.insert_user(self.db, self.user)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.stack.close()

    def online(self, table: str = "audit_logs") -> Entries:
        """Return the entries in a table, each of which is there once."""
        found = rows(self.db, f"SELECT id, description, user_id FROM {table}")  # noqa: S608
        assert len(found) == len({key for key, _, _ in found})
        return {key: (text, user) for key, text, user in found}

    def everywhere(self) -> Entries:
        """Return the entries in the trail and in what a killed run left beside it."""
        tables = ["audit_logs", *map(table_of, detached_months(self.db))]
        found = [item for table in tables for item in self.online(table).items()]
        assert len(found) == len(dict(found))
        return dict(found)

    def parts(self) -> list[Path]:
        """Return the files, the parts of a month in their order."""
        paths = self.folder.glob("*.gz")
        return sorted(paths, key=lambda path: (path.name[:18], len(path.name), path))

    def filed(self, paths: list[Path]) -> Entries:
        """Return the entries in files, each as it is in the last one."""
        told = (entry for path in paths for entry in entries(path))
        return {each["id"]: (each["description"], each["user_id"]) for each in told}

    def does(self, work: Callable[[], object], step: int) -> bool:
        """Do something that is killed at a step; tell whether it came to its end."""
        left = itertools.count(1)

        def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *a, **k: kill() if next(left) >= step else call(*a, **k)

        with pytest.MonkeyPatch.context() as patch:
            for owner, name in [(self.db, "cursor"), *FILES]:
                patch.setattr(owner, name, deadly(getattr(owner, name)))
            try:
                work()
            except Killed:
                self.db.connection().close()
            else:
                return True
        self.db.close()
        self.db.connect()
        wait_for_the_dead(self.db, self.engine)
        return False

    @rule(moment=st.sampled_from(MOMENTS), values=VALUES)
    def write(self, moment: datetime, values: str) -> None:
        """An entry of the first or the last moment of a month."""
        key = f"e{len(self.known)}"
        time = moment.isoformat(" ", "microseconds")
        given = {"created_at": time, "user_id": self.user, "new_values": values}
        stock.insert_entry(self.db, key, description="v0", **given)
        self.known[key] = ("v0", self.user)

    @rule(text=st.sampled_from(["v0", "v1"]), key=st.integers(0, 3).map("e{}".format))
    def change(self, text: str, key: str) -> None:
        """SQL of somebody who corrects an entry, or takes that back."""
        sql = "UPDATE audit_logs SET description = ? WHERE id = ?"
        if run(self.db, sql, [text, key]).rowcount:
            self.known[key] = (text, self.known[key][1])

    @rule(is_back=st.booleans())
    def lose_the_user(self, is_back: bool) -> None:
        """Entries lose the user, and archives keep it; the id may be used again."""
        for key, (text, _) in self.everywhere().items():
            self.known[key] = (text, None)
        run(self.db, "DELETE FROM users WHERE id = 'ada'")
        self.user = "ada" if is_back else None
        if self.user:
            stock.insert_user(self.db, self.user)

    @rule(step=STEPS)
    def retain(self, step: int) -> None:
        """A rehearsal tells what is done then, and changes nothing."""
        before = content(self.db), snapshot(self.folder)
        told = retain(self.db, 1, self.folder, dry_run=True)
        assert (content(self.db), snapshot(self.folder)) == before
        done: list[Any] = []
        if self.does(lambda: done.append(retain(self.db, 1, self.folder)), step):
            assert (done, self.everywhere()) == ([told], {})

    @rule(number=st.integers(0, 99), step=STEPS)
    def restore(self, number: int, step: int) -> None:
        """A part is back as the last parts that are there have its entries."""
        paths = self.parts()
        path = paths[number % len(paths)] if paths else self.folder
        month = Month.named(path.name[11:18])
        if month is None or month in detached_months(self.db):
            return
        there = self.online()
        newest = self.filed([each for each in paths if str(month) in each.name])
        for key in self.filed([path]).keys() - there:
            there[key] = (newest[key][0], newest[key][1] and self.user)
        if self.does(lambda: restore(self.db, path), step):
            assert self.online() == there
            self.known |= there

    @rule(step=STEPS, is_forth=st.booleans(), few=st.sampled_from([-1, 10**6]))
    def turn(self, step: int, is_forth: bool, few: int) -> None:
        """Convert, or revert by either way, after which the schema is what it was."""
        if self.plain and is_forth:
            with contextlib.suppress(MigrationError):  # a reversion is to be finished
                self.does(lambda: convert(self.db), step)
        elif self.plain:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reversion, "_FEW", few)
                if self.does(lambda: revert(self.db), step):
                    relations = {"relations": self.plain["relations"]}
                    assert anatomy(self.db) | relations == self.plain

    @rule(count=st.integers(2, 3))
    def migrate(self, count: int) -> None:
        """Scripts are rolled back, soft-deleted entries set aside, and run again."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ALLOW_DATA_LOSS, "1")
            run(self.db, "UPDATE audit_logs SET deleted_at = updated_at")
            stock.rollback(self.db, count)
        stock.migrate(self.db)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Each entry is in the trail, or else in a file, as it was at last."""
        assert self.filed(self.parts()) | self.everywhere() == self.known
        files = snapshot(self.folder)
        assert {name: files.get(name) for name in self.files} == self.files
        self.files = {path.name: files[path.name] for path in self.parts()}


def test_no_history_loses_an_entry(engine: str, make_url: MakeUrl) -> None:
    """After each of many random steps all entries are where they have to be."""
    given = {"engine": engine, "make_url": lambda _, e: make_url(e, migrated=True)}
    run_state_machine_as_test(
        type("Machine", (Histories,), given),
        settings=settings(QUICK, max_examples=6, stateful_step_count=60),
    )
