"""Old months of the trail go: row by row, and as partitions."""

import contextlib
import functools
import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reference_cases import ARCHIVE, Case
from reference_data import Business

import cmcore
from cmcore.partitions.months import MONTHS_OF_A_YEAR, Month

ROUNDS = 3
OF_MONTH = "created_at >= %s AND created_at < %s"
BY_HAND = ("COPY to a .gz file", "DELETE", "VACUUM")


class Removal:
    """Removes the oldest months from a plain trail, and from one of months."""

    def __init__(self, plain: Any, monthly: Any, business: Business) -> None:
        """Take two databases with the same entries."""
        self._plain = plain
        self._monthly = monthly
        self._month = Month.of(business.start)
        self._now = Month.of(business.end)
        self._times: dict[str, list[float]] = {}

    def seconds(self) -> dict[str, float]:
        """Remove some months in turn, and return the best time of each step."""
        self._delete()
        self._drop()  # the first month is not whole, and none of those that count
        for _ in range(ROUNDS):
            self._next()
            self._take("DELETE", self._delete)
            self._take("VACUUM", self._vacuum)
            self._take("DETACH and DROP", self._drop)
        with tempfile.TemporaryDirectory(prefix="cmcore-") as folder:
            copy = functools.partial(self._copy, Path(folder) / "month.csv.gz")
            retain = functools.partial(self._retain, Path(folder))
            for _ in range(ROUNDS):
                self._next()
                self._take(BY_HAND[0], copy)
                self._delete()
                self._vacuum()
                self._take("retain", retain)
        return {step: min(taken) for step, taken in self._times.items()}

    def _next(self) -> None:
        self._month = self._month.shifted(1)

    def _take(self, step: str, work: Callable[[], Any]) -> None:
        began = time.perf_counter()
        work()
        self._times.setdefault(step, []).append(time.perf_counter() - began)

    def _delete(self) -> None:
        limits = (self._month.start, self._month.end)
        self._plain.execute_sql(f"DELETE FROM audit_logs WHERE {OF_MONTH}", limits)  # noqa: S608

    def _vacuum(self) -> None:
        self._plain.execute_sql("VACUUM audit_logs")

    def _drop(self) -> None:
        piece = f"audit_logs_{self._month}"
        self._monthly.execute_sql(f"ALTER TABLE audit_logs DETACH PARTITION {piece}")
        self._monthly.execute_sql(f"DROP TABLE {piece}")

    def _copy(self, path: Path) -> None:
        limits = (self._month.start, self._month.end)
        with contextlib.closing(self._plain.cursor()) as cursor:
            entries = f"SELECT * FROM audit_logs WHERE {OF_MONTH}"  # noqa: S608
            sql = cursor.mogrify(f"COPY ({entries}) TO STDOUT CSV", limits)
            with gzip.open(path, "wb") as file:
                cursor.copy_expert(sql, file)

    def _retain(self, folder: Path) -> None:
        years, months = (a - b for a, b in zip(self._now, self._month, strict=True))
        online = years * MONTHS_OF_A_YEAR + months
        (done,) = cmcore.partitions.retain(self._monthly, online, folder).months
        assert done.month == str(self._month)  # noqa: S101 - or it is another that counts


def removals(plain: Any, monthly: Any, business: Business) -> list[tuple[Any, ...]]:
    """Return the cases, each with seconds and ways before and after."""
    taken = Removal(plain, monthly, business).seconds()
    found = []
    for text, before, after in (
        ("remove a month", ("DELETE",), "DETACH and DROP"),
        ("remove a month, VACUUM included", ("DELETE", "VACUUM"), "DETACH and DROP"),
        ("archive a month", BY_HAND, "retain"),
    ):
        seconds = {"before": sum(taken[s] for s in before), "after": taken[after]}
        ways = {"before": ", ".join(before), "after": after}
        found.append((Case(ARCHIVE, text, None), seconds, ways))
    return found
