"""What each field takes, stores and gives back, on both engines."""

import copy
import enum
import logging
import pickle
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import peewee
import pytest
from peewee_migrate.auto import diff_many

import cmcore
from cmcore.errors import ConfigurationError, InvalidValueError, NaiveDatetimeError
from cmcore.fields import (
    EmailField,
    EnumField,
    ForeignKeyField,
    JSONField,
    KeyField,
    ManyToManyField,
    Secret,
    SecretField,
    UTCDateTimeField,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)


class Plan(enum.Enum):
    """An enumeration that is no text itself."""

    FREE = "free"
    PAID = "paid"


class Thing(peewee.Model):
    """One field of each kind."""

    id = KeyField(primary_key=True)
    at = UTCDateTimeField(null=True)
    plan = EnumField(Plan, max_length=20, default="free")
    email = EmailField(null=True)
    seal = SecretField(null=True)
    data = JSONField(null=True)


class Part(peewee.Model):
    """Refers to a thing, by a column with the field's own name."""

    thing = ForeignKeyField(Thing, column_name="thing", null=True)


TABLES = (Thing, Part)
DATA: Any = Thing.data


@pytest.fixture
def db(empty_database: peewee.Database) -> Iterator[peewee.Database]:
    """The models above with their tables, on each engine."""
    with empty_database.bind_ctx(TABLES):
        empty_database.create_tables(TABLES)
        yield empty_database


@pytest.fixture
def psycopg3(make_url: Any) -> Iterator[peewee.Database]:
    """The models above on PostgreSQL by way of psycopg 3."""
    database = peewee.PostgresqlDatabase(make_url("postgresql"), prefer_psycopg3=True)
    with database, database.bind_ctx(TABLES):
        database.create_tables(TABLES)
        yield database
    database.close()


def stored(db: peewee.Database, column: str) -> Any:
    """Return what the database itself holds in a column of the only thing."""
    return db.execute_sql(f'SELECT "{column}" FROM thing').fetchone()[0]  # noqa: S608


def is_sqlite(db: peewee.Database) -> bool:
    """Tell the engine."""
    return isinstance(db, peewee.SqliteDatabase)


# -- Columns ---------------------------------------------------------------------


def test_column_types(db: peewee.Database) -> None:
    """Each engine has the type that the contract names."""
    types = {c.name: c.data_type.lower() for c in db.get_columns("thing")}
    moment, document = ("text", "text")
    if not is_sqlite(db):
        moment, document = ("timestamp with time zone", "jsonb")
    assert types["at"] == moment
    assert types["data"] == document
    varchars = {types[name] for name in ("id", "plan", "email", "seal")}
    assert len({name.split("(")[0] for name in varchars}) == 1
    assert Thing.plan.get_modifiers() == [20]
    assert Thing.id.get_modifiers() == [36]


# -- KeyField and ForeignKeyField --------------------------------------------------


@pytest.mark.usefixtures("db")
def test_a_primary_key_is_a_new_uuid7() -> None:
    """Without a value there is a new key, and a given one is kept."""
    thing = Thing.create()
    assert uuid.UUID(thing.id).version == 7
    assert Thing.create(id="mine").id == "mine"
    assert Thing.get_by_id("mine").id == "mine"
    assert KeyField().default is None


@pytest.mark.usefixtures("db")
def test_a_uuid_is_taken_for_a_key() -> None:
    """As a value, in conditions, and through a foreign key; it becomes text."""
    key = uuid.uuid4()
    assert Thing.create(id=key).id == str(key)
    assert Thing.get_by_id(key).id == str(key)
    Part.create(thing=key)
    part: Any = Part.get(Part.thing == key)
    assert part.thing_id == str(key)
    assert part.thing.id == str(key)


# -- EnumField ---------------------------------------------------------------------


