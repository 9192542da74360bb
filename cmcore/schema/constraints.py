"""The constraints of the scripts as peewee takes them, for tables made from models."""

import re
from typing import Any, TypeVar

import peewee

from cmcore.engines.ddl import literal
from cmcore.engines.introspection import is_sqlite
from cmcore.layout import quoted
from cmcore.schema.checks import rules_of
from cmcore.schema.columns import length_check

_Model = TypeVar("_Model", bound=peewee.Model)
_LENGTH = re.compile(r'length\("((?:[^"]|"")+)"\) <= (\d+)')


class EngineSQL(peewee.Node):
    """SQL with one text for each engine, in the place where peewee puts it."""

    def __init__(self, *, sqlite: str, postgresql: str) -> None:
        """Take both texts, with bare percent signs."""
        self._sqlite = sqlite
        self._postgresql = postgresql

    def __sql__(self, ctx: Any) -> Any:
        """Write the text of the engine, which its mark for parameters gives away."""
        if ctx.state.param == "%s":
            return ctx.literal(self._postgresql.replace("%", "%%"))
        return ctx.literal(self._sqlite)


def checks_of(table: str) -> list[peewee.Node]:
    """Return the CHECK constraints of a table of cmcore, for `Meta.constraints`."""
    return [
        EngineSQL(
            sqlite=f"CONSTRAINT {quoted(rule.name)} CHECK ({rule.sql(sqlite=True)})",
            postgresql=(
                f"CONSTRAINT {quoted(rule.name)} CHECK ({rule.sql(sqlite=False)})"
            ),
        )
        for rule in rules_of(table)
    ]


def default(value: str | int) -> peewee.Node:
    """Return the default of a column, for the `constraints` of a field."""
    if isinstance(value, int):
        return peewee.SQL(f"DEFAULT {str(value).upper()}")
    return peewee.SQL(f"DEFAULT {literal(value)}")


def with_declared_lengths(model: type[_Model]) -> type[_Model]:
    """Let SQLite keep the lengths that the fields of a model declare.

    PostgreSQL keeps them by the columns' types.
    """
    for field in model._meta.sorted_fields:
        source = field
        while isinstance(source, peewee.ForeignKeyField):
            source = source.rel_field
        if isinstance(source, peewee.CharField):
            check = length_check(field.column_name, source.max_length)
            node = EngineSQL(sqlite=check, postgresql="")
            field.constraints = [*(field.constraints or ()), node]
    return model


class WithoutRowid(peewee.SchemaManager):
    """Creates a table without rowids on SQLite; peewee's own option breaks PostgreSQL.

    Writing it leaves the connection's last_insert_rowid alone.
    """

    def _create_table(self, safe: bool = True, **options: Any) -> Any:
        ctx = super()._create_table(safe=safe, **options)  # type: ignore[misc]  # no stub
        return ctx.literal(" WITHOUT ROWID") if is_sqlite(self.database) else ctx


def broken_length(message: str) -> tuple[str, int] | None:
    """Return column and length if SQLite's message is about a declared length.

    Its text for a constraint without a name is the condition itself.
    """
    found = _LENGTH.search(message)
    return (found[1].replace('""', '"'), int(found[2])) if found else None
