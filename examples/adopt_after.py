"""A shop on plain peewee, with a table `users` of its own: with the trail."""

import sys
from urllib.parse import urlsplit

import peewee
from playhouse.db_url import connect

import cmcore

db = peewee.DatabaseProxy()


class BaseModel(cmcore.Model):
    """What all models of the shop have in common."""

    class Meta:
        """Where they live."""

        database = db


class User(BaseModel):
    """Who works here; the key is a number."""

    name = peewee.CharField(unique=True)

    class Meta:
        """A table whose name cmcore would like, too."""

        table_name = "users"


class Order(cmcore.ActorMixin, BaseModel):
    """What somebody bought."""

    article = peewee.CharField()
    pieces = peewee.IntegerField()

    class Meta:
        """A word of SQL is no good name."""

        table_name = "orders"


def take_orders(user: User) -> None:
    """Do what a request of the shop's web page does, for the user who sent it."""
    order = Order.create(article="lamp", pieces=1)
    Order.insert_many([{"article": "bulb", "pieces": n} for n in (1, 2)]).execute()
    order.pieces = 3
    order.save()
    Order.delete().where(Order.article == "bulb", Order.pieces == 1).execute()


def main(url: str) -> None:
    """Open the shop for a moment."""
    database = connect(url)
    db.initialize(database)
    cmcore.init(database)
    cmcore.migrate(database, trail_only=True)
    database.create_tables([User, Order])
    ada = User.create(name="Ada")
    with cmcore.acting_as(ada.id, reason="web shop"):
        take_orders(ada)
    print(Order.select().count(), "orders in", urlsplit(url).scheme)
    for entry in reversed(cmcore.AuditLog.for_model(Order)):
        print(entry.extra_data["reason"], "|", entry.description)
    database.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///:memory:")
