"""The stages of a reversion that copies, and what others do at one of them."""

# ruff: noqa: S608 - constants of this test

import itertools
from collections.abc import Callable
from typing import Any

import peewee
import pytest

from cmcore.engines.introspection import run
from cmcore.engines.partitioning import pieces
from cmcore.partitions import reversion
from cmcore.partitions.conversion import Progress
from cmcore.partitions.shadow import Shadow
from tests.partitions.old_months import ago
from tests.partitions.tables import add

MONTHS = [ago(shift) for shift in range(-3, 1)]
STAGES = ("begun", "half", "copied", "built", "verified")
INSERT = (
    "INSERT INTO audit_logs (id, action, resource_type, description, created_at,"
    " updated_at) VALUES ('{0}', 'create', 'invoices', 'Made.', '{1}', now())"
)

Meanwhile = Callable[[str, Callable[[], object]], Progress]


def grow(db: peewee.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a trail entries of some months and of users, all of which are copied."""
    monkeypatch.setattr(reversion, "_FEW", -1)
    run(
        db,
        "INSERT INTO users (id, email, password_hash, full_name, created_at,"
        " updated_at) SELECT 'u' || n, 'u' || n || '@example.org', repeat('x', 97),"
        " 'Ada', now(), now() FROM generate_series(0, 5) n",
    )
    for number, month in enumerate(MONTHS):
        add(db, [month.start] * 30, prefix=f"m{number}-")
    users = "'u' || (right(id, 2)::int % 6)"
    run(db, f"UPDATE audit_logs SET user_id = {users}, created_by = {users}")


def doing(db: peewee.Database, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Return a function that does something once, at a stage of a reversion.

    It returns the progress that the reversion has to be given.
    """
    names = [piece.name for piece in pieces(db, "audit_logs")]
    half = names.index(f"audit_logs_{MONTHS[2]}")
    original = Shadow._verified

    def do(when: str, work: Callable[[], object]) -> Progress:
        calls = itertools.count()

        def progress(done: int, total: int) -> None:
            stages = {
                0: "begun",
                half: "half",
                len(names): "copied",
                total - 3: "built",
            }
            if stages.get(done) == when:
                work()

        def verified(self: Any) -> Any:
            known = original(self)
            if when == "verified" and next(calls) == 0:
                work()
            return known

        monkeypatch.setattr(Shadow, "_verified", verified)
        return progress

    return do
