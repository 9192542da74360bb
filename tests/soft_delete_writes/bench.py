"""A database with the models of this folder, and a look at what is really in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import peewee

import cmcore
from cmcore import AuditLog, values

USERS = ("alice", "bob")
MARKS = ("deleted_at", "deleted_by")


class Entry(NamedTuple):
    """What a row of the trail says, decoded."""

    action: str
    key: str | None
    old: Any
    new: Any
    user: str | None


class Bench:
    """The database of one engine."""

    def __init__(self, engine: str, url: str, db: Any, tables: list[Any]) -> None:
        """Take the database and the models, whose tables are there."""
        self.engine = engine
        self.url = url
        self.db = db
        self.tables = tables

    def clear(self) -> None:
        """Empty all tables; keys are counted from 1 again."""
        emptied = [*reversed(self.tables), cmcore.Customer, AuditLog]
        texts = ["UPDATE soft_hens SET egg_id = NULL"]
        texts += [f'DELETE FROM "{m._meta.table_name}"' for m in emptied]  # noqa: S608
        texts.append("DELETE FROM users WHERE id NOT IN ('system')")
        if self.engine == "postgresql":
            texts = ["; ".join([*texts, *self._restarts()])]
        else:  # two tables refer to each other
            texts = ["PRAGMA foreign_keys = 0", *texts, "PRAGMA foreign_keys = 1"]
        for text in texts:
            self.db.execute_sql(text)
        cmcore.User.insert_many(
            {
                "id": name,
                "email": f"{name}@a.org",
                "password_hash": "!unusable",
                "full_name": name,
            }
            for name in USERS
        ).execute()
        self.forget()

    def _restarts(self) -> list[str]:
        return [
            f"ALTER SEQUENCE {model._meta.table_name}_id_seq RESTART"
            for model in self.tables
            if isinstance(model._meta.primary_key, peewee.AutoField)
        ]

    def rows(self, model: Any) -> list[dict[str, Any]]:
        """Return all rows of a table, marked ones too, read without cmcore's filter."""
        fields = model._meta.sorted_fields
        names = ", ".join(f'"{field.column_name}"' for field in fields)
        table = model._meta.table_name
        found = self.db.execute_sql(f'SELECT {names} FROM "{table}"').fetchall()  # noqa: S608
        read = [
            {f.name: f.python_value(v) for f, v in zip(fields, row, strict=True)}
            for row in found
        ]
        return sorted(read, key=repr)

    def marks(self, model: Any, by: str) -> dict[Any, tuple[Any, Any]]:
        """Return the two columns of each row of a table, by a field's value."""
        return {
            row[by]: (row["deleted_at"], row["deleted_by"]) for row in self.rows(model)
        }

    def live(self, model: Any, by: str = "name") -> list[Any]:
        """Return a field of the rows that are not marked, sorted."""
        rows = self.rows(model)
        return sorted(row[by] for row in rows if row["deleted_at"] is None)

    def entries(self, model: Any) -> list[Entry]:
        """Return what the trail says of a table, oldest first."""
        query = AuditLog.select().where(
            AuditLog.resource_type == model._meta.table_name
        )
        fields = model._meta.fields

        def decoded(encoded: Any) -> Any:
            if encoded is None:
                return None
            return {n: values.decode(fields[n], v) for n, v in encoded.items()}

        return [
            Entry(
                row.action,
                row.resource_id,
                decoded(row.old_values),
                decoded(row.new_values),
                row.user_id,
            )
            for row in query.order_by(AuditLog.created_at, AuditLog.id)
        ]

    def actions(self, model: Any) -> list[str]:
        """Return the actions that the trail has of a table, oldest first."""
        return [entry.action for entry in self.entries(model)]

    def forget(self) -> None:
        """Empty the trail."""
        self.db.execute_sql("DELETE FROM audit_logs")

    @contextmanager
    def in_transaction(self, form: str) -> Iterator[None]:
        """Run a block in autocommit, a transaction, or a savepoint."""
        if form == "autocommit":
            yield
        elif form == "transaction":
            with self.db.atomic():
                yield
        elif form == "savepoint":
            with self.db.atomic(), self.db.atomic():
                yield
        else:
            with self.db.manual_commit():
                yield

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Gather the statements that are sent."""
        sent: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: sent.append(str(record.msg))  # type: ignore[method-assign]
        loggers = [logging.getLogger(name) for name in ("peewee", "cmcore.sql")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG)
        try:
            yield sent
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)


FORMS = ("autocommit", "transaction", "savepoint", "manual")


def key_of(row: Any) -> Any:
    """Return an object's primary key as the trail writes it."""
    return values.key_text(row._pk)


def made(model: Any, count: int, **more: Any) -> list[Any]:
    """Create rows with codes a, b, c and so on."""
    rows = []
    for i in range(count):
        keys: dict[str, Any] = {}
        if model._meta.composite_key:
            keys = {"region": "north", "number": i + 1}
        rows.append(model.create(code=chr(97 + i), n=i, **keys, **more))
    return rows


def acting(name: str) -> Any:
    """Act as a user."""
    return cmcore.acting_as(name)
