"""Sample models whose rows are marked: every kind of key, and links of every kind."""

from typing import Any

import peewee

import cmcore
from cmcore.fields import KeyField, ManyToManyField
from tests.models import Counter, text_key, uuid_key

KINDS = ("integer", "text", "uuid", "composite", "none")


def _item(kind: str) -> Any:
    options: dict[str, Any] = {"table_name": f"soft_{kind}_items"}
    keys: dict[str, Any] = {}
    if kind == "text":
        keys = {"id": KeyField(primary_key=True, default=Counter(text_key))}
    elif kind == "uuid":
        counter = Counter(uuid_key)
        keys = {"id": peewee.UUIDField(primary_key=True, default=counter)}
    elif kind == "composite":
        keys = {
            "region": peewee.CharField(max_length=20),
            "number": peewee.IntegerField(column_name="row_number"),
        }
        options["primary_key"] = peewee.CompositeKey("region", "number")
    elif kind == "none":
        options["primary_key"] = False
    body = {
        **keys,
        "code": peewee.CharField(unique=True),
        "n": peewee.IntegerField(null=True, default=0),
        "Meta": type("Meta", (), options),
    }
    metaclass: Any = type(cmcore.Model)
    bases = (cmcore.SoftDeleteMixin, cmcore.Model)
    return metaclass(f"Soft{kind.title()}", bases, body)


ITEMS = {kind: _item(kind) for kind in KINDS}
Item = ITEMS["integer"]


class Pair(cmcore.SoftDeleteMixin, cmcore.Model):
    """Two columns that must be unique together."""

    a = peewee.CharField()
    b = peewee.IntegerField(null=True)
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "soft_pairs"
        indexes = ((("a", "b"), True),)


class Acted(cmcore.ActorMixin, cmcore.SoftDeleteMixin, cmcore.Model):
    """With plain user ids."""

    name = peewee.CharField()

    class Meta:
        table_name = "soft_acted"


class ActedLast(cmcore.Model, cmcore.SoftDeleteMixin, cmcore.ActorMixin):  # type: ignore[misc, metaclass]  # the order is the point
    """The same, with the mixins behind the base."""

    name = peewee.CharField()

    class Meta:
        table_name = "soft_acted_last"


class Audited(cmcore.SoftDeleteMixin, cmcore.AuditMixin, cmcore.Model):
    """With moments and users."""

    name = peewee.CharField()

    class Meta:
        table_name = "soft_audited"


class Unrecorded(cmcore.SoftDeleteMixin, cmcore.Model):
    """Without audit rows."""

    code = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_unrecorded"
        audit = False


class Dirty(cmcore.SoftDeleteMixin, cmcore.Model):
    """Saves only what was assigned."""

    name = peewee.CharField()
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "soft_dirty"
        only_save_dirty = True


class Secretive(cmcore.SoftDeleteMixin, cmcore.Model):
    """Hides who deleted its rows, and when, from the trail."""

    code = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_secretive"
        audit_exclude = ("deleted_at", "deleted_by")
        audit_mask = ("code",)


class ApplicationModel(cmcore.SoftDeleteMixin, cmcore.Model):
    """The base model of an application."""

    id = KeyField(primary_key=True)


class Derived(ApplicationModel):
    """Inherits that its rows are marked."""

    name = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_derived"


class DerivedTwice(Derived):
    """Inherits it over two steps, in a table of its own."""

    extra = peewee.CharField(default="")

    class Meta:
        table_name = "soft_derived_twice"


class Root(cmcore.SoftDeleteMixin, cmcore.Model):
    """What others depend on."""

    name = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_roots"


class Branch(cmcore.SoftDeleteMixin, cmcore.Model):
    """Depends on a root, and may lean on another."""

    name = peewee.CharField(unique=True)
    root = peewee.ForeignKeyField(Root, backref="branches")
    spare = peewee.ForeignKeyField(Root, null=True, backref="spares")

    class Meta:
        table_name = "soft_branches"


class Leaf(cmcore.SoftDeleteMixin, cmcore.Model):
    """Depends on a branch and, by a second way, on a root."""

    name = peewee.CharField()
    branch = peewee.ForeignKeyField(Branch, backref="leaves")
    root = peewee.ForeignKeyField(Root, backref="leaves")

    class Meta:
        table_name = "soft_leaves"


class Remark(cmcore.SoftDeleteMixin, cmcore.Model):
    """May belong to a root."""

    name = peewee.CharField()
    root = peewee.ForeignKeyField(Root, null=True, backref="remarks")

    class Meta:
        table_name = "soft_remarks"


