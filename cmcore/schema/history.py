"""Which scripts a database has seen, told without the stock runner."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import peewee

from cmcore.engines.catalog import columns, rows, table_exists
from cmcore.layout import quoted

Kind = Literal["full", "trail", "none"]

FULL_HISTORY = "cmcore_migrations"
TRAIL_HISTORY = "cmcore_trail_migrations"

_SCRIPT = re.compile(r"\d{3}_[a-z0-9_]+\.py")
_PACKAGE = Path(__file__).parent.parent


class SchemaState(NamedTuple):
    """What a database has of cmcore's schema.

    Attributes:
        kind: "full" for all tables, "trail" for only the trail, "none".
        pending: The scripts still to run, in their order; for "none" all of the full
            schema. Empty too where the tables were made from the models.
    """

    kind: Kind
    pending: tuple[str, ...]


def migrations_path(*, trail_only: bool = False) -> Path:
    """Return the folder of the packaged scripts, for the stock tool."""
    return _PACKAGE / ("trail_migrations" if trail_only else "migrations")


def scripts(*, trail_only: bool = False) -> list[str]:
    """Return the names of the packaged scripts in their order."""
    folder = migrations_path(trail_only=trail_only)
    return sorted(p.stem for p in folder.iterdir() if _SCRIPT.fullmatch(p.name))


def load(script: str, *, trail_only: bool = False) -> Callable[..., None]:
    """Return the function of a packaged script that migrates."""
    path = migrations_path(trail_only=trail_only) / f"{script}.py"
    function: Callable[..., None] = runpy.run_path(str(path))["migrate"]
    return function


def applied(db: peewee.Database, history: str) -> list[str]:
    """Return the names in a history table in the order of running; none without it."""
    if not table_exists(db, history):
        return []
    return [n for (n,) in rows(db, f"SELECT name FROM {quoted(history)} ORDER BY id")]


def inspect(db: peewee.Database) -> SchemaState:
    """Look at a database; changes nothing, logs nothing, aborts no transaction."""
    for kind, history in (("full", FULL_HISTORY), ("trail", TRAIL_HISTORY)):
        done = applied(db, history)
        if done:
            packaged = scripts(trail_only=kind == "trail")
            missing = tuple(name for name in packaged if name not in done)
            return SchemaState("full" if kind == "full" else "trail", missing)
    return _made_from_models(db) or SchemaState("none", tuple(scripts()))


def _made_from_models(db: peewee.Database) -> SchemaState | None:
    if any(column.name == "totp_secret" for column in columns(db, "users")):
        return SchemaState("full", ())
    if table_exists(db, "audit_logs"):
        return SchemaState("trail", ())
    return None
