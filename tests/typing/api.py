"""What a type checker must see in the public interface; checked, and never run."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_type

import peewee

import cmcore
from cmcore.fields import (
    EmailField,
    EnumField,
    ForeignKeyField,
    JSONField,
    KeyField,
    SecretField,
    UTCDateTimeField,
)
from cmcore.models.audit_log import Trail


class Depot(cmcore.Model):
    """A model without a declared key."""

    town = peewee.CharField()


class Invoice(cmcore.AuditMixin, cmcore.SoftDeleteMixin, cmcore.Model):
    """A model with every kind of field."""

    id = KeyField(primary_key=True)
    number = peewee.IntegerField()
    email = EmailField(null=True)
    kind = EnumField(cmcore.CustomerType)
    secret = SecretField(null=True)
    lines = JSONField(null=True)
    sent_at = UTCDateTimeField(null=True)
    depot = ForeignKeyField(Depot, backref="invoices")

    class Meta:
        """Options of cmcore beside those of peewee."""

        table_name = "invoices"
        audit_mask = ("email",)


class Both(cmcore.TimestampMixin, cmcore.AuditMixin, cmcore.Model):
    """Mixins that overlap."""


class Swapped(cmcore.AuditMixin, cmcore.TimestampMixin, cmcore.Model):
    """The same mixins in the other order."""


class Softly(cmcore.SoftDeleteMixin, cmcore.TimestampMixin, cmcore.Model):
    """Mixins in any order."""


class Acted(cmcore.TimestampMixin, cmcore.ActorMixin, cmcore.Model):
    """Actors without a foreign key."""


class Alone(cmcore.AuditMixin):
    """A mixin is a model by itself."""


class Abstract(cmcore.AuditMixin, cmcore.Model, abstract=True):
    """A base class of the application's own."""


class Concrete(Abstract):
    """A model of it."""

    name = peewee.TextField()


def opening() -> None:
    """Databases are peewee's."""
    db = cmcore.connect("sqlite:///crm.db", timeout=30)
    assert_type(db, peewee.Database)
    assert_type(cmcore.init(peewee.SqliteDatabase("crm.db")), peewee.Database)
    assert_type(cmcore.init(peewee.DatabaseProxy()), peewee.Database)
    cmcore.migrate(db)
    db.create_tables([Invoice, Depot])


def reading_models() -> None:
    """Selects know their model, through every step."""
    customers = cmcore.Customer.select().where(cmcore.Customer.name == "Ada")
    assert_type(customers, peewee.ModelSelect[cmcore.Customer])
    assert_type(customers.order_by(cmcore.Customer.name).limit(3).get().name, str)
    assert_type(customers.get_or_none(), cmcore.Customer | None)
    assert_type(customers.count(), int)
    assert_type(customers.exists(), bool)
    for customer in customers:
        assert_type(customer, cmcore.Customer)
    assert_type(Depot.get_by_id(1), Depot)
    assert_type(Depot.get(Depot.id == 1).id, Any)
    assert_type(Depot.get_or_none(town="Bern"), Depot | None)
    assert_type(Depot.filter(town="Bern"), peewee.ModelSelect[Depot])
    assert_type(cmcore.User.get_by_id("system").email, str | Any)


def fields_of_a_model(invoice: Invoice) -> None:
    """Fields are themselves on the class, and values on an object."""
    assert_type(Invoice.number, peewee.IntegerField[int])
    assert_type(invoice.number, int)
    assert_type(invoice.id, str | Any)
    assert_type(invoice.email, str | Any)
    assert_type(invoice.kind, Any)
    assert_type(invoice.lines, Any)
    assert_type(invoice.sent_at, datetime | Any)
    assert_type(invoice.depot, Depot)
    assert_type(Invoice.sent_at, UTCDateTimeField)
    Invoice.select().where(
        (Invoice.sent_at.year == 2026) & Invoice.email.is_null() | Invoice.id.in_(["x"])
    )
    invoice.kind = cmcore.CustomerType.CORPORATE
    invoice.kind = "corporate"
    invoice.email = None
    invoice.sent_at = None
    invoice.depot = Depot.create(town="Bern")


def fields_of_the_mixins(invoice: Invoice, both: Both, acted: Acted) -> None:
    """Stamps are there, and so are the bare ids of references."""
    assert_type(invoice.created_at, datetime | Any)
    assert_type(invoice.created_by_id, str | None)
    assert_type(invoice.updated_by_id, str | None)
    assert_type(invoice.deleted_by_id, str | None)
    assert_type(invoice.deleted_at, datetime | Any)
    assert_type(both.updated_at, datetime | Any)
    assert_type(both.updated_by_id, str | None)
    assert_type(acted.created_by, Any)
    Invoice.select().where(Invoice.created_by_id.is_null())
    Invoice.select().order_by(Invoice.created_at.desc())
    assert_type(Concrete.create(name="x").created_by_id, str | None)
    assert_type(Alone.create().history(), Trail)


