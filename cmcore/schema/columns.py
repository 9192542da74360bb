"""The words in which a script describes columns.

A column knows its SQL on both engines, and the peewee field that stands for it when
`pw_migrate create --auto` compares the scripts with the models.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import peewee

from cmcore.engines.ddl import literal
from cmcore.layout import quoted

KEY_LENGTH = 36


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Its name in the database.
        types: Its type on SQLite and on PostgreSQL.
        field: The peewee field's class.
        length: The declared length, which a CHECK keeps on SQLite.
        null: Whether NULL is allowed.
        default: The default as SQL text.
        is_key: Whether it is the primary key.
        on_delete: What happens when the referred user goes; None for no foreign key.
        field_name: The name of the model's field, where it is not the column's.
    """

    name: str
    types: tuple[str, str]
    field: type[Any]
    length: int | None = None
    null: bool = False
    default: str | None = None
    is_key: bool = False
    on_delete: str | None = None
    field_name: str | None = None

    def sql(self, *, sqlite: bool) -> str:
        """Return the column's definition, without its foreign key."""
        parts = [quoted(self.name), self.types[0 if sqlite else 1]]
        if not self.null:
            parts.append("NOT NULL")
        if self.is_key:
            parts.append("PRIMARY KEY")
        if self.default is not None:
            parts.append(f"DEFAULT {self.default}")
        if self.length and sqlite:
            parts.append(length_check(self.name, self.length))
        return " ".join(parts)

    @property
    def references(self) -> str:
        """Return the REFERENCES clause of the foreign key."""
        return f'REFERENCES "users" ("id") ON DELETE {self.on_delete}'

    @property
    def foreign_key(self) -> str:
        """Return the foreign key as a constraint of the table, without its name."""
        return f"FOREIGN KEY ({quoted(self.name)}) {self.references}"

    def constraint_name(self, table: str) -> str:
        """Return the foreign key's name."""
        return f"fk_{table}_{self.name}"

    def model_field(self, users: Any) -> Any:
        """Return the field; `users` is the model that a foreign key aims at."""
        options: dict[str, Any] = {"null": self.null, "column_name": self.name}
        if self.on_delete:
            return peewee.ForeignKeyField(
                users, backref="+", index=False, on_delete=self.on_delete, **options
            )
        if self.length:
            options["max_length"] = self.length
        if self.is_key:
            options["primary_key"] = True
        return self.field(**options)


class NewIndex(NamedTuple):
    """An index to be created, partial if there is a condition.

    Attributes:
        name: Its name.
        table: Its table.
        columns: The columns in their order.
        is_unique: Whether it is unique.
        where: The condition.
        method: The access method; any other than `btree` is PostgreSQL's.
        operators: The operator class of each column, where it is not the method's own.
    """

    name: str
    table: str
    columns: Sequence[str]
    is_unique: bool = False
    where: str | None = None
    method: str = "btree"
    operators: str | None = None

    @property
    def definition(self) -> str:
        """Return what the index covers."""
        operators = f" {self.operators}" if self.operators else ""
        parts = ", ".join(f"{quoted(column)}{operators}" for column in self.columns)
        where = f" WHERE {self.where}" if self.where else ""
        return f"({parts}){where}"

    @property
    def beside(self) -> "NewIndex":
        """Return the same index under the name that it has before it replaces one."""
        return self._replace(name=f"{self.name}__cm_next")

    def sql(self, how: str = "") -> str:
        """Return the statement that creates it, with a word after INDEX."""
        kind = f"{'UNIQUE ' if self.is_unique else ''}INDEX {how}".rstrip()
        using = "" if self.method == "btree" else f"USING {self.method} "
        target = f"{quoted(self.table)} {using}{self.definition}"
        return f"CREATE {kind} {quoted(self.name)} ON {target}"


def names(columns: Iterable[str]) -> str:
    """Return quoted identifiers, comma-separated."""
    return ", ".join(map(quoted, columns))


def length_check(column: str, length: int) -> str:
    """Return the constraint that keeps a declared length on SQLite."""
    return f"CHECK (length({quoted(column)}) <= {length})"


def key(name: str) -> Column:
    """Describe a primary key: a UUID as 36 characters of text."""
    return text(name, KEY_LENGTH)._replace(is_key=True)


def text(
    name: str,
    length: int | None = None,
    *,
    null: bool = False,
    default: str | None = None,
) -> Column:
    """Describe a text, of at most `length` characters if it is given."""
    kind = f"VARCHAR({length})" if length else "TEXT"
    field = peewee.CharField if length else peewee.TextField
    sql = None if default is None else literal(default)
    return Column(name, (kind, kind), field, length, null, sql)


def flag(name: str, *, default: bool) -> Column:
    """Describe a yes or no, which always has a default."""
    sql = "TRUE" if default else "FALSE"
    return Column(name, ("INTEGER", "BOOLEAN"), peewee.BooleanField, default=sql)


def number(
    name: str, *, null: bool = False, default: int | None = None, big: bool = False
) -> Column:
    """Describe a whole number, of 64 bits at least where it is big."""
    server = "BIGINT" if big else "INTEGER"
    field = peewee.BigIntegerField if big else peewee.IntegerField
    sql = None if default is None else str(default)
    return Column(name, ("INTEGER", server), field, null=null, default=sql)


def moment(name: str, *, null: bool = False) -> Column:
    """Describe a point in time: with its zone on PostgreSQL, UTC text on SQLite."""
    return Column(name, ("TEXT", "TIMESTAMPTZ"), peewee.DateTimeField, null=null)


def json(name: str) -> Column:
    """Describe a JSON value, which may be NULL."""
    return Column(name, ("TEXT", "JSONB"), peewee.JSONField, null=True)


def user(
    name: str,
    *,
    null: bool = True,
    default: str | None = None,
    on_delete: str | None = None,
    field_name: str | None = None,
) -> Column:
    """Describe the id of a user, a foreign key if `on_delete` is given."""
    column = text(name, KEY_LENGTH, null=null, default=default)
    return column._replace(on_delete=on_delete, field_name=field_name)
