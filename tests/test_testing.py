"""`cmcore.testing.assert_no_leaks` passes sound models, and finds planted leaks."""

import string
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pytest
from peewee import JOIN

import cmcore
from cmcore import fields, testing
from cmcore.models import live, reads
from cmcore.models.soft_delete import SoftDeleteMixin
from cmcore.testing import shapes
from cmcore.testing.rows import rows_of

LETTERS = string.ascii_lowercase


def made(database: Any, *models: Any) -> None:
    """Bind models to a database, and create their tables."""
    for model in models:
        model._meta.set_database(database)
    database.create_tables(models)


def person(**body: Any) -> Any:
    """Make a model of persons, with a boss among themselves."""
    body = {
        "name": peewee.CharField(),
        "boss": peewee.ForeignKeyField("self", null=True, backref="staff"),
        "Meta": type("Meta", (), {"table_name": "leaky_persons"}),
        **body,
    }
    metaclass: Any = type(cmcore.Model)
    return metaclass("Person", (SoftDeleteMixin, cmcore.Model), body)


def note(of: Any) -> Any:
    """Make a model whose rows refer to persons."""

    class Note(SoftDeleteMixin, cmcore.Model):
        author = peewee.ForeignKeyField(of, backref="notes")

        class Meta:
            table_name = "leaky_notes"

    return Note


def complaints(model: Any) -> str:
    """Return what is wrong with a model."""
    with pytest.raises(AssertionError) as caught:
        testing.assert_no_leaks(model)
    return str(caught.value)


def test_sound_models_pass(database: peewee.Database) -> None:
    """The models of cmcore and a pair of an application leak nothing."""
    one = person()
    two = note(one)
    made(database, one, two)
    for model in (one, two, cmcore.User, cmcore.Customer):
        testing.assert_no_leaks(model)