def writing(invoice: Invoice) -> None:
    """Writes are peewee's, and the ones that its stubs leave out have types too."""
    assert_type(Invoice.create(number=1), Invoice)
    assert_type(Invoice.get_or_create(number=1), tuple[Invoice, bool])
    assert_type(Invoice.insert(number=1), peewee.ModelInsert)
    assert_type(Invoice.insert_many([{"number": 1}]), peewee.ModelInsert)
    assert_type(Invoice.replace(number=1), peewee.ModelInsert)
    assert_type(Invoice.replace_many([{"number": 1}]), peewee.ModelInsert)
    assert_type(Invoice.update(number=2), peewee.ModelUpdate)
    assert_type(Invoice.delete(), peewee.ModelDelete)
    Invoice.delete().where(Invoice.number == 1).execute()
    Invoice.update({Invoice.number: Invoice.number + 1}).execute()
    Invoice.insert(number=1).on_conflict_ignore().returning(Invoice).execute()
    assert_type(Invoice.set_by_id("x", {"number": 3}), int)
    assert_type(Invoice.delete_by_id("x"), int)
    assert_type(Invoice.bulk_update([invoice], [Invoice.number]), int)
    Invoice.bulk_create([invoice], batch_size=10)
    assert_type(invoice.save(), int)
    assert_type(invoice.delete_instance(recursive=True), int)
    assert_type(Invoice.table_exists(), bool)


def reading_the_trail(invoice: Invoice, user: cmcore.User, now: datetime) -> None:
    """The trail is a select of entries, however it is narrowed."""
    log = cmcore.AuditLog
    assert_type(log.trail(), Trail)
    assert_type(log.for_instance(invoice), Trail)
    assert_type(log.for_model(Invoice).by_user(user).between(now, now), Trail)
    assert_type(log.by_user("system").for_model(Invoice), Trail)
    assert_type(log.between(now, now).where(log.action == "update").limit(3), Trail)
    assert_type(log.history_of(invoice).order_by(log.created_at), Trail)
    assert_type(invoice.history().get(), cmcore.AuditLog)
    assert_type(invoice.history().get_or_none(), cmcore.AuditLog | None)
    assert_type(log.select().get(), cmcore.AuditLog)
    assert_type(invoice.history()[0], cmcore.AuditLog)
    assert_type(invoice.history()[:2], list[cmcore.AuditLog])
    assert_type(invoice.history().first(), cmcore.AuditLog | None)
    assert_type([entry.action for entry in invoice.history()], list[str])
    query: peewee.ModelSelect[cmcore.AuditLog] = invoice.history()
    assert_type(query.count(), int)


def an_entry(entry: cmcore.AuditLog) -> None:
    """An entry's columns have the types of what is in them."""
    assert_type(entry.id, str | Any)
    assert_type(entry.action, str)
    assert_type(entry.resource_id, str | None)
    assert_type(entry.user_id, str | None)
    assert_type(entry.user_email, str | None)
    assert_type(entry.created_at, datetime | Any)
    assert_type(entry.created_by_id, str | None)
    assert_type(entry.old_values, Any)
    assert_type(entry.success, bool)
    assert_type(cmcore.record("x", resource_type="y", description="z"), cmcore.AuditLog)


@cmcore.acting_as("system", reason="nightly")
def plain(number: int, *, name: str = "") -> bool:
    """Take a plain function."""
    return bool(number or name)


@cmcore.acting_as("system")
async def asynchronous(number: int) -> str:
    """Take a coroutine function."""
    return str(number)


@cmcore.acting_as("system")
def steps(number: int) -> Iterator[int]:
    """Take a generator."""
    yield number


async def acting(user: cmcore.User) -> None:
    """Blocks give their context, and decorators keep the function's type."""
    with cmcore.acting_as(user, reason="review", ticket=4711) as context:
        assert_type(context, cmcore.Context)
    async with cmcore.acting_as(user) as context:
        assert_type(context.user_id, str | None)
    assert_type(plain(1, name="x"), bool)
    assert_type(await asynchronous(1), str)
    assert_type(steps(1), Iterator[int])
    plain("1")  # type: ignore[arg-type]  # the decorator keeps the arguments' types
    assert_type(cmcore.carry_context(plain)(1), bool)
    assert_type(cmcore.current_context().extra, Mapping[str, Any])
    cmcore.set_user(user)


class Plugin:
    """A plugin whose hooks keep their types."""

    @cmcore.hookimpl
    def cmcore_after_update(self, changes: Sequence[cmcore.Change]) -> None:
        """Look at what changed."""
        for change in changes:
            assert_type(change.action, cmcore.Action)
            assert_type(change.old, Mapping[str, Any] | None)
            assert_type(change.context.user_id, str | None)
            assert_type(change.at, datetime)
            assert_type(change.model, type[peewee.Model])

    @cmcore.hookimpl(tryfirst=True)
    def cmcore_redact(self, change: cmcore.Change) -> set[str]:
        """Name what is to be masked."""
        return {"iban"} if change.new else set()


def plugging(change: cmcore.Change) -> None:
    """Plugins are registered under names, and errors carry what is known."""
    assert_type(cmcore.plugins.register(Plugin()), str)
    assert_type(Plugin().cmcore_redact(change), set[str])
    try:
        Invoice.create(number=1)
    except cmcore.ConstraintError as error:
        assert_type(error.constraint, str | None)
