"""What a rollback would forget of second factors."""

import peewee

from cmcore.engines.catalog import rows
from cmcore.errors import DataLossRefusedError
from cmcore.layout import quoted
from cmcore.schema.tables import ALLOW_DATA_LOSS, lock, may_lose_data


def refuse_to_forget(db: peewee.Database, codes: str) -> None:
    """Refuse while a second factor is on, or there are recovery codes.

    Used codes and used steps would be forgotten as well, and could be used again. Codes
    that may go are deleted, so that their table can be dropped.

    Args:
        db: The database.
        codes: The table of the recovery codes.
    """
    lock(db, "users", codes)
    users = _count(db, "SELECT count(*) FROM users WHERE is_2fa_enabled")
    kept = _count(db, f"SELECT count(*) FROM {quoted(codes)}")
    if (users or kept) and not may_lose_data():
        msg = (
            f"{users} user(s) have a second factor, and {codes} has {kept} row(s): "
            "recovery codes would be lost, and codes used already would work again. "
            f"Set {ALLOW_DATA_LOSS}=1 if that may be."
        )
        raise DataLossRefusedError(msg)


def _count(db: peewee.Database, sql: str) -> int:
    return int(rows(db, sql)[0][0])