def test_every_way_of_reading_is_tried(
    database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the filter switched off, all of them complain but those that need none."""
    one = person()
    two = note(one)
    made(database, one, two)
    monkeypatch.setattr(reads, "visible_select", lambda query: query)
    monkeypatch.setattr(live.LiveTable, "__sql__", vars(peewee)["Table"].__sql__)
    monkeypatch.setattr(reads.RecordedAlias, "__sql__", peewee.ModelAlias.__sql__)
    text = complaints(one)
    titles = [*shapes.QUERIES, *shapes.COUNTS, "objects", "iterator()", "get()"]
    for title in (*titles, "exists()", "only_deleted()"):
        assert f"Person: {title}: shows" in text
    for link in ("Person.boss", "Note.author"):
        child = link.partition(".")[0]
        for kind in (JOIN.INNER, JOIN.LEFT_OUTER, JOIN.RIGHT_OUTER, JOIN.FULL_OUTER):
            assert f"{link}: {child} {kind} Person: shows" in text
        for kind in (JOIN.INNER, JOIN.LEFT_OUTER):
            assert f"{link}: Person {kind} {child}: shows" in text
        assert f"{link}: IN a sub-select: shows" in text
        for way in ("lazily", "by with_related"):
            assert f"{link}: the back-reference, {way}: shows" in text


def test_a_select_without_the_filter_is_found(database: peewee.Database) -> None:
    """A model whose `select()` names the table itself shows deleted rows."""

    def select(cls: Any, *chosen: Any) -> Any:
        return peewee.ModelSelect(cls, chosen or cls._meta.sorted_fields).from_(
            peewee.SQL('"leaky_persons" AS "t1"')
        )

    model = person(select=classmethod(select))
    made(database, model)
    text = complaints(model)
    for shape in ("select()", "objects", "get()", "exists()", "count()"):
        assert f"Person: {shape}: " in text


def test_a_plain_select_is_found(database: peewee.Database) -> None:
    """A model whose `select()` is peewee's own has lost the ways to deleted rows."""

    def select(cls: Any, *chosen: Any) -> Any:
        return peewee.ModelSelect(cls, chosen or cls._meta.sorted_fields)

    model = person(select=classmethod(select))
    made(database, model)
    assert "Person: with_deleted(): AttributeError" in complaints(model)


def test_a_plain_alias_is_found(database: peewee.Database) -> None:
    """A model whose `alias()` is peewee's own shows deleted rows through it."""

    def alias(cls: Any, name: str | None = None) -> Any:
        return peewee.ModelAlias(cls, name)

    model = person(alias=classmethod(alias))
    made(database, model)
    assert "Person: alias().select(): shows" in complaints(model)


def test_a_reference_that_peewee_follows_is_found(database: peewee.Database) -> None:
    """A foreign key with peewee's own accessor does not find a deleted parent."""
    one = person()
    two = note(one)
    made(database, one, two)
    accessor = peewee.ForeignKeyAccessor(two, two.author, "author")
    two.author = accessor
    for model in (one, two):
        text = complaints(model)
        assert "Note.author: the parent, lazily: " in text
        assert "Note.author: the parent, after a left join: " in text
        assert "Note.author: Note INNER JOIN" not in text


def test_a_save_that_brings_rows_back_is_found(database: peewee.Database) -> None:
    """A model whose `save()` writes all columns makes a deleted row live again."""

    def save(self: Any, *_: Any, **__: Any) -> Any:
        values = {type(self)._meta.fields["deleted_at"]: None}
        return (
            peewee.ModelUpdate(type(self), values).where(type(self).id == self.id)
        ).execute()

    model = person(save=save)
    made(database, model)
    (line,) = complaints(model).splitlines()[1:]
    assert line.strip().startswith("Person: save() of a stale object: shows")


def test_a_lost_row_is_found(database: peewee.Database) -> None:
    """A filter that hides live rows is named as well."""

    def select(cls: Any, *chosen: Any) -> Any:
        return super(model, cls).select(*chosen).where(cls.name == "nobody")

    model = person(select=classmethod(select))
    made(database, model)
    text = complaints(model)
    assert "Person: select(): loses" in text
    assert "Person: with_deleted(): loses" in text


def test_a_many_to_many_field_of_peewee_is_found(database: peewee.Database) -> None:
    """An accessor that peewee made shows deleted rows after a prefetch."""
    one = person()

    class Tag(SoftDeleteMixin, cmcore.Model):
        name = peewee.CharField(unique=True)
        people = fields.ManyToManyField(one, backref="tags")

        class Meta:
            table_name = "leaky_tags"

    many: Any = Tag.people
    through = many.get_through_model()
    made(database, one, Tag, through)
    testing.assert_no_leaks(one)
    testing.assert_no_leaks(Tag)
    plain: Any = vars(peewee)["ManyToManyFieldAccessor"]
    one.tags = plain(one, one._meta.manytomany["tags"], "tags")
    assert "Person.tags, by prefetch: shows" in complaints(one)


def demanding(of: Any) -> Iterator[Any]:
    """Yield models for which values are not easily made up."""

    class Strict(SoftDeleteMixin, cmcore.AuditMixin, cmcore.Model):
        id = peewee.UUIDField(primary_key=True, default=uuid.uuid4)
        code = peewee.CharField(max_length=4, unique=True)
        letter = peewee.FixedCharField(1)
        kind = peewee.CharField(choices=[(c, c) for c in LETTERS], unique=True)
        size = peewee.SmallIntegerField(choices=[(7, "seven")])
        email = fields.EmailField(unique=True)
        status = fields.EnumField(cmcore.CustomerStatus)
        born = peewee.DateField(unique=True)
        at = fields.UTCDateTimeField(unique=True)
        naive = peewee.DateTimeField()
        time = peewee.TimeField()
        seen = peewee.TimestampField()
        flag = peewee.BooleanField()
        price = peewee.DecimalField(4, 2)
        rate = peewee.DoubleField()
        data = peewee.BlobField()
        meta_data = fields.JSONField()
        address = peewee.IPField()
        twin = peewee.BinaryUUIDField(unique=True)
        owner = peewee.ForeignKeyField(of, unique=True, backref="one")
        backup = peewee.ForeignKeyField(of, null=True, backref="backups")

        class Meta:
            table_name = "leaky_strict"

    class Seat(SoftDeleteMixin, cmcore.Model):
        owner = peewee.ForeignKeyField(of, backref="seats")
        number = peewee.IntegerField()

        class Meta:
            table_name = "leaky_seats"
            primary_key = peewee.CompositeKey("owner", "number")

    class Loose(SoftDeleteMixin, cmcore.Model):
        owner = peewee.ForeignKeyField(of, backref="+")
        text = peewee.TextField()

        class Meta:
            table_name = "leaky_loose"
            primary_key = False

    class Plain(peewee.Model):
        owner = peewee.ForeignKeyField(of, backref="plain")

        class Meta:
            table_name = "leaky_plain"

    yield from (Strict, Seat, Loose, Plain)


def test_values_are_made_up_for_any_field(database: peewee.Database) -> None:
    """Unique, chosen, short, composite, keyless: rows can be made, nothing leaks."""
    one = person()
    models = list(demanding(one))
    made(database, one, *models)
    for model in (one, *models[:3]):
        testing.assert_no_leaks(model)


def test_rows_that_are_there_are_used_and_stay(
    database: peewee.Database, plugin: Callable[..., Any]
) -> None:
    """Afterwards the tables are as they were, and no hook has been called."""

    class Seen:
        calls = 0

        @cmcore.hookimpl
        def cmcore_before_create(self, changes: Any) -> None:
            Seen.calls += len(changes)

        @cmcore.hookimpl
        def cmcore_before_delete(self, changes: Any) -> None:
            Seen.calls += len(changes)

    one = person()
    two = note(one)
    made(database, one, two)
    ada = one.create(name="Ada")
    two.create(author=ada)
    one.create(name="Bob", boss=ada).delete_instance()
    before = [rows_of(model) for model in (one, two, cmcore.AuditLog, cmcore.User)]
    plugin(Seen())
    testing.assert_no_leaks(one)
    with database.atomic():
        testing.assert_no_leaks(two)
    assert Seen.calls == 0
    after = [rows_of(model) for model in (one, two, cmcore.AuditLog, cmcore.User)]
    assert after == before


def test_a_row_that_cannot_be_made_up_is_asked_for(database: peewee.Database) -> None:
    """A rule of the database that no made-up value meets: the error says what to do."""
    model = person(name=peewee.CharField(constraints=[peewee.Check("name = 'Ada'")]))
    made(database, model)
    with pytest.raises(cmcore.ConfigurationError, match="Put some into the database"):
        testing.assert_no_leaks(model)
    ada = model.create(name="Ada")
    for boss in (None, ada):
        model.create(name="Ada", boss=boss)
        model.create(name="Ada", boss=boss).delete_instance()
    for _ in range(2):
        gone = model.create(name="Ada")
        model.create(name="Ada", boss=gone)
        model.create(name="Ada", boss=gone).delete_instance()
        gone.delete_instance()
    testing.assert_no_leaks(model)


def test_relations_that_are_there_are_used(database: peewee.Database) -> None:
    """A related row that cannot be made up is not made where there is one already."""
    one = person()

    class Tag(SoftDeleteMixin, cmcore.Model):
        name = peewee.CharField(constraints=[peewee.Check("name IN ('a', 'b')")])
        people = fields.ManyToManyField(one, backref="tags")

        class Meta:
            table_name = "leaky_tags"

    many: Any = Tag.people
    through = many.get_through_model()
    made(database, one, Tag, through)
    with pytest.raises(cmcore.ConfigurationError, match="A row of Tag to test with"):
        testing.assert_no_leaks(one)
    ada = one.create(name="Ada")
    for name in ("a", "b"):
        through.create(tag=Tag.create(name=name), person=ada)
    Tag.delete().where(Tag.name == "b").execute()
    testing.assert_no_leaks(one)


def test_models_that_hide_nothing_are_refused(database: peewee.Database) -> None:
    """It needs a bound model with SoftDeleteMixin, whose rows are not the trail."""

    class Visible(cmcore.Model):
        name = peewee.CharField()

    unbound = person()
    unbound._meta.set_database(None)
    for model in (Visible, cmcore.AuditLog, unbound):
        with pytest.raises(cmcore.ConfigurationError):
            testing.assert_no_leaks(model)
