"""What is wrong with a database, if anything: the work behind `cmcore doctor`."""

from typing import NamedTuple

import peewee

from cmcore.engines.health import Finding, examine_engine
from cmcore.hooks.manager import plugins
from cmcore.partitions.health import examine_partitions
from cmcore.schema import history
from cmcore.schema.promise import examine_schema

__all__ = ["Finding", "SchemaStatus", "examine", "schema_status"]


class SchemaStatus(NamedTuple):
    """Which scripts a database has seen, and which it has not, in their order."""

    applied: list[str]
    pending: list[str]


def schema_status(db: peewee.Database) -> SchemaStatus:
    """Compare a connected database with the packaged scripts; changes nothing."""
    state = history.inspect(db)
    log = history.TRAIL_HISTORY if state.kind == "trail" else history.FULL_HISTORY
    return SchemaStatus(history.applied(db, log), list(state.pending))


def examine(db: peewee.Database) -> list[Finding]:
    """Look at a connected database: engine, settings, integrity, tables, plugins.

    Changes nothing. On a large SQLite file the look at its integrity takes a while.
    """
    scripts = schema_status(db).pending
    migrations = Finding(
        "migrations",
        not scripts,
        f"pending: {', '.join(scripts)}. Run `cmcore migrate`."
        if scripts
        else "none pending",
    )
    return [
        *examine_engine(db),
        migrations,
        *examine_schema(db),
        *examine_partitions(db),
        *_broken_plugins(),
    ]


def _broken_plugins() -> list[Finding]:
    """Return one finding for each broken plugin, or that there is none."""
    broken = [info for info in plugins.list() if info.status == "error"]
    return [
        Finding("plugins", False, f"{info.name}: {info.error}") for info in broken
    ] or [Finding("plugins", True, "none broken")]
