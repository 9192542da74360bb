"""What hangs on the table of the trail and has to go over to another table.

A conversion gives the name `audit_logs` to another table. Indexes and constraints are
made again as they are; here is the rest: views, triggers, grants, owner and comment,
and what cannot go over at all.
"""

from typing import NamedTuple

import peewee

from cmcore.engines.ddl import literal
from cmcore.engines.introspection import rows, run
from cmcore.layout import quoted
from cmcore.partitions.pieces import TRAIL

_TABLE = f"'{TRAIL}'::regclass"
_STATES = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}

# Everything that depends on the table, on its row type, or on one of its constraints,
# without what is a part of it and what goes over.
_IN_THE_WAY = f"""
    SELECT DISTINCT replace(pg_describe_object(d.classid, d.objid, d.objsubid),
        'rule _RETURN on ', '') FROM pg_depend d
    WHERE d.deptype IN ('n', 'a') AND (
        (d.refclassid = 'pg_class'::regclass AND d.refobjid = {_TABLE})
        OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (
            SELECT oid FROM pg_type WHERE typrelid = {_TABLE}
            UNION SELECT typarray FROM pg_type WHERE typrelid = {_TABLE}))
        OR (d.refclassid = 'pg_constraint'::regclass AND d.refobjid IN (
            SELECT oid FROM pg_constraint WHERE conrelid = {_TABLE})))
    AND NOT CASE d.classid::regclass::text
        WHEN 'pg_class' THEN EXISTS (
            SELECT FROM pg_index WHERE indexrelid = d.objid AND indrelid = {_TABLE}
        ) OR EXISTS (SELECT FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
            WHERE inhrelid = d.objid AND inhparent = {_TABLE} AND relispartition)
        WHEN 'pg_attrdef' THEN EXISTS (
            SELECT FROM pg_attrdef WHERE oid = d.objid AND adrelid = {_TABLE})
        WHEN 'pg_constraint' THEN EXISTS (SELECT FROM pg_constraint
            WHERE oid = d.objid AND contype <> 'x'
            AND (conrelid = {_TABLE} OR contype = 'f'))
        WHEN 'pg_trigger' THEN EXISTS (
            SELECT FROM pg_trigger WHERE oid = d.objid AND tgrelid = {_TABLE})
        WHEN 'pg_rewrite' THEN EXISTS (
            SELECT FROM pg_rewrite JOIN pg_class v ON v.oid = ev_class
            WHERE pg_rewrite.oid = d.objid AND v.relkind = 'v' AND rulename = '_RETURN')
            AND d.refclassid = 'pg_class'::regclass
        ELSE false
    END
    UNION ALL SELECT format('foreign key %s of table %s', conname, conrelid::regclass)
        FROM pg_constraint WHERE contype = 'f' AND confrelid = {_TABLE}
        AND conparentid = 0 AND conrelid <> {_TABLE}
    UNION ALL SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0)
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
        WHERE d.classid = 'pg_class'::regclass AND d.refobjid = {_TABLE}
        AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
    UNION ALL SELECT 'constraint ' || conname || ', which is not validated: validate it'
        FROM pg_constraint WHERE conrelid = {_TABLE} AND NOT convalidated
        AND conname <> ?
    UNION ALL SELECT 'index ' || indexrelid::regclass::text || ', which is invalid: REINDEX INDEX CONCURRENTLY it'
        FROM pg_index WHERE indrelid = {_TABLE} AND NOT indisvalid
        AND indexrelid::regclass::text NOT LIKE 'audit\\_logs\\_%\\_pkey'
    UNION ALL SELECT 'index ' || indexrelid::regclass::text || ', which is unique and'
        ' leaves created_at out' FROM pg_index WHERE indrelid = {_TABLE}
        AND indisunique AND NOT indisprimary AND indisvalid AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = {_TABLE}
            AND attname = 'created_at' AND attnum = ANY (indkey))
    UNION ALL SELECT format('trigger %I, which has a transition table for each row:'
        ' make it FOR EACH STATEMENT, or without', tgname) FROM pg_trigger
        WHERE tgrelid = {_TABLE} AND tgtype & 1 = 1
        AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL)
    UNION ALL SELECT 'row security: DISABLE and NO FORCE ROW LEVEL SECURITY' FROM pg_class
        WHERE oid = {_TABLE} AND (relrowsecurity OR relforcerowsecurity)
    UNION ALL SELECT 'a replica identity of its own: REPLICA IDENTITY DEFAULT' FROM pg_class
        WHERE oid = {_TABLE} AND relreplident <> 'd'
    UNION ALL SELECT 'no log of the table: SET LOGGED' FROM pg_class
        WHERE oid = {_TABLE} AND relpersistence <> 'p'
    UNION ALL SELECT format('a parent, table %s: NO INHERIT it', inhparent::regclass)
        FROM pg_inherits WHERE inhrelid = {_TABLE}
    ORDER BY 1
"""  # noqa: E501

