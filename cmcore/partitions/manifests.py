"""Manifests: what a file of an archive has to be, in a file beside it."""

import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from cmcore.errors import ArchiveError
from cmcore.partitions.months import Month

FORMAT = 1
ENDING = ".jsonl.gz"
_MANIFEST_ENDING = ".manifest.json"


class Manifest(NamedTuple):
    """What stands beside a file.

    Attributes:
        format: The number of the format of file and manifest.
        rows: How many entries the file has.
        first_id: The id of the first one; they are in order of `created_at` and id.
        last_id: The id of the last one.
        start: The first moment of the month.
        end: The first moment after it.
        sha256: The digest of the file as it is, compressed.
    """

    format: int
    rows: int
    first_id: str
    last_id: str
    start: str
    end: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest of a file.

        Raises:
            ArchiveError: There is none, or it is none of ours.
        """
        place = manifest_path(path)
        try:
            manifest = cls(**json.loads(place.read_bytes()))
            manifest.check()
        except FileNotFoundError as error:
            msg = (
                f"{path} has no manifest. {place.name} belongs beside it; without it "
                "nobody can tell whether the file is whole."
            )
            raise ArchiveError(msg) from error
        except OSError as error:
            msg = f"{place} cannot be read: {error.strerror}."
            raise ArchiveError(msg) from error
        except TypeError as error:
            msg = f"{place} is not a manifest of cmcore: it has other fields."
            raise ArchiveError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = f"{place} is not a manifest of cmcore: {error}."
            raise ArchiveError(msg) from error
        if manifest.format != FORMAT:
            msg = (
                f"{place} has format {manifest.format!r}, and this version of cmcore "
                f"knows {FORMAT} alone. Use a newer version."
            )
            raise ArchiveError(msg)
        return manifest

    def check(self) -> None:
        """Raise ValueError if it cannot be the manifest of a month."""
        kinds = type(self).__annotations__
        wrong = [n for n, v in self._asdict().items() if type(v) is not kinds[n]]
        if wrong:
            msg = f"{', '.join(wrong)}: of another type"
            raise ValueError(msg)
        bounds = datetime.fromisoformat(self.start), datetime.fromisoformat(self.end)
        if bounds != (self.month.start, self.month.end):
            msg = f"{self.start} to {self.end} is no month"
            raise ValueError(msg)

    @property
    def month(self) -> Month:
        """The month whose entries the file has."""
        return Month.of(datetime.fromisoformat(self.start))

    @property
    def text(self) -> str:
        """The manifest as it is written."""
        return json.dumps(self._asdict(), indent=2, ensure_ascii=False) + "\n"


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a file is."""
    return path.with_name(path.name.removesuffix(ENDING) + _MANIFEST_ENDING)
