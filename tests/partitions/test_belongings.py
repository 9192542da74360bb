"""Views, triggers, grants and indexes of others go over, or are named and refused."""

from collections.abc import Iterator
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.engines.catalog import rows
from cmcore.errors import MigrationError
from cmcore.keys import now
from cmcore.partitions import conversion, convert, revert
from cmcore.partitions.months import Month
from tests.partitions.tables import anatomy

pytestmark = pytest.mark.postgresql

both_ways = pytest.mark.usefixtures("way")
READER, OWNER = "cmcore_test_reader", "cmcore_test_owner"
LONG = "Mixed case, and as long as a name of 63 characters can be ..."
FUNCTION = """
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notes VALUES (TG_NAME, TG_OP);
    RETURN NULL;
END $$
"""


def sql(db: peewee.Database, *statements: str) -> None:
    """Execute statements."""
    for statement in statements:
        db.execute_sql(statement)


def record() -> None:
    """Write an entry."""
    cmcore.record("export", resource_type="reports", description="A report.")


def back_and_forth(db: peewee.Database) -> Iterator[str]:
    """Convert, and later revert; the table is as it was then."""
    before = anatomy(db)
    convert(db)
    yield "partitioned"
    revert(db)
    yield "plain"
    assert anatomy(db) == before


@both_ways
def test_views_read_the_new_table(server: peewee.Database) -> None:
    """Also one on a view, one with options and one that is granted to somebody."""
    sql(
        server,
        "CREATE VIEW newest AS SELECT id, action, created_at FROM audit_logs",
        "CREATE VIEW only_exports WITH (security_barrier=true, check_option=local)"
        " AS SELECT * FROM audit_logs WHERE action = 'export'",
        "CREATE VIEW ids AS SELECT id FROM newest",
        f"DROP ROLE IF EXISTS {READER}",
        f"CREATE ROLE {READER}",
        f"GRANT SELECT ON ids TO {READER}",
    )
    options = "SELECT reloptions FROM pg_class WHERE relname = 'only_exports'"
    before = rows(server, options)
    for number, _ in enumerate(back_and_forth(server), 1):
        record()
        for view in ("newest", "only_exports", "ids"):
            assert rows(server, f"SELECT count(*) FROM {view}") == [(number,)]  # noqa: S608
        assert rows(server, options) == before
    held = f"SELECT has_table_privilege('{READER}', 'ids', 'SELECT')"
    assert rows(server, held) == [(True,)]
    sql(server, f"DROP OWNED BY {READER}", f"DROP ROLE {READER}")


@both_ways
def test_triggers_fire_once_in_every_partition(server: peewee.Database) -> None:
    """For rows and for statements; one that is switched off stays off."""
    sql(
        server,
        "CREATE TABLE notes (name text, event text)",
        FUNCTION,
        "CREATE TRIGGER each_row AFTER INSERT ON audit_logs FOR EACH ROW"
        " EXECUTE FUNCTION noted()",
        "CREATE TRIGGER each_statement AFTER INSERT ON audit_logs FOR EACH STATEMENT"
        " EXECUTE FUNCTION noted()",
        "CREATE TRIGGER is_off AFTER INSERT ON audit_logs FOR EACH ROW"
        " EXECUTE FUNCTION noted()",
        "ALTER TABLE audit_logs DISABLE TRIGGER is_off",
    )
    for _ in back_and_forth(server):
        sql(server, "DELETE FROM notes")
        record()
        assert rows(server, "SELECT * FROM notes ORDER BY name") == [
            ("each_row", "INSERT"),
            ("each_statement", "INSERT"),
        ]


