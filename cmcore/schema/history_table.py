"""The history table, made by one process at a time.

The stock command line makes it before it reads a script, and PostgreSQL lets two
processes collide even in CREATE TABLE IF NOT EXISTS.
"""

from typing import Any

import peewee

from cmcore.engines.catalog import table_exists
from cmcore.schema.guard import begin_locked


class _MadeOnce(peewee.SchemaManager):
    """Creates a table under the lock of the migrations, if it is not there."""

    def create_all(self, safe: bool = True, **options: Any) -> None:
        """Wait for other runners only where there is something to create."""
        if not table_exists(self.database, self.model._meta.table_name):
            with begin_locked(self.database):
                super().create_all(safe, **options)


def make_once(model: Any) -> None:
    """Let the runners of several processes create a history table at once."""
    model._schema = _MadeOnce(model)  # noqa: SLF001 - the stock runner calls it
