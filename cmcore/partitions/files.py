"""Files that are whole or not there at all, whenever the machine stops."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where a folder cannot be locked
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def kept(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that only its owner may read; it is on the disk at the end."""
    path.unlink(missing_ok=True)
    try:
        with open(path, "xb", opener=_for_its_owner) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def put(text: str, path: Path) -> None:
    """Write a file as a whole, in the place of one that may be there."""
    draft = partial(path)
    with kept(draft) as file:
        file.write(text.encode())
    draft.replace(path)


def partial(path: Path) -> Path:
    """Return the name of a file while it is written."""
    return path.with_name(f"{path.name}.partial")


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may look into, unless it is there."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    with _opened(folder) as descriptor:
        if descriptor is not None:
            os.fsync(descriptor)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Yield whether nobody else is in such a block for the same folder; no waiting."""
    with _opened(folder) as descriptor:
        if descriptor is None or fcntl is None:
            yield True
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Yield a descriptor of a folder; None where the system has no such thing."""
    if os.name == "nt":
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