@both_ways
def test_grants_owner_and_rights_of_columns_stay(server: peewee.Database) -> None:
    """Nobody may do more or less than before, whatever new tables are granted."""
    roles = (READER, OWNER)
    for role in roles:
        sql(server, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role}")
    sql(
        server,
        f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}",
        f"ALTER TABLE audit_logs OWNER TO {OWNER}",
        f"REVOKE UPDATE, DELETE, TRUNCATE ON audit_logs FROM {OWNER}",
        f"GRANT SELECT ON audit_logs TO {READER} WITH GRANT OPTION",
        f"GRANT UPDATE (deleted_at, deleted_by) ON audit_logs TO {READER}",
        f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {READER}",
    )
    before = anatomy(server)
    try:
        convert(server)
        after = anatomy(server)
        assert after["table"][0][1:] == before["table"][0][1:]
        assert after["columns"] == before["columns"]
        revert(server)
        assert anatomy(server) == before
    finally:
        sql(server, f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM {READER}")
        sql(server, *(f"DROP OWNED BY {role} CASCADE" for role in roles))
        sql(server, *(f"DROP ROLE {role}" for role in roles))


@both_ways
def test_columns_indexes_and_checks_of_an_application_stay(
    server: peewee.Database,
) -> None:
    """Partial, by expression, with options; a unique one with the time in it."""
    sql(
        server,
        "ALTER TABLE audit_logs ADD COLUMN shard integer NOT NULL DEFAULT 7,"
        " ADD COLUMN size integer GENERATED ALWAYS AS (length(description)) STORED,"
        " ADD CONSTRAINT ck_theirs CHECK (shard > 0)",
        "COMMENT ON COLUMN audit_logs.shard IS 'Theirs'",
        "CREATE INDEX theirs_lower ON audit_logs (lower(user_email))",
        "CREATE INDEX theirs_failed ON audit_logs (created_at DESC) WHERE NOT success",
        "CREATE INDEX theirs_json ON audit_logs USING gin (extra_data)",
        "ALTER TABLE audit_logs"
        " ADD CONSTRAINT uq_theirs UNIQUE (transaction_id, id, created_at)",
        f'CREATE INDEX "{LONG} 1" ON audit_logs (shard)',
        f'CREATE INDEX "{LONG} 2" ON audit_logs (shard, id)',
    )
    for _ in back_and_forth(server):
        record()
        assert rows(server, "SELECT DISTINCT shard FROM audit_logs") == [(7,)]


BOUND = Month.of(now() + conversion._MARGIN).shifted(1)
AHEAD = Month.of(now()).shifted(3)
OBSTACLES = {
    "foreign key notes_entry_id_fkey of table notes": (
        "CREATE TABLE notes (entry_id varchar(36) REFERENCES audit_logs (id))"
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW daily AS SELECT action FROM audit_logs"
    ),
    "view grouped": (
        "CREATE VIEW grouped AS SELECT id, action FROM audit_logs GROUP BY id"
    ),
    "uq_request, which is unique": (
        "CREATE UNIQUE INDEX uq_request ON audit_logs (request_id, user_id)"
    ),
    "policy mine": "CREATE POLICY mine ON audit_logs USING (true)",
    "row security": "ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY",
    "publication": "CREATE PUBLICATION everything FOR TABLE audit_logs",
    "statistics": "CREATE STATISTICS pairs ON user_id, action FROM audit_logs",
    "rule silent": "CREATE RULE silent AS ON DELETE TO audit_logs DO INSTEAD NOTHING",
    "function entries": (
        "CREATE FUNCTION entries() RETURNS bigint LANGUAGE sql"
        " BEGIN ATOMIC SELECT count(*) FROM audit_logs; END"
    ),
    "function by_row": (
        "CREATE FUNCTION by_row(audit_logs) RETURNS text LANGUAGE sql"
        " AS 'SELECT ($1).id::text'"
    ),
    "sequence": (
        "ALTER TABLE audit_logs ADD COLUMN number integer GENERATED ALWAYS AS IDENTITY"
    ),
    "ck_late, which is not validated": (
        "ALTER TABLE audit_logs ADD CONSTRAINT ck_late CHECK (success) NOT VALID"
    ),
    "replica identity": "ALTER TABLE audit_logs REPLICA IDENTITY FULL",
    "SET LOGGED": "ALTER TABLE audit_logs SET UNLOGGED",
    "table audit_logs_default": "CREATE TABLE audit_logs_default (id integer)",
    f"table audit_logs_{AHEAD}": f"CREATE TABLE audit_logs_{AHEAD} (a integer)",
    f"view audit_logs_before_{BOUND}": (
        f"CREATE VIEW audit_logs_before_{BOUND} AS SELECT"
    ),
    f"type audit_logs_{AHEAD}": f"CREATE TYPE audit_logs_{AHEAD} AS ENUM ('a')",
    f"sequence audit_logs_before_{BOUND}_pkey": (
        f"CREATE SEQUENCE audit_logs_before_{BOUND}_pkey"
    ),
    f"table audit_logs_before_{BOUND}_created_at_idx": (
        f"CREATE TABLE audit_logs_before_{BOUND}_created_at_idx (a integer)"
    ),
    "trigger noting, which has a transition table": (
        "CREATE TRIGGER noting AFTER INSERT ON audit_logs REFERENCING NEW TABLE AS nt"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "table heirs": "CREATE TABLE heirs () INHERITS (audit_logs)",
}


@pytest.mark.parametrize("what", OBSTACLES)
def test_what_cannot_go_over_is_named(server: peewee.Database, what: str) -> None:
    """The conversion refuses, says what is in the way, and changes nothing."""
    record()
    sql(server, OBSTACLES[what])
    before: Any = anatomy(server)
    for dry_run in (True, False):
        with pytest.raises(MigrationError, match="has to be dropped first") as error:
            convert(server, dry_run=dry_run)
        assert what in str(error.value)
    assert anatomy(server) == before
