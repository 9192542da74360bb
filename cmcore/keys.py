"""Keys and moments of new rows: both rise with every call within a process."""

import sys
import threading
from datetime import UTC, datetime, timedelta

if sys.version_info >= (3, 14):
    import uuid

    _one_at_a_time = threading.Lock()

    def uuid7() -> uuid.UUID:
        """Return the standard library's next one, whose counter has no lock itself."""
        with _one_at_a_time:
            return uuid.uuid7()
else:
    from uuid_utils import uuid7  # rises across threads by itself

_TICK = timedelta(microseconds=1)
_SMALL_STEP_BACK = timedelta(seconds=1)


def new_key() -> str:
    """Return a new primary key: a UUIDv7 as 36 characters of text.

    Keys of one process rise in the order of the calls, whichever threads make them,
    and so does their text. Keys of several processes are unique, and in order to the
    millisecond as far as their clocks agree.
    """
    return str(uuid7())


class _RisingClock:
    """The system's clock, which never shows the same microsecond twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)

    def read(self, since: datetime | None = None) -> datetime:
        with self._lock:
            last = self._last
            if since is not None and since == last:
                return since
            moment = datetime.now(UTC)
            if moment <= last and last - moment < _SMALL_STEP_BACK:
                moment = last + _TICK
            self._last = moment
            return moment


_clock = _RisingClock()


def now() -> datetime:
    """Return the moment of writing: an aware UTC datetime that rises strictly.

    Within a process no two calls give the same moment. A clock that steps back by
    less than a second is held at the last moment plus a microsecond for each call; a
    larger step back is a correction by somebody, and is taken as it is.
    """
    return _clock.read()


def now_unless_newest(moment: datetime) -> datetime:
    """Return a moment as long as nothing in this process has a later one; else `now()`.

    What begins may wait, and is not older then than what was done meanwhile.
    """
    return _clock.read(moment)
