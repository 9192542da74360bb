"""Adding partitions to the trail, and taking them out of it."""

import contextlib
from collections.abc import Iterator

import peewee

from cmcore.engines.catalog import table_exists
from cmcore.engines.ddl import literal
from cmcore.engines.introspection import rows, run
from cmcore.engines.partitioning import can_partition, is_partitioned
from cmcore.engines.session import connected
from cmcore.errors import ConfigurationError, MigrationError, PendingMigrationsError
from cmcore.layout import quoted
from cmcore.partitions.months import Month
from cmcore.schema import history
from cmcore.schema.patience import BRIEFLY, attempt

TRAIL = "audit_logs"
DEFAULT = "audit_logs_default"
MONTHS_AHEAD = 3
_KEY = int.from_bytes(b"cmpiece")
_WHAT = "Partitions"

# The same for Python and for whoever calls it in SQL, from pg_cron for example. A table
# is made beside the trail and then attached, which lets everybody go on reading and
# writing; only the default partition, and the tables that entries refer to, are locked
# for a moment, and only if there is something to do.
FUNCTION = """\
CREATE OR REPLACE FUNCTION {schema}create_audit_log_partition(
    months integer DEFAULT {months},
    first_month timestamptz DEFAULT now(),
    dry_run boolean DEFAULT false
) RETURNS SETOF text
LANGUAGE plpgsql
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET search_path FROM CURRENT
AS $body$
DECLARE
    trail regclass := 'audit_logs';
    catch_all regclass;
    referred text;
    place text;
    owner text;
    own_columns text;
    wanted timestamptz[];
    piece text;
    since timestamptz;
    until timestamptz;
BEGIN
    SELECT quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner))
        INTO place, owner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = trail;
    SELECT NULLIF(partdefid, 0)::regclass INTO catch_all
        FROM pg_partitioned_table WHERE partrelid = trail;
    IF NOT FOUND THEN
        RAISE 'audit_logs is not partitioned. Run cmcore partition convert first.';
    END IF;
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO own_columns
        FROM pg_attribute
        WHERE attrelid = trail AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    SELECT string_agg(DISTINCT confrelid::regclass::text, ', ') INTO referred
        FROM pg_constraint WHERE conrelid = trail AND contype = 'f';
    IF NOT dry_run THEN
        PERFORM pg_advisory_xact_lock({key});
    END IF;
    wanted := ARRAY(SELECT date_trunc('month', first_month) + make_interval(months => n)
        FROM generate_series(0, months) AS n);
    IF catch_all IS NOT NULL THEN
        EXECUTE format('SELECT $1 || ARRAY(SELECT DISTINCT'
            ' date_trunc(''month'', created_at) FROM %s)', catch_all)
            INTO wanted USING wanted;
    END IF;
    FOR since IN
        SELECT DISTINCT starts FROM unnest(wanted) AS starts WHERE NOT EXISTS (
            SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
                regexp_match(
                    replace(replace(pg_get_expr(c.relpartbound, c.oid),
                        'MINVALUE', '''-infinity'''), 'MAXVALUE', '''infinity'''),
                    'FROM \\(''(.+)''\\) TO \\(''(.+)''\\)') AS bounds
            WHERE i.inhparent = trail AND bounds[1]::timestamptz < starts + '1 month'
                AND bounds[2]::timestamptz > starts)
        ORDER BY starts
    LOOP
        until := since + '1 month';
        piece := 'audit_logs_' || to_char(since, 'YYYY_MM');
        RETURN NEXT piece;
        CONTINUE WHEN dry_run;
        IF referred IS NOT NULL THEN
            EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', referred);
        END IF;
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', trail);
        EXECUTE format('CREATE TABLE %s.%I (LIKE %s INCLUDING ALL)', place, piece, trail);
        EXECUTE format('ALTER TABLE %s.%I OWNER TO %s', place, piece, owner);
        IF catch_all IS NOT NULL THEN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', catch_all);
            EXECUTE format('WITH moved AS (DELETE FROM %s WHERE created_at >= %L'
                ' AND created_at < %L RETURNING %s) INSERT INTO %s.%I (%4$s)'
                ' SELECT %4$s FROM moved', catch_all, since, until, own_columns, place, piece);
        END IF;
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s.%I FOR VALUES FROM (%L) TO (%L)',
            trail, place, piece, since, until);
    END LOOP;
END
$body$;
"""  # noqa: E501


