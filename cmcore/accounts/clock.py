"""What time it is for locks, codes and enrolments: Python's clock, which tests set."""

import datetime


def now() -> datetime.datetime:
    """Return the moment in UTC; the class is looked up anew with every call."""
    return datetime.datetime.now(datetime.UTC)
