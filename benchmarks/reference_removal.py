"""Old months of the trail go: row by row, and as partitions."""

import functools
import time
from collections.abc import Callable
from typing import Any

from reference_cases import ARCHIVE, Case
from reference_data import Business

from cmcore.partitions.months import Month

MONTHS = 3


class Removal:
    """Removes the oldest whole months from a plain trail, and from one of months."""

    def __init__(self, plain: Any, monthly: Any, business: Business) -> None:
        """Take two databases with the same entries."""
        self._plain = plain
        self._monthly = monthly
        self._oldest = Month.of(business.start).shifted(1)
        self._times: dict[str, list[float]] = {}

    def seconds(self) -> dict[str, float]:
        """Remove some months in turn, and return the best time of each step."""
        for number in range(MONTHS):
            month = self._oldest.shifted(number)
            self._take("DELETE", functools.partial(self._delete, month))
            self._take("VACUUM", lambda: self._plain.execute_sql("VACUUM audit_logs"))
            self._take("DETACH, DROP", functools.partial(self._drop, month))
        return {step: min(taken) for step, taken in self._times.items()}

    def _take(self, step: str, work: Callable[[], Any]) -> None:
        began = time.perf_counter()
        work()
        self._times.setdefault(step, []).append(time.perf_counter() - began)

    def _delete(self, month: Month) -> None:
        self._plain.execute_sql(
            "DELETE FROM audit_logs WHERE created_at >= %s AND created_at < %s",
            (month.start, month.end),
        )

    def _drop(self, month: Month) -> None:
        piece = f"audit_logs_{month}"
        self._monthly.execute_sql(f"ALTER TABLE audit_logs DETACH PARTITION {piece}")
        self._monthly.execute_sql(f"DROP TABLE {piece}")


def removals(plain: Any, monthly: Any, business: Business) -> list[tuple[Any, ...]]:
    """Return the cases, each with seconds and ways before and after."""
    taken = Removal(plain, monthly, business).seconds()
    drop = taken["DETACH, DROP"]
    found = []
    for steps in (("DELETE",), ("DELETE", "VACUUM")):
        text = f"remove a month: {' and '.join(steps)}, now DETACH and DROP"
        seconds = {"before": sum(taken[step] for step in steps), "after": drop}
        ways = {"before": ", ".join(steps), "after": "DETACH, DROP"}
        found.append((Case(ARCHIVE, text, None), seconds, ways))
    return found
