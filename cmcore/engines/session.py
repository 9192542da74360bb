"""A connection for the length of a call that needs transactions of its own."""

import contextlib
from collections.abc import Iterator
from typing import Any

import peewee

from cmcore.engines.binding import engine_of
from cmcore.engines.introspection import is_in_memory
from cmcore.errors import MigrationError


@contextlib.contextmanager
def connected(
    db: peewee.Database | peewee.Proxy, what: str, *, in_transaction: bool = False
) -> Iterator[peewee.Database]:
    """Yield the database, connected; one that was not is closed again.

    Args:
        db: The database, or a proxy of it.
        what: Who needs transactions of their own, in the plural, for the error.
        in_transaction: Whether a transaction may be open.

    Raises:
        MigrationError: A transaction is open.
    """
    holder: Any = db
    database: peewee.Database = holder.obj if isinstance(db, peewee.Proxy) else db
    opened = database.connect(reuse_if_open=True)
    try:
        engine = engine_of(database)
        is_open = engine is not None and engine.in_transaction(database)
        if is_open and not in_transaction:
            msg = (
                f"{what} need transactions of their own, and one is open. Call this "
                "outside db.atomic() and `with db:`; nothing was changed."
            )
            raise MigrationError(msg)
        yield database
    finally:
        if opened and not is_in_memory(database):
            database.close()
