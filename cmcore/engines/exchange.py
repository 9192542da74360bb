"""Rows go out of a table, and come back, as lines of JSON on either engine."""

import peewee

from cmcore.engines.introspection import is_sqlite
from cmcore.engines.lines import Kinds, Lines
from cmcore.engines.postgresql_lines import PostgresqlLines
from cmcore.engines.sqlite_lines import SqliteLines


def lines_of(db: peewee.Database, table: str, kinds: Kinds) -> Lines:
    """Return a table as lines."""
    return (SqliteLines if is_sqlite(db) else PostgresqlLines)(db, table, kinds)