class Mark(cmcore.SoftDeleteMixin, cmcore.Model):
    """Depends on a root, and has no key by which it could be named."""

    name = peewee.CharField()
    root = peewee.ForeignKeyField(Root, backref="marks")

    class Meta:
        table_name = "soft_marks"
        primary_key = False


class Cell(cmcore.SoftDeleteMixin, cmcore.Model):
    """Depends on a root, with a key of two columns."""

    row = peewee.IntegerField()
    column = peewee.IntegerField()
    root = peewee.ForeignKeyField(Root, backref="cells")

    class Meta:
        table_name = "soft_cells"
        primary_key = peewee.CompositeKey("row", "column")


class Node(cmcore.SoftDeleteMixin, cmcore.Model):
    """A tree in one table, with a needed and an optional link."""

    name = peewee.CharField()
    owner = peewee.ForeignKeyField("self", backref="owned", on_delete="RESTRICT")
    friend = peewee.ForeignKeyField("self", null=True, backref="friends")

    class Meta:
        table_name = "soft_nodes"


class Hen(cmcore.SoftDeleteMixin, cmcore.Model):
    """Came out of an egg, perhaps."""

    name = peewee.CharField()
    egg = peewee.DeferredForeignKey("Egg", null=True, backref="hens")

    class Meta:
        table_name = "soft_hens"


class Egg(cmcore.SoftDeleteMixin, cmcore.Model):
    """Was laid by a hen."""

    name = peewee.CharField()
    hen = peewee.ForeignKeyField(Hen, backref="eggs")

    class Meta:
        table_name = "soft_eggs"


class Host(cmcore.SoftDeleteMixin, cmcore.Model):
    """Has dependents that cannot be marked."""

    name = peewee.CharField()

    class Meta:
        table_name = "soft_hosts"


class Guest(cmcore.Model):
    """Depends on a host, and is not marked."""

    name = peewee.CharField()
    host = peewee.ForeignKeyField(Host, backref="guests")

    class Meta:
        table_name = "soft_guests"


class Visitor(cmcore.Model):
    """May refer to a host, and is not marked."""

    name = peewee.CharField()
    host = peewee.ForeignKeyField(Host, null=True, on_delete="SET NULL")
    other = peewee.ForeignKeyField(
        Host, null=True, on_delete="CASCADE", backref="others"
    )

    class Meta:
        table_name = "soft_visitors"


class Tag(cmcore.SoftDeleteMixin, cmcore.Model):
    """A word on articles."""

    word = peewee.CharField(unique=True)

    class Meta:
        table_name = "soft_tags"


Tagging: Any = peewee.DeferredThroughModel()


class Article(cmcore.SoftDeleteMixin, cmcore.Model):
    """Has tags."""

    title = peewee.CharField()
    tags = ManyToManyField(Tag, backref="articles", through_model=Tagging)

    class Meta:
        table_name = "soft_articles"


class ArticleTag(cmcore.SoftDeleteMixin, cmcore.Model):
    """That an article has a tag."""

    article = peewee.ForeignKeyField(Article)
    tag = peewee.ForeignKeyField(Tag)

    class Meta:
        table_name = "soft_article_tags"
        indexes = ((("article", "tag"), True),)


Tagging.set_model(ArticleTag)


class Profile(cmcore.SoftDeleteMixin, cmcore.Model):
    """Has the key of what it depends on."""

    root = peewee.ForeignKeyField(Root, primary_key=True, backref="profiles")
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "soft_profiles"


class Member(cmcore.SoftDeleteMixin, cmcore.Model):
    """Has a key of two references."""

    root = peewee.ForeignKeyField(Root, backref="members")
    tag = peewee.ForeignKeyField(Tag, backref="members")
    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "soft_members"
        primary_key = peewee.CompositeKey("root", "tag")


MODELS: list[Any] = [
    *ITEMS.values(),
    Pair,
    Acted,
    ActedLast,
    Audited,
    Unrecorded,
    Dirty,
    Secretive,
    Derived,
    DerivedTwice,
    Root,
    Branch,
    Leaf,
    Remark,
    Mark,
    Cell,
    Node,
    Hen,
    Egg,
    Host,
    Guest,
    Visitor,
    Tag,
    Article,
    ArticleTag,
    Profile,
    Member,
]
"""In an order in which they can be emptied backwards."""
