"""A sink in one file: what is committed is appended to a file, one JSON line each.

It is best effort. A line is never there for a change that was rolled back, and never
twice; but it is missing when the process dies between COMMIT and the line, when the
disk is full (the log says so), and under raw `begin()`. The table `audit_logs` is the
truth; a reader of the file that has to miss nothing compares with it by id.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import peewee

import cmcore
from cmcore.models import AuditLog


class JsonLines:
    """Appends committed entries to a file; several processes may share it."""

    def __init__(self, path: Path) -> None:
        """Take the file, which need not be there."""
        self._path = path

    @cmcore.hookimpl
    def cmcore_after_commit(self, entries: Sequence[AuditLog]) -> None:
        """Write all lines of one transaction at once."""
        lines = "".join(f"{json.dumps(line_of(entry))}\n" for entry in entries)
        with self._path.open("ab", buffering=0) as file:
            file.write(lines.encode())


def line_of(entry: AuditLog) -> dict[str, object]:
    """Return what is told of an entry; its id tells repeated lines apart."""
    return {
        "id": entry.id,
        "at": entry.created_at.isoformat(),
        "user": entry.user_email or entry.user_id,
        "action": entry.action,
        "resource": f"{entry.resource_type}/{entry.resource_id}",
        "old": entry.old_values,
        "new": entry.new_values,
    }


class Parcel(cmcore.Model):
    """Something on its way."""

    city = peewee.CharField()


def main() -> None:
    """Write in a transaction of which a part is undone, then show the file."""
    db = cmcore.connect(":memory:")
    cmcore.migrate(db)
    db.create_tables([Parcel])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        cmcore.plugins.register(JsonLines(path))
        with db.atomic():
            parcel = Parcel.create(city="Lyon")
            with db.atomic() as savepoint:
                Parcel.create(city="nowhere")
                savepoint.rollback()
            parcel.city = "Paris"
            parcel.save()
            print("before COMMIT:", path.exists())
        for line in path.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            print(told["action"], told["resource"], told["new"], "by", told["user"])
        cmcore.plugins.unregister("JsonLines")
    db.close()


if __name__ == "__main__":
    main()
