"""One family of models twice: with soft delete, and on plain peewee for the oracle.

The plain family has the same tables and columns; in its database the rows that are
marked as deleted in the other one were never there.
"""

from types import SimpleNamespace
from typing import Any

import peewee

import cmcore
from cmcore.fields import UTCDateTimeField


def family(*, soft: bool) -> Any:
    """Make the models, on cmcore with soft delete or on plain peewee."""
    base: Any = cmcore.Model if soft else peewee.Model
    mixins: Any = (cmcore.SoftDeleteMixin,) if soft else ()
    many: Any = cmcore.fields.ManyToManyField if soft else peewee.ManyToManyField

    def model(
        called: str,
        /,
        *,
        deletes: bool = True,
        of: Any = base,
        key: Any = None,
        **fields: Any,
    ) -> Any:
        options = {"table_name": f"leak_{called.lower()}"}
        if key is not None:
            options["primary_key"] = key
        if deletes and not soft:  # where the mixin has them: behind all others
            fields["deleted_at"] = UTCDateTimeField(null=True)
            fields["deleted_by"] = peewee.CharField(max_length=36, null=True)
        bases = (*(mixins if deletes else ()), of)
        body = {**fields, "Meta": type("Meta", (), options)}
        return type(of)(called, bases, body)

    refers = peewee.ForeignKeyField
    city = model("City", deletes=False, name=peewee.CharField())
    team = model("Team", name=peewee.CharField())
    person = model(
        "Person",
        name=peewee.CharField(),
        age=peewee.IntegerField(null=True),
        team=refers(team, null=True, backref="members"),
        city=refers(city, null=True, backref="people"),
        boss=refers("self", null=True, backref="staff"),
    )
    note = model(
        "Note",
        text=peewee.CharField(),
        author=refers(person, backref="notes"),
        reader=refers(person, null=True, backref="read_notes"),
    )
    tag = model("Tag", name=peewee.CharField(), people=many(person, backref="tags"))
    held = peewee.DeferredThroughModel()
    skill = model(
        "Skill",
        name=peewee.CharField(),
        people=many(person, backref="skills", through_model=held),
    )
    person_skill = model(
        "PersonSkill",
        person=refers(person, backref="person_skills"),
        skill=refers(skill, backref="person_skills"),
        level=peewee.IntegerField(),
    )
    held.set_model(person_skill)
    seat = model(
        "Seat",
        key=peewee.CompositeKey("room", "number"),
        room=peewee.IntegerField(),
        number=peewee.IntegerField(),
        person=refers(person, null=True, backref="seats"),
    )
    # Plain peewee in both families: models that know nothing of soft delete.
    post = model(
        "Post",
        deletes=False,
        of=peewee.Model,
        title=peewee.CharField(),
        person=refers(person, null=True, backref="posts"),
    )
    album = model(
        "Album",
        deletes=False,
        of=peewee.Model,
        name=peewee.CharField(),
        people=peewee.ManyToManyField(person, backref="albums"),
    )
    through = {
        "PersonTag": tag.people.get_through_model(),
        "AlbumPerson": album.people.get_through_model(),
    }
    made = (city, team, person, note, tag, skill, person_skill, seat, post, album)
    return SimpleNamespace(**{m.__name__: m for m in made}, **through)


SOFT = family(soft=True)
"""Recorded by cmcore, with soft delete."""
PURGED = family(soft=False)
"""The oracle: plain peewee, for a database without the deleted rows."""


def models_of(names: Any) -> dict[str, Any]:
    """Return the models of a family by name, parents first."""
    models: dict[str, Any] = vars(names)
    return models
