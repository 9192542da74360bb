"""How each engine tells whether a column would get another value."""

from typing import Any

import peewee

_COMPARED_AS_TEXT = ("JSON", "XML", "POINT", "LINE", "BOX", "PATH", "POLYGON")
"""PostgreSQL's types that have no equality."""
_SERIAL = {"SERIAL": "INTEGER", "BIGSERIAL": "BIGINT"}


def is_distinct_from(ctx: Any, field: Any, value: peewee.Node) -> None:
    """Render the rest of a comparison whose left side, the column, stands already.

    On PostgreSQL the value takes the column's type first, as an assignment would give
    it: 0.1 for a REAL column is not the 0.1 of a DOUBLE PRECISION.
    """
    if ctx.state.param == "?":  # SQLite compares with the column's own affinity
        ctx.literal(" IS NOT (").sql(value).literal(")")
        return
    column_type = peewee.Context().sql(field.ddl_datatype(ctx)).query()[0]
    column_type = _SERIAL.get(column_type, column_type)
    cast_to = ""
    if column_type != "JSONB" and column_type.upper().startswith(_COMPARED_AS_TEXT):
        cast_to = "::text"
    ctx.literal(f"{cast_to} IS DISTINCT FROM CAST(").sql(value)
    ctx.literal(f" AS {column_type}){cast_to}")
