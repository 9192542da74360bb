"""Your own models: two mixins, and every write of them is in the trail."""

import peewee

import cmcore
from cmcore import AuditMixin, TimestampMixin
from cmcore.fields import EnumField, ForeignKeyField, KeyField, SecretField
from cmcore.models import AuditLog, CustomerType


class Supplier(AuditMixin, cmcore.Model):
    """Who sends us goods; the mixin says who made and changed it, and when."""

    id = KeyField(primary_key=True)
    name = peewee.CharField(unique=True)
    kind = EnumField(CustomerType, default=CustomerType.CORPORATE)
    rating = peewee.IntegerField(default=3)
    iban = SecretField(null=True)  # recorded as ***, so a change shows, the value not
    notes = peewee.TextField(default="")

    class Meta:
        """What is left out of the trail."""

        audit_exclude = ("notes",)


class Delivery(TimestampMixin, cmcore.Model):
    """What a supplier sent; here it is enough to know when."""

    supplier = ForeignKeyField(Supplier, backref="deliveries")
    pallets = peewee.IntegerField()


def main() -> None:
    """Write in several ways, then look at what was recorded."""
    db = cmcore.connect(":memory:")
    cmcore.migrate(db)
    db.create_tables([Supplier, Delivery])

    with cmcore.acting_as("system", reason="first suppliers"):
        acme = Supplier.create(name="Acme", iban="DE02 1203 0000 0000 2020 51")
        Supplier.insert_many([{"name": "Bolts & Co"}, {"name": "Cogs"}]).execute()

    with cmcore.acting_as("system", reason="yearly review"):
        Supplier.update(rating=Supplier.rating + 1).where(
            Supplier.name != "Cogs"
        ).execute()
        acme.iban = "DE88 1001 0010 0123 4567 89"
        acme.notes = "called them, not recorded"
        acme.save(only=["iban", "notes"])
        Supplier.delete().where(Supplier.name == "Cogs").execute()

    fields = ("name", "rating", "iban", "notes")
    for entry in reversed(AuditLog.for_model(Supplier)):
        old, new = entry.old_values or {}, entry.new_values or {}
        changes = [
            f"{name}: {old.get(name)} -> {new.get(name)}"
            for name in fields
            if name in old or name in new
        ]
        print(f"{entry.action:6}  {entry.extra_data['reason']:15}  {changes}")

    delivery = Delivery.create(supplier=acme, pallets=12)
    print(delivery.history().get().new_values["pallets"], "pallets have arrived")
    print(acme.name, "was last changed by", acme.updated_by_id)
    db.close()


if __name__ == "__main__":
    main()