def ensure(
    db: peewee.Database | peewee.Proxy,
    months: int = MONTHS_AHEAD,
    *,
    dry_run: bool = False,
) -> list[str]:
    """Add the partitions of this month and the next ones that are not there yet.

    What lies in the default partition moves into partitions of its months. Safe to run
    at any time, beside writers and beside itself.

    Args:
        db: The database; connected for the length of the call if it is not.
        months: How many months after the current one.
        dry_run: Only tell; nothing is changed.

    Returns:
        The names of the new partitions, the oldest first.

    Raises:
        ConfigurationError: The trail is not partitioned, or less than one month.
        PendingMigrationsError: There is no trail.
        MigrationError: A transaction is open, others kept a table locked, or something
            else has the name of a partition. Nothing was changed.
    """
    if type(months) is not int or months < 1:
        msg = f"months is {months!r}: how many months ahead, 1 or more?"
        raise ConfigurationError(msg)
    with connected(db, _WHAT) as database:
        require_partitions(database)
        return add_months(database, months, dry_run=dry_run)


def add_months(
    db: peewee.Database,
    months: int,
    *,
    dry_run: bool = False,
    first: Month | None = None,
) -> list[str]:
    """Add missing partitions, as `ensure` does; return their names.

    Raises:
        MigrationError: Others kept a table locked, or something else has the name of a
            partition, perhaps a month that a killed retention has detached.
    """
    with refusing("No partition was added"):
        return attempt(db, BRIEFLY, lambda: new_months(db, months, dry_run, first))


def add_month(db: peewee.Database, month: Month) -> list[str]:
    """Add the partition of one month, unless there is one that takes its rows."""
    return add_months(db, 0, first=month)


def detach(db: peewee.Database, piece: str) -> None:
    """Make a partition a table of its own, which keeps its rows."""
    sql = f"ALTER TABLE {quoted(TRAIL)} DETACH PARTITION {quoted(piece)}"
    attempt(db, BRIEFLY, lambda: run(db, sql))


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Say, when the database refuses something, what that means for the trail."""
    try:
        yield
    except peewee.DatabaseError as error:
        msg = f"{what}: {str(error).splitlines()[0]}."
        raise MigrationError(msg) from error


def require_partitions(db: peewee.Database) -> None:
    """Refuse where the trail has no partitions.

    Raises:
        ConfigurationError: It has none; the text says what to do.
        PendingMigrationsError: There is no trail.
    """
    require_engine(db)
    require_trail(db)
    if not is_partitioned(db, TRAIL):
        msg = (
            "audit_logs is not partitioned. Run `cmcore partition convert`, or call "
            "cmcore.partitions.convert(db), first."
        )
        raise ConfigurationError(msg)


def require_trail(db: peewee.Database) -> None:
    """Refuse where there is no table of the trail, whatever scripts have seen it.

    Raises:
        PendingMigrationsError: There is none.
    """
    if not table_exists(db, TRAIL):
        raise PendingMigrationsError(tuple(history.inspect(db).pending), TRAIL)


def require_engine(db: peewee.Database) -> None:
    """Refuse where the engine has no partitions.

    Raises:
        ConfigurationError: It has none; the text says what to do instead.
    """
    if not can_partition(db):
        msg = (
            "SQLite has no partitions, and needs none: `cmcore partition retain`, or "
            "cmcore.partitions.retain(db, archive=...), takes old months out of the "
            "table as it is. Partitions are for PostgreSQL."
        )
        raise ConfigurationError(msg)


def function(schema: str = "") -> str:
    """Return the SQL that installs the function, in a schema such as `pg_temp.`."""
    known = {"schema": schema, "months": MONTHS_AHEAD, "key": _KEY}
    text = FUNCTION
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def new_months(
    db: peewee.Database, months: int, dry_run: bool, first: Month | None = None
) -> list[str]:
    """Add missing partitions in the transaction that is open; return their names."""
    run(db, function("pg_temp."))
    start = "now()" if first is None else literal(first.start.isoformat())
    found = rows(
        db,
        "SELECT pg_temp.create_audit_log_partition"
        f"({int(months)}, {start}, {'true' if dry_run else 'false'})",
    )
    signature = "(integer, timestamptz, boolean)"
    run(db, f"DROP FUNCTION pg_temp.create_audit_log_partition{signature}")
    return [name for (name,) in found]
