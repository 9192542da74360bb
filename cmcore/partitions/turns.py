"""One process at a time moves entries between a trail and its archives."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import peewee

from cmcore.engines.session import turn
from cmcore.errors import ArchiveError
from cmcore.partitions.files import alone_in

_KEY = int.from_bytes(b"cmarchiv")
_TAKEN = (
    "Another process takes entries out of this trail or puts them back, so nothing was "
    "changed. Run again when it has ended."
)


@contextlib.contextmanager
def alone_with(db: peewee.Database) -> Iterator[None]:
    """Keep others away from the archives of a database.

    Raises:
        ArchiveError: Another one is at work.
    """
    with turn(db, _KEY) as is_ours:
        if not is_ours:
            raise ArchiveError(_TAKEN)
        yield


@contextlib.contextmanager
def alone_with_files(folder: Path) -> Iterator[None]:
    """Keep others from writing into a folder, whatever their database.

    Raises:
        ArchiveError: Another one is at work.
    """
    with alone_in(folder) as is_ours:
        if not is_ours:
            raise ArchiveError(_TAKEN)
        yield