# Who may do what, as GRANT statements; and first nobody may do anything.
_GRANTS = f"""
    SELECT format('GRANT %s%s ON {TRAIL} TO %s%s', privilege_type,
        CASE WHEN attname IS NULL THEN '' ELSE format(' (%I)', attname) END,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable AND grantee <> relowner THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM (
        SELECT relowner, NULL AS attname,
            (aclexplode(COALESCE(relacl, acldefault('r', relowner)))).*
        FROM pg_class WHERE oid = {_TABLE}
        UNION ALL
        SELECT relowner, attname, (aclexplode(attacl)).*
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE attrelid = {_TABLE} AND attacl IS NOT NULL
    ) AS granted ORDER BY 1
"""  # noqa: E501
_GRANTEES = f"""
    SELECT DISTINCT CASE WHEN grantee = 0 THEN 'PUBLIC'
        ELSE quote_ident(pg_get_userbyid(grantee)) END
    FROM (
        SELECT (aclexplode(COALESCE(relacl, acldefault('r', relowner)))).grantee
        FROM pg_class WHERE oid = {_TABLE}
        UNION SELECT (aclexplode(attacl)).grantee
        FROM pg_attribute WHERE attrelid = {_TABLE} AND attacl IS NOT NULL
    ) AS granted
"""
_VIEWS = f"""
    SELECT DISTINCT v.oid::regclass::text, format('CREATE OR REPLACE VIEW %s%s AS %s',
        v.oid::regclass,
        CASE WHEN v.reloptions IS NULL THEN ''
        ELSE format(' WITH (%s)', array_to_string(v.reloptions, ', ')) END,
        pg_get_viewdef(v.oid))
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = {_TABLE} AND v.relkind = 'v' AND v.oid <> {_TABLE} ORDER BY 1
"""  # noqa: E501
_TRIGGERS = f"""
    SELECT tgname::text, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
    WHERE tgrelid = {_TABLE} AND NOT tgisinternal ORDER BY tgname
"""


class Trigger(NamedTuple):
    """A trigger: its name, the statement that makes it, and whether it fires."""

    name: str
    sql: str
    state: str


class Belongings(NamedTuple):
    """What goes over to the other table, as statements for the moment after.

    Attributes:
        owner: The role, quoted.
        comment: The comment of the table, or None.
        grants: All grants, those of the owner included.
        views: The views that read the table, by name.
        triggers: The triggers on it.
    """

    owner: str
    comment: str | None
    grants: list[str]
    views: dict[str, str]
    triggers: list[Trigger]

    @classmethod
    def read(cls, db: peewee.Database) -> "Belongings":
        """Read them while the table still has the name."""
        [(owner, comment)] = rows(
            db,
            "SELECT quote_ident(pg_get_userbyid(relowner)),"
            f" obj_description(oid, 'pg_class') FROM pg_class WHERE oid = {_TABLE}",
        )
        return cls(
            owner,
            comment,
            _texts(db, _GRANTS),
            dict(rows(db, _VIEWS)),
            [Trigger(*row) for row in rows(db, _TRIGGERS)],
        )

    def names(self) -> list[str]:
        """Name the views and triggers."""
        views = [f"view {name}" for name in self.views]
        return views + [f"trigger {trigger.name}" for trigger in self.triggers]

    def leave(self, db: peewee.Database) -> None:
        """Take the triggers off the table that has the name now."""
        for trigger in self.triggers:
            run(db, f"DROP TRIGGER {quoted(trigger.name)} ON {quoted(TRAIL)}")

    def arrive(self, db: peewee.Database) -> None:
        """Give everything to the table that has the name now."""
        run(db, f"ALTER TABLE {quoted(TRAIL)} OWNER TO {self.owner}")
        text = "NULL" if self.comment is None else literal(self.comment)
        run(db, f"COMMENT ON TABLE {quoted(TRAIL)} IS {text}")
        holders = ", ".join(_texts(db, _GRANTEES))
        run(db, f"REVOKE ALL ON {quoted(TRAIL)} FROM {holders}")
        for sql in (*self.grants, *self.views.values()):
            run(db, sql)
        for trigger in self.triggers:
            run(db, trigger.sql)
            state = _STATES.get(trigger.state)
            if state:
                name = f"{state} TRIGGER {quoted(trigger.name)}"
                run(db, f"ALTER TABLE {quoted(TRAIL)} {name}")


def in_the_way(db: peewee.Database, spared: str) -> list[str]:
    """Name what depends on the table and cannot go over to another one.

    Args:
        db: The database.
        spared: A constraint that does not count.
    """
    return [text for (text,) in rows(db, _IN_THE_WAY, (spared,))]


def _texts(db: peewee.Database, sql: str) -> list[str]:
    return [text for (text,) in rows(db, sql)]
