"""Undoing a mistake: a customer and his orders are deleted, found, and restored."""

import peewee

import cmcore
from cmcore import SoftDeleteMixin
from cmcore.fields import ForeignKeyField
from cmcore.models import AuditLog, Customer


class Order(SoftDeleteMixin, cmcore.Model):
    """What a customer ordered; it needs its customer."""

    customer = ForeignKeyField(Customer, backref="orders")
    article = peewee.CharField()

    class Meta:
        """Its table, since ORDER is a word of SQL."""

        table_name = "orders"


def main() -> None:
    """Delete, find, restore, and ask the trail what happened."""
    db = cmcore.connect(":memory:")
    cmcore.migrate(db)
    db.create_tables([Order])
    bob = Customer.create(id="bob", name="Bob", email="bob@example.org")
    for article in ("lamp", "bulb", "desk"):
        Order.create(customer=bob, article=article)
    with cmcore.acting_as("system", reason="sold out"):
        Order.delete().where(Order.article == "lamp").execute()

    with cmcore.acting_as("system", reason="clearing up"):
        bob.delete_instance(recursive=True)
    print("Left:", list(Customer.select()), list(Order.select()))

    lost = Customer.only_deleted().where(Customer.email == "bob@example.org").get()
    print("Found:", lost.name, "was deleted by", lost.deleted_by_id)

    with cmcore.acting_as("system", reason="the wrong Bob"):
        lost.restore_instance(recursive=True)
    orders = Order.select().where(Order.customer == lost)
    print("Back:", lost.name, "with", [order.article for order in orders])

    print("What the trail says:")
    entries = AuditLog.select().where(AuditLog.action != "create")
    for entry in entries.order_by(AuditLog.created_at, AuditLog.id):
        row = f"{entry.resource_type}/{entry.resource_id}"
        print(f"  {entry.action:7}  {row:13}  {entry.extra_data['reason']}")
    db.close()


if __name__ == "__main__":
    main()
