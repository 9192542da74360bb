"""Moments in UTC: as they go to a driver, and as they come from a text."""

from datetime import UTC, datetime
from sqlite3 import PrepareProtocol
from typing import Any


class Moment(datetime):
    """A datetime in UTC as it goes to a driver.

    PostgreSQL's drivers take it for the datetime that it is. sqlite3 asks it to
    conform, and it becomes text of one length for all moments, which sorts.
    """

    def __str__(self) -> str:
        return self.isoformat(" ", "microseconds")

    def __conform__(self, protocol: Any) -> str | None:
        return str(self) if protocol is PrepareProtocol else None


def parsed(text: str) -> datetime | None:
    """Return the datetime that a text in ISO format is, or None."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC."""
    if moment.tzinfo is UTC:
        return moment
    return moment.astimezone(UTC)


def turned(text: str) -> str:
    """Return a moment's text with T for the space before the time, and vice versa.

    SQLite's texts have the space, ISO 8601 has the T, and a text that is turned twice
    is what it was, whatever it was.
    """
    separator = {" ": "T", "T": " "}.get(text[10:11])
    return text if separator is None else text[:10] + separator + text[11:]
