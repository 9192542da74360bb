"""Keys and moments rise with every call."""

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from cmcore import keys

COUNT = 5_000
THREADS = 4


def in_threads(work: Callable[[], None]) -> None:
    """Run a function in several threads at once, to the end."""
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_key_is_a_uuid7_in_36_characters_of_text() -> None:
    """The canonical text of a version 7 UUID, of the plain type str."""
    key = keys.new_key()
    assert type(key) is str
    assert len(key) == 36
    assert str(uuid.UUID(key)) == key
    assert uuid.UUID(key).version == 7


def test_a_key_holds_the_time_in_milliseconds() -> None:
    """The first 48 bits are the milliseconds since 1970."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    written = uuid.UUID(keys.new_key()).int >> 80
    after = datetime.now(UTC) + timedelta(seconds=1)
    assert before.timestamp() * 1000 <= written <= after.timestamp() * 1000


def test_keys_rise_in_one_thread() -> None:
    """Each key is greater than the one before, as text."""
    made = [keys.new_key() for _ in range(COUNT)]
    assert all(a < b for a, b in pairwise(made))


@pytest.mark.parametrize("make", [keys.new_key, keys.now])
def test_calls_of_several_threads_rise_in_their_order(make: Callable[[], Any]) -> None:
    """Whichever thread calls next gets something greater than all before."""
    made: list[Any] = []
    order = threading.Lock()

    def work() -> None:
        for _ in range(COUNT):
            with order:
                made.append(make())

    in_threads(work)
    assert len(made) == THREADS * COUNT
    assert all(a < b for a, b in pairwise(made))


@pytest.mark.parametrize("make", [keys.new_key, keys.now])
def test_threads_at_once_never_get_the_same(make: Callable[[], Any]) -> None:
    """Without any lock around the calls, nothing is given out twice."""
    made: list[Any] = []

    def work() -> None:
        made.extend([make() for _ in range(COUNT)])

    in_threads(work)
    assert len(set(made)) == THREADS * COUNT


def test_now_is_an_aware_moment_in_utc() -> None:
    """A plain datetime in UTC, near the system's clock."""
    moment = keys.now()
    assert type(moment) is datetime
    assert moment.tzinfo is UTC
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], datetime]:
    """A function that sets the system's clock and reads ours."""

    def read_at(moment: datetime) -> datetime:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return moment.astimezone(tz)

        with monkeypatch.context() as patch:
            patch.setattr(keys, "datetime", Clock)
            return keys.now()

    monkeypatch.setattr(keys, "_clock", keys._RisingClock())
    return read_at


START = datetime(2024, 6, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def test_a_clock_that_stands_still_is_moved_on(
    clock: Callable[[datetime], datetime],
) -> None:
    """The same microsecond gives the next one."""
    assert [clock(START) for _ in range(3)] == [START, START + TICK, START + 2 * TICK]


def test_a_small_step_back_is_bridged(clock: Callable[[datetime], datetime]) -> None:
    """Less than a second back gives the last moment and a microsecond."""
    clock(START)
    assert clock(START - timedelta(seconds=1) + TICK) == START + TICK
    assert clock(START + timedelta(seconds=1)) == START + timedelta(seconds=1)


def test_a_large_step_back_is_taken(clock: Callable[[datetime], datetime]) -> None:
    """A second or more back is a correction of the clock, and holds."""
    clock(START)
    assert clock(START - timedelta(seconds=1)) == START - timedelta(seconds=1)
