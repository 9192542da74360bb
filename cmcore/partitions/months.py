"""Months in UTC, the unit in which the trail is cut."""

import re
from datetime import UTC, datetime
from typing import NamedTuple, Self

MONTHS_OF_A_YEAR = 12
_NAME = re.compile(r"(?!0000)(\d{4})_(0[1-9]|1[0-2])", re.ASCII)


class Month(NamedTuple):
    """A calendar month in UTC; months sort by time.

    Attributes:
        year: From 1 to 9999.
        month: From 1 to 12.
    """

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the month of an aware moment, in UTC."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def named(cls, text: str | None) -> Self | None:
        """Return the month that a text like 2026_03 names; None if it names none."""
        match = _NAME.fullmatch(text or "")
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        """Return the month as it stands in the names of tables and files: 2026_03."""
        return f"{self.year:04}_{self.month:02}"

    def shifted(self, months: int) -> Self:
        """Return the month so many months later, or earlier if negative."""
        years, month = divmod(self.month - 1 + months, MONTHS_OF_A_YEAR)
        return type(self)(self.year + years, month + 1)

    @property
    def start(self) -> datetime:
        """Return the first moment of the month."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Return the first moment after the month."""
        return self.shifted(1).start
