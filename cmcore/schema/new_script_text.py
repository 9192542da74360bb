"""The text of a script that creates an application's tables."""

from collections.abc import Sequence
from typing import Any

import peewee

from cmcore.engines.ddl import CreateTable
from cmcore.engines.rendering import Statement, Statements
from cmcore.errors import ConfigurationError

_TEXT = '''"""Create {tables}.

What peewee's create_table would send is written down here, so that the script does not
change when the models do.
"""

import peewee as pw

TABLES = {table_names}
NEEDED = {needed}  # tables that have to be there before

SQLITE = {sqlite_create}

POSTGRESQL = {postgresql_create}

SQLITE_BACK = {sqlite_drop}

POSTGRESQL_BACK = {postgresql_drop}


def migrate(migrator, database, *, fake=False):
    """Create the tables and their indexes."""
    migrator.run(refuse_without_needed, migrator.__database__)
    for statement, parameters in pick(migrator, SQLITE, POSTGRESQL):
        migrator.sql(statement, *parameters)
    with migrator.fake():  # so that later scripts can say migrator.orm["table"]
        for model in models():
            migrator.create_model(model)


def rollback(migrator, database, *, fake=False):
    """Drop the tables, with all their rows."""
    for statement, parameters in pick(migrator, SQLITE_BACK, POSTGRESQL_BACK):
        migrator.sql(statement, *parameters)


def pick(migrator, sqlite, postgresql):
    """Return the statements of the engine."""
    is_sqlite = isinstance(migrator.__database__, pw.SqliteDatabase)
    return sqlite if is_sqlite else postgresql


def refuse_without_needed(database):
    """Refuse while a table is missing that the foreign keys refer to."""
    for table in NEEDED:
        try:
            database.execute_sql(f'SELECT 1 FROM "{{table}}" LIMIT 0')
        except pw.DatabaseError as error:
            msg = f"Create {{table}} first; `cmcore migrate` makes users and customers."
            raise RuntimeError(msg) from error


def models():
    """Return what the runner has to know about the tables."""

{models}

    return [{classes}]
'''


def script_text(
    models: Sequence[Any], sqlite: Statements, postgresql: Statements
) -> str:
    """Return the script; it is ASCII, whatever the runner's locale may be."""
    tables = [str(model._meta.table_name) for model in models]
    return _TEXT.format(
        tables=ascii(", ".join(tables))[1:-1],
        table_names=_listed(tables),
        needed=_listed(_needed(models)),
        sqlite_create=_statements(sqlite.create),
        postgresql_create=_statements(postgresql.create),
        sqlite_drop=_statements(sqlite.drop),
        postgresql_drop=_statements(postgresql.drop),
        models="\n\n".join(map(_model, models)),
        classes=", ".join(model.__name__ for model in models),
    )


def _listed(names: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"


def _needed(models: Sequence[Any]) -> list[str]:
    """Return the tables to which foreign keys lead out of the script."""
    parents = {
        field.rel_model
        for model in models
        for field in model._meta.sorted_fields
        if isinstance(field, peewee.ForeignKeyField)
    }
    others = parents - set(models)
    return sorted(p._meta.table_name for p in others if not p._meta.schema)


def _statements(statements: Sequence[Statement]) -> str:
    if not statements:
        return "[]"
    lines = [f"    ({_sql(sql)}{_parameters(params)})," for sql, params in statements]
    return "\n".join(["[", *lines, "]"])


def _sql(sql: str) -> str:
    """Return the statement as Python source, a line for each column of a table."""
    if not sql.startswith("CREATE TABLE"):
        return f"{_quoted(sql)}, "
    parts = CreateTable.read(sql)
    lines = [
        parts.head,
        *(item.text.strip() + "," for item in parts.items[:-1]),
        parts.items[-1].text.strip(),
        parts.tail,
    ]
    # In a script the columns stand one below the other, in SQL they need not.
    quoted = "\n".join(f"        {_quoted(f'{line} '.lstrip())}" for line in lines)
    return f"\n{quoted},\n        "


def _parameters(params: tuple[Any, ...]) -> str:
    for value in params:
        if type(value) not in {str, int, float, bool, type(None)}:
            msg = (
                f"The value {value!r} in an index cannot be written into a script. "
                "Write the condition as peewee.SQL."
            )
            raise ConfigurationError(msg)
    return ascii(params)


def _quoted(text: str) -> str:
    """Return a text as a literal in double quotes where that needs no escapes."""
    literal = ascii(text)
    if '"' not in text and "'" not in text and "\\" not in literal:
        return f'"{text}"'
    return literal


def _model(model: Any) -> str:
    """Return a bare model of a table, without its references and rules."""
    meta = model._meta
    options = [f"table_name = {_quoted(meta.table_name)}"]
    if meta.schema:
        options.append(f"schema = {_quoted(meta.schema)}")
    if meta.composite_key:
        names = ", ".join(map(_quoted, meta.primary_key.field_names))
        options.append(f"primary_key = pw.CompositeKey({names})")
    elif meta.primary_key is False:
        options.append("primary_key = False")
    fields = [f"{field.name} = {_field(field)}" for field in meta.sorted_fields]
    lines = [*fields, "", "class Meta:", *(f"    {option}" for option in options)]
    body = "\n".join(f"        {line}".rstrip() for line in lines)
    return f"    class {model.__name__}(pw.Model):\n{body}"


def _field(field: Any) -> str:
    source = field
    while isinstance(source, peewee.ForeignKeyField):
        source = source.rel_field
    kind = next(c for c in type(source).__mro__ if c.__module__ == "peewee")
    if source is not field and issubclass(kind, peewee.AutoField):
        kind = peewee.BigIntegerField if "Big" in kind.__name__ else peewee.IntegerField
    options = [f"column_name={_quoted(field.column_name)}"]
    if issubclass(kind, peewee.CharField):
        options.append(f"max_length={source.max_length}")
    if issubclass(kind, peewee.DecimalField):
        options.append(f"max_digits={source.max_digits}")
        options.append(f"decimal_places={source.decimal_places}")
    options += ["null=True"] * field.null + ["primary_key=True"] * field.primary_key
    return f"pw.{kind.__name__}({', '.join(options)})"