def test_an_enum_is_stored_as_its_value(db: peewee.Database) -> None:
    """A member or its value goes in, on instances and in queries; members come out."""
    thing = Thing.create(plan="paid")
    assert thing.plan is Plan.PAID
    assert stored(db, "plan") == "paid"
    Thing.update(plan=Plan.FREE).execute()
    assert Thing.get(Thing.plan == "free").plan is Plan.FREE
    assert Thing.get(Thing.plan.in_([Plan.FREE, "paid"])).plan is Plan.FREE


@pytest.mark.usefixtures("db")
def test_the_default_of_an_enum_is_a_member() -> None:
    """The default may be given as a value, and is there before the row is saved."""
    assert Thing().plan is Plan.FREE
    assert Thing.create().plan is Plan.FREE
    assert Thing.get().plan is Plan.FREE


@pytest.mark.usefixtures("db")
def test_an_unknown_enum_value_is_refused() -> None:
    """Written or in a condition, the error names table, column and what is allowed."""
    for attempt in (
        lambda: Thing.create(plan="gold"),
        Thing.update(plan="gold").execute,
        Thing.select().where(Thing.plan == "gold").count,
        lambda: Thing.create(plan=7),
    ):
        with pytest.raises(InvalidValueError, match="Allowed: free, paid") as caught:
            attempt()
        assert (caught.value.table, caught.value.column) == ("thing", "plan")
    assert Thing.select().count() == 0


def test_an_unknown_text_in_the_database_can_be_read(db: peewee.Database) -> None:
    """It comes back as text, and the row is refused until the text is a known one."""
    Thing.create()
    db.execute_sql("UPDATE thing SET plan = 'gold'")
    thing = Thing.get()
    assert thing.plan == "gold"
    with pytest.raises(InvalidValueError):
        thing.save()
    thing.plan = Plan.PAID
    assert thing.save() == 1


def test_an_enum_must_fit_its_field() -> None:
    """Values that are no text, and a default that is no member, are refused at once."""

    class Number(enum.IntEnum):
        ONE = 1

    with pytest.raises(ConfigurationError, match="Number"):
        EnumField(Number)
    with pytest.raises(ConfigurationError, match=r"gold.*Allowed: free, paid"):
        EnumField(Plan, default="gold")


