"""An index through which parts of names, addresses and numbers of customers are found.

It needs an extension of PostgreSQL, so that no script makes it. Scripts and rollbacks
leave it alone, and it goes with the table.
"""

import peewee

from cmcore.engines.catalog import table_exists, taken_names
from cmcore.engines.failures import first_line
from cmcore.engines.introspection import is_sqlite, rows, run
from cmcore.engines.session import connected
from cmcore.errors import ConfigurationError, MigrationError, PendingMigrationsError
from cmcore.layout import quoted
from cmcore.schema import history, present, tables
from cmcore.schema.columns import NewIndex
from cmcore.schema.online import build, in_turn
from cmcore.schema.patience import BRIEFLY, attempt

NAME = "idx_customers_search"
TABLE = "customers"
COLUMNS = ("name", "email", "phone")
EXTENSION = "pg_trgm"
_WHAT = "Search indexes"
_EXTENSION = f"Create the extension {EXTENSION}."
_INDEX = f"Build {NAME} on {TABLE} ({', '.join(COLUMNS)}), beside writers."
_DROP = f"Drop {NAME}."


def create(db: peewee.Database | peewee.Proxy, *, dry_run: bool = False) -> list[str]:
    """Build the index while others write; one that a failed build left is built anew.

    Args:
        db: The database; connected for the length of the call if it is not.
        dry_run: Only tell; nothing is changed.

    Returns:
        What was done, or would be, in sentences; none if it is there already.

    Raises:
        ConfigurationError: The engine has no such index, the server lacks the
            extension, or the role may not add it.
        PendingMigrationsError: There are no customers of cmcore.
        MigrationError: A transaction is open, something else has the name, or the
            build failed; no half of it stays.
    """
    with connected(db, _WHAT) as database:
        _require_customers(database)
        with in_turn(database):
            operators = _operators(database)
            if operators and present.has_index(database, _index(operators)):
                return []
            _refuse_taken(database, operators)
            if operators is None:
                _require_extension(database)
            if not dry_run:
                _build(database, operators or _add_extension(database))
    return [_INDEX] if operators else [_EXTENSION, _INDEX]


def drop(db: peewee.Database | peewee.Proxy, *, dry_run: bool = False) -> list[str]:
    """Drop the index; the extension stays, which others may use.

    Args:
        db: The database; connected for the length of the call if it is not.
        dry_run: Only tell; nothing is changed.

    Returns:
        What was done, or would be, in sentences; none if it is not there.

    Raises:
        ConfigurationError: The engine has no such index.
        PendingMigrationsError: There are no customers of cmcore.
        MigrationError: A transaction is open, something else has the name, or others
            kept the table locked.
    """
    with connected(db, _WHAT) as database:
        _require_customers(database)
        with in_turn(database):
            operators = _operators(database)
            _refuse_taken(database, operators)
            if not taken_names(database, NAME):
                return []
            if not dry_run:
                sql = f"DROP INDEX {quoted(NAME)}"
                attempt(database, BRIEFLY, lambda: run(database, sql))
    return [_DROP]


def _index(operators: str) -> NewIndex:
    return NewIndex(NAME, TABLE, COLUMNS, method="gin", operators=operators)


def _require_customers(db: peewee.Database) -> None:
    if is_sqlite(db):
        msg = (
            "SQLite has no index for parts of words: contains() reads all customers "
            "there. Search by a whole e-mail address, telephone number or tax id, "
            "which have indexes, or keep the words in a table of SQLite's FTS5."
        )
        raise ConfigurationError(msg)
    if not table_exists(db, TABLE):
        kind, pending = history.inspect(db)
        raise PendingMigrationsError(pending, TABLE, is_trail=kind == "trail")


def _refuse_taken(db: peewee.Database, operators: str | None) -> None:
    """Refuse if something else has the name; a build that failed may be there."""
    index = _index(operators or "")
    if not any(present.has_index(db, index, is_valid=v) for v in (True, False)):
        tables.refuse_taken(db, NAME)


def _build(db: peewee.Database, operators: str) -> None:
    try:
        build(db, _index(operators))
    except peewee.DatabaseError as error:
        msg = f"{NAME} was not built: {first_line(error)}"
        raise MigrationError(msg) from error


def _operators(db: peewee.Database) -> str | None:
    """Return the operator class as the catalog writes it, None without extension."""
    found = rows(
        db,
        "SELECT CASE WHEN pg_opclass_is_visible(o.oid) THEN ''"
        " ELSE quote_ident(n.nspname) || '.' END || quote_ident(o.opcname)"
        " FROM pg_extension e JOIN pg_opclass o ON o.opcnamespace = e.extnamespace"
        " JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = ? AND o.opcname = 'gin_trgm_ops'",
        (EXTENSION,),
    )
    return str(found[0][0]) if found else None


def _require_extension(db: peewee.Database) -> None:
    available = "SELECT 1 FROM pg_available_extensions WHERE name = ?"
    if not rows(db, available, (EXTENSION,)):
        msg = (
            f"The server has no extension {EXTENSION}, which is one of PostgreSQL's "
            "contrib modules. Install them where the server runs, from the package "
            "postgresql-contrib for example, and run again."
        )
        raise ConfigurationError(msg)


def _add_extension(db: peewee.Database) -> str:
    """Add the extension to the database, and return its operator class."""
    try:
        run(db, f"CREATE EXTENSION IF NOT EXISTS {EXTENSION}")
    except peewee.ProgrammingError as error:
        msg = (
            f"This role may not add the extension {EXTENSION}: {first_line(error)}. "
            f"Let the owner of the database run `CREATE EXTENSION {EXTENSION}` in it, "
            "and run again."
        )
        raise ConfigurationError(msg) from error
    return str(_operators(db))
