"""Each call has a moment of its own, by which its rows are known again."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cmcore.models import marking
from tests.soft_delete_writes.bench import Bench
from tests.soft_delete_writes.models import (
    Branch,
    Remark,
    Root,
)
from tests.soft_delete_writes.test_recursion import family

OTHER_PROCESS = """
import sys, datetime
import cmcore
from cmcore import keys
from tests.soft_delete_writes.models import Branch, Remark, Root
class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2030, 1, 1, tzinfo=tz)
keys.datetime = Frozen
db = cmcore.connect(sys.argv[1])
{call}
db.close()
"""


def in_another_process(bench: Bench, call: str) -> None:
    """Run a call with the same frozen clock in a process of its own."""
    script = OTHER_PROCESS.format(call=call)
    subprocess.run([sys.executable, "-c", script, bench.url], check=True)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that stops the clock at the moment of the other process."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2030, 1, 1, tzinfo=tz)

    def freeze() -> None:
        monkeypatch.setattr("cmcore.keys.datetime", Frozen)
        monkeypatch.setattr(
            "cmcore.keys._clock._last", datetime(2029, 1, 1, tzinfo=UTC)
        )

    return freeze


@pytest.mark.parametrize(
    "call",
    [
        "Branch.get(name='r1').delete_instance()",
        "Branch.delete().where(Branch.name == 'r1').execute()",
        "Remark.get().delete_instance()",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_two_processes_never_share_a_moment(
    bench: Bench, frozen: Callable[[], None], call: str, is_first: bool
) -> None:
    """With clocks that stand still, what another process deleted stays deleted."""
    root = family()
    if is_first:
        in_another_process(bench, call)
        frozen()
        root.delete_instance(recursive=True)
    else:
        if "Branch" in call:
            Branch.update(root=Root.get(name="r-other"), spare=root).where(
                Branch.name == "r1"
            ).execute()
        frozen()
        root.delete_instance(recursive=True)
        in_another_process(bench, call)
    assert bench.live(Root) == ["r-other"]
    root.restore_instance(recursive=True)
    if "Branch" in call:
        assert "r1" not in bench.live(Branch)
        assert "r2" in bench.live(Branch)
    else:
        assert bench.live(Remark) == []


def test_each_call_has_a_moment_of_its_own(
    bench: Bench, frozen: Callable[[], None]
) -> None:
    """With a clock that stands still, each call is a microsecond later."""
    frozen()
    for i in range(5):
        Root.create(name=str(i)).delete_instance(recursive=i % 2 == 0)
    moments = [at for at, _ in bench.marks(Root, "name").values()]
    assert len(set(moments)) == 5
    start = datetime(2030, 1, 1, tzinfo=UTC)
    assert all((at - start).total_seconds() < 0.001 for at in moments)


def test_a_moment_that_is_taken_is_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set back does not give a moment that rows near by have."""
    gone = Remark.create(name="x", root=Root.create(name="r"))
    gone.delete_instance()
    later = datetime(2031, 1, 1, tzinfo=UTC)
    moments = iter([gone.deleted_at, later])
    monkeypatch.setattr(marking, "now", lambda: next(moments, later))
    root = Root.get()
    root.delete_instance(recursive=True)
    assert root.deleted_at == later