@pytest.mark.parametrize("option", ["audit_mask", "audit_exclude"])
def test_errors_hide_the_value_of_a_masked_field(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Where the model masks or excludes a field, its errors do not show the value."""
    monkeypatch.setattr(Thing._meta, option, ("plan", "at"), raising=False)
    with pytest.raises(InvalidValueError) as invalid:
        Thing.plan.db_value("walnut2")
    with pytest.raises(NaiveDatetimeError) as naive:
        Thing.at.db_value("1999-01-01")
    for error in (invalid.value, naive.value):
        assert error.value is None
        assert "walnut2" not in str(error)
        assert "1999" not in str(error)


# -- SecretField -------------------------------------------------------------------


def check_secret(db: peewee.Database, caplog: pytest.LogCaptureFixture) -> None:
    """Write, read and compare a secret, and look at everything that was logged."""
    with caplog.at_level(logging.DEBUG, logger="peewee"):
        thing = Thing.create(seal="walnut2")
        assert repr(thing.seal) == "'***'"
        thing.seal = "walnut3"
        thing.save()
        read = Thing.get(Thing.seal == "walnut3")
        Thing.update(seal="walnut4").where(Thing.seal.in_(["walnut3"])).execute()
    assert read.seal == "walnut3"
    assert stored(db, "seal") == "walnut4"
    assert "walnut" not in repr(read.__data__)
    assert "walnut" not in repr(list(Thing.select().dicts()))
    assert len(caplog.records) >= 4
    assert "walnut" not in caplog.text
    assert "***" in caplog.text


def test_a_secret_does_not_show_itself(
    db: peewee.Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in repr, dicts or the log of statements; the text itself is there."""
    check_secret(db, caplog)


def test_a_secret_by_way_of_psycopg3(
    psycopg3: peewee.Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The other driver of PostgreSQL stores the text too."""
    check_secret(psycopg3, caplog)


@pytest.mark.usefixtures("db")
def test_a_secret_of_null_and_of_bytes() -> None:
    """NULL stays None, as in every field; bytes are text in UTF-8."""
    assert Thing.create(seal=None).seal is None
    assert Thing.get().seal is None
    assert Thing(seal=b"caf\xc3\xa9").seal == "café"


def test_secrets_pickle_and_copy() -> None:
    """What comes out is a secret still."""
    for again in (pickle.loads(pickle.dumps(Secret("x"))), copy.deepcopy(Secret("x"))):  # noqa: S301
        assert again == "x"
        assert repr(again) == "'***'"
    assert f"{Secret('x')}" == "x"


# -- EmailField, JSONField, expressions, inheritance -------------------------------


def test_email_is_lower_case_everywhere(db: peewee.Database) -> None:
    """On the instance, in the database and in conditions."""
    assert Thing.create(email="Ada@Example.ORG").email == "ada@example.org"
    assert stored(db, "email") == "ada@example.org"
    assert Thing.select().where(Thing.email == "ADA@example.org").count() == 1
    assert Thing.select().where(Thing.email.in_(["ADA@example.org"])).count() == 1


@pytest.mark.usefixtures("db")
def test_json_comes_back() -> None:
    """Nested values, and NULL, on both engines; paths work."""
    document = {"a": [1, 2.5, None, True, "é"], "b": {"c": "d"}}
    Thing.create(data=document)
    assert Thing.get().data == document
    assert Thing.get(DATA["b"]["c"] == "d").data == document
    Thing.update(data=None).execute()
    assert Thing.get().data is None


@pytest.mark.usefixtures("db")
def test_expressions_stand_in_the_place_of_values() -> None:
    """Assigned to an instance or in a query, they reach the database as they are."""
    thing = Thing.create(email="ada@example.org", seal="walnut2", plan="free")
    thing.email = peewee.fn.UPPER(Thing.email)
    thing.seal = peewee.fn.UPPER(Thing.seal)
    thing.plan = peewee.fn.LOWER("PAID")
    thing.save()
    read: Any = Thing.select().dicts().get()
    assert read["email"] == "ADA@EXAMPLE.ORG".lower()
    assert read["seal"] == "WALNUT2"
    assert read["plan"] is Plan.PAID
    Thing.update(email=Thing.email.concat("x")).execute()
    assert Thing.get().email == "ada@example.orgx"


def test_fields_are_inherited(empty_database: peewee.Database) -> None:
    """A model that derives from another one has working copies of its fields."""

    class Special(Thing):
        extra = KeyField(null=True)

    with empty_database.bind_ctx([Special]):
        empty_database.create_tables([Special])
        Special.create(at=NOON, plan="paid", seal="walnut2", extra=uuid.UUID(int=1))
        read = Special.get()
        assert (read.at, read.plan, read.seal) == (NOON, Plan.PAID, "walnut2")
        assert read.extra == str(uuid.UUID(int=1))


def test_the_stock_tool_sees_peewee_fields() -> None:
    """`pw_migrate create --auto` finds no change against the fields of its scripts."""

    class Scripted(peewee.Model):
        id = peewee.CharField(max_length=36, primary_key=True)
        at = peewee.DateTimeField(null=True)
        plan = peewee.CharField(max_length=20, default="free")
        email = peewee.CharField(max_length=255, null=True)
        seal = peewee.CharField(max_length=255, null=True)
        data = peewee.JSONField(null=True)

        class Meta:
            table_name = "thing"

    assert diff_many([Thing], [Scripted]) == []


# -- ManyToManyField ---------------------------------------------------------------


class RootMeta(peewee.ModelBase):
    """Keeps its first class unprocessed, as peewee keeps `Model`."""

    def __new__(cls, name: str, bases: Any, attrs: Any, *, bare: bool = False) -> Any:
        """Make a class without `_meta` when asked to."""
        if bare:
            return type.__new__(cls, name, bases, attrs)
        make: Any = super().__new__
        return make(cls, name, bases, attrs)

    def __init__(cls, name: str, bases: Any, attrs: Any, **_: Any) -> None:  # noqa: N805
        """Swallow the keyword."""
        super().__init__(name, bases, attrs)


class Root(peewee.Model, metaclass=RootMeta, bare=True):
    """Stands for a root class that captures writes."""


class Mixin(Root, bare=True):
    """Stands for a mixin."""


def test_through_rows_are_in_the_family(empty_database: peewee.Database) -> None:
    """The automatic through model derives from the root of the declaring model."""

    class Base(Root):
        class Meta:
            database = empty_database

    class Tag(Base):
        name = peewee.CharField()

    class Note(Mixin, Base):
        tags = ManyToManyField(Tag, backref="notes", on_delete="CASCADE")

    through: Any = Note.tags.through_model
    assert Root in through.__mro__
    assert Mixin not in through.__mro__
    assert through._meta.database is empty_database
    assert through._meta.table_name == "note_tag_through"
    assert {fk.on_delete for fk in through._meta.refs} == {"CASCADE"}
    empty_database.create_tables([Tag, Note, through])
    note: Any = Note.create()
    tag: Any = Tag.create(name="x")
    note.tags.add(tag)
    assert [row.name for row in note.tags] == ["x"]
    assert [row.id for row in tag.notes] == [note.id]
    with pytest.raises(peewee.IntegrityError), empty_database.atomic():
        through.create(note=note, tag=tag)


@pytest.mark.parametrize("root", [Root, peewee.Model])
def test_a_through_model_is_not_bound_before_its_model(root: Any) -> None:
    """Without a database for the declaring model there is none for the through model.

    `Meta.audit = False` holds for the through model too.
    """

    class Tag(root):  # type: ignore[misc]
        pass

    class Note(root):  # type: ignore[misc]
        tags = ManyToManyField(Tag)

        class Meta:
            audit = False

    through = Note.tags.through_model
    assert through._meta.database is None
    assert through.__bases__ == (root,)
    assert through._meta.audit is False


def test_a_star_import_brings_the_fields_alone() -> None:
    """It overwrites no `datetime`, `date`, `enum` or `uuid` of the one who imports."""
    names: dict[str, Any] = {}
    exec("from cmcore.fields import *", names)  # noqa: S102
    found = {name for name in names if not name.startswith("__")}
    assert all(issubclass(names[name], peewee.Field) for name in found)
    assert found >= {"ForeignKeyField", "KeyField", "ManyToManyField"}


USES: dict[str, Callable[[Any], Any]] = {
    "layout": lambda model: model._meta.layout,
    "select": lambda model: list(model.select()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("option", ["audit_mask", "audit_exclude"])
def test_a_name_that_is_no_field_is_told(
    option: str, use: Callable[[Any], Any]
) -> None:
    """The error names it and the fields that there are; a bare text is refused."""

    def model(names: Any) -> Any:
        meta = type("Meta", (), {option: names, "database": peewee.SqliteDatabase("")})
        body = {"Meta": meta, "a": peewee.TextField(), "__module__": __name__}
        make: Any = type(cmcore.Model)
        return make("Named", (cmcore.Model,), body)

    told = f"Named.Meta.{option} names 'b', which is no field of Named. Its fields are "
    with pytest.raises(cmcore.ConfigurationError, match=f"{told}id, a"):
        use(model(("a", "b")))
    with pytest.raises(cmcore.ConfigurationError, match=r"Write a tuple: \('a',\)"):
        use(model("a"))
    assert model(("a",))._meta.layout.hides
