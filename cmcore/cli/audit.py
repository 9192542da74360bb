"""`audit list` and `audit show`: reading the trail."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import peewee

from cmcore.cli.connection import with_database
from cmcore.cli.output import note, show_json, show_table
from cmcore.cli.program import Failure
from cmcore.models.audit_log import AuditLog
from cmcore.trail import Search, entry_document, find_entries

NOTHING = "-"

# Changed by every update, and told by the entry's own time and user.
STAMPS = {"updated_at", "updated_by"}

# Changed by every delete and restore.
MARKS = {"deleted_at", "deleted_by"}


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{name!r} is no time zone, as Europe/Paris is."
        raise click.BadParameter(message) from None


def moment_of(text: str) -> datetime:
    """Return a date or a time in ISO 8601; naive where it names no zone."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is no date or time, as 2026-01-31T09:00 is."
        raise click.BadParameter(message) from None


zone_option = click.option(
    "--tz",
    "zone",
    metavar="ZONE",
    type=zone_named,
    default="UTC",
    show_default=True,
    help="The zone of times, given and shown, as Europe/Paris.",
)


@click.group()
def audit() -> None:
    """Read the audit trail."""


@audit.command("list")
@click.option("--user", metavar="ID|EMAIL", help="Only what this user did.")
@click.option("--resource", metavar="TABLE[/KEY]", help="Only this table, or row.")
@click.option(
    "--action", metavar="ACTION", help="Only this action, as create, update, delete."
)
@click.option(
    "--since", metavar="TIME", type=moment_of, help="From this time on, in ISO 8601."
)
@click.option(
    "--until", metavar="TIME", type=moment_of, help="Before this time, in ISO 8601."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many entries at most.",
)
@zone_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document a line.")
@with_database()
def list_entries(
    db: peewee.Database, *, zone: tzinfo, as_json: bool, limit: int, **wanted: Any
) -> None:
    """List entries, newest first."""
    since, until = (_in_utc(wanted.pop(name), zone) for name in ("since", "until"))
    search = Search(**wanted, since=since, until=until, limit=limit + 1)
    found = list(find_entries(search))
    for entry in found[:limit] if as_json else ():
        show_json(entry_document(entry, zone))
    if found and not as_json:
        show_table(
            (f"Time, {zone}", "Action", "User", "Resource", "What", "Id"),
            [_row(entry, zone) for entry in found[:limit]],
            stacks=(2, 4),
        )
    elif not as_json:
        note("No entries.")
    if len(found) > limit:
        note(f"There are more than {limit}. Ask for more with --limit.")


@audit.command("show")
@click.argument("entry_id", metavar="ID")
@zone_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@with_database()
def show_entry(
    db: peewee.Database, *, entry_id: str, zone: tzinfo, as_json: bool
) -> None:
    """Show all of one entry: who, from where, why, and each value before and after."""
    entry = AuditLog.select().where(AuditLog.id == entry_id).first()
    if entry is None:
        message = f"There is no entry {entry_id}. `cmcore audit list` shows ids."
        raise Failure(message)
    document = entry_document(entry, zone)
    if as_json:
        show_json(document)
        return
    values = {name: document.pop(name) or {} for name in ("old_values", "new_values")}
    show_table(
        ("Column", "Value"),
        [(name, _text(v)) for name, v in document.items() if v is not None],
    )
    if any(values.values()):
        show_table(("Field", "Before", "After"), _changes(*values.values()))


def _in_utc(moment: datetime | None, zone: tzinfo) -> datetime | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = f"{moment} is not in the years 1 to 9999 in UTC."
        raise click.BadParameter(message) from None


def _row(entry: Any, zone: tzinfo) -> tuple[str, ...]:
    key = "" if entry.resource_id is None else f"/{entry.resource_id}"
    return (
        f"{entry.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        entry.action,
        entry.user_email or entry.user_id or "",
        f"{entry.resource_type}{key}",
        _what(entry),
        entry.id,
    )


def _what(entry: Any) -> str:
    """Say what an update changed, and of all other entries what their writer said."""
    old, new = entry.old_values, entry.new_values
    changes = _changes(old, new) if old and new else []
    told = STAMPS | (MARKS if entry.action in {"delete", "restore"} else set())
    what = [f"{name}: {old} → {new}" for name, old, new in changes if name not in told]
    return ", ".join(what) or str(entry.description)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, ...]]:
    names = list(dict.fromkeys([*old, *new]))
    return [
        (name, *(_text(side[name]) if name in side else "" for side in (old, new)))
        for name in names
    ]


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
