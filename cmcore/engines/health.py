"""What a database can say about its own state, asked in each engine's words."""

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import peewee

from cmcore.engines.introspection import is_sqlite, rows
from cmcore.engines.partitioning import UNFINISHED


class Finding(NamedTuple):
    """The answer to one question about a database.

    Attributes:
        check: What was looked at, in a word or two.
        is_fine: Whether nothing has to be done.
        text: What was found, and what to do where it is not fine.
    """

    check: str
    is_fine: bool
    text: str


def missing_file(url: str) -> Path | None:
    """Return the file that a SQLite URL names, if there is none of that name."""
    name = url.partition("?")[0]
    if not name.startswith("sqlite:///") or is_without_file(url):
        return None
    path = Path(unquote(name.removeprefix("sqlite:///")))
    return None if path.exists() else path


def is_without_file(url: str) -> bool:
    """Tell whether a URL names a SQLite database that is gone when it is closed."""
    name = url.partition("?")[0]
    rest = name.removeprefix("sqlite://").removeprefix("/")
    is_file = name.startswith("sqlite://") or name == ":memory:"
    return is_file and unquote(rest) in {"", ":memory:"}


def examine_engine(db: peewee.Database) -> list[Finding]:
    """Ask the engine for its version, its settings, and what is broken; read only."""
    return _sqlite(db) if is_sqlite(db) else _postgresql(db)


def _sqlite(db: peewee.Database) -> list[Finding]:
    version = _value(db, "SELECT sqlite_version()")
    enforced = _value(db, "PRAGMA foreign_keys") == 1
    damage = [row[0] for row in rows(db, "PRAGMA integrity_check(5)")]
    return [
        Finding("engine", True, f"SQLite {version}, {db.database}"),
        Finding(
            "foreign keys",
            enforced,
            "enforced"
            if enforced
            else "PRAGMA foreign_keys is off. Open the database with cmcore.connect().",
        ),
        Finding("time zone", True, "times are stored in UTC"),
        Finding(
            "integrity",
            damage == ["ok"],
            "no damage"
            if damage == ["ok"]
            else f"{'; '.join(damage)}. Restore the file from a backup.",
        ),
        _listed("references", _orphans(db), "Correct or delete these rows."),
    ]


def _orphans(db: peewee.Database) -> list[str]:
    """Name rows whose foreign keys lead nowhere, counted by table."""
    counts: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in rows(db, "PRAGMA foreign_key_check"):
        counts[table, parent] = counts.get((table, parent), 0) + 1
    return [
        f"{table}: {count} {'row refers' if count == 1 else 'rows refer'} "
        f"to no row of {parent}"
        for (table, parent), count in sorted(counts.items())
    ]


def _postgresql(db: peewee.Database) -> list[Finding]:
    version = _value(db, "SHOW server_version")
    zone = _value(db, "SHOW TimeZone")
    role = _value(db, "SHOW session_replication_role")
    return [
        Finding("engine", True, f"PostgreSQL {version}, {db.database}"),
        Finding(
            "foreign keys",
            role == "origin",
            "enforced"
            if role == "origin"
            else f"session_replication_role is {role}. Set it to origin.",
        ),
        Finding(
            "time zone",
            zone in {"UTC", "Etc/UTC"},
            f"the session runs in {zone}"
            if zone in {"UTC", "Etc/UTC"}
            else f"the session runs in {zone}. Open it with cmcore.connect().",
        ),
        _listed(
            "constraints",
            [f"{table}: {name} is not validated" for table, name in _unchecked(db)],
            "ALTER TABLE … VALIDATE CONSTRAINT … checks the rows.",
        ),
        _listed(
            "indexes",
            [f"{table}: {name} is invalid" for table, name in _invalid_indexes(db)],
            "REINDEX INDEX CONCURRENTLY … rebuilds one.",
        ),
    ]


def _unchecked(db: peewee.Database) -> list[Any]:
    """Name constraints that existing rows may break; not that of a conversion."""
    return rows(
        db,
        "SELECT conrelid::regclass::text, conname FROM pg_constraint "
        "JOIN pg_namespace n ON n.oid = connamespace "
        "WHERE NOT convalidated AND nspname = ANY (current_schemas(false)) "
        "AND conname <> ? ORDER BY 1, 2",
        (UNFINISHED,),
    )


def _invalid_indexes(db: peewee.Database) -> list[Any]:
    """Name indexes that a failed CREATE INDEX CONCURRENTLY left behind."""
    return rows(
        db,
        "SELECT indrelid::regclass::text, relname FROM pg_index "
        "JOIN pg_class c ON c.oid = indexrelid "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE NOT indisvalid AND nspname = ANY (current_schemas(false)) "
        "ORDER BY 1, 2",
    )


def _listed(check: str, problems: list[str], cure: str) -> Finding:
    if not problems:
        return Finding(check, True, "all in order")
    return Finding(check, False, f"{'; '.join(problems)}. {cure}")


def _value(db: peewee.Database, sql: str) -> Any:
    return rows(db, sql)[0][0]
