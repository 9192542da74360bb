"""Names of peewee which its type stubs do not show: its wrapper of errors and so on."""

from typing import Any

import peewee

internal: Any = peewee
"""The module peewee itself; what is read through it has no types."""
