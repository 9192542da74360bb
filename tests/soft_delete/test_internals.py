"""What soft delete relies on in peewee, which no document promises.

A failure here after an upgrade of peewee says what to look at.
"""

from typing import Any

import peewee
import pytest
from peewee import JOIN, Load
from playhouse.shortcuts import ThreadSafeDatabaseMetadata

import cmcore
from cmcore.engines.internals import internal
from cmcore.models.live import LiveTable

DATABASE = peewee.SqliteDatabase(":memory:")


class Owner(peewee.Model):
    """A plain parent."""

    id: Any
    pets: Any
    DoesNotExist: Any
    name = peewee.CharField(unique=True)

    class Meta:
        database = DATABASE


class Pet(peewee.Model):
    """A plain child."""

    owner = peewee.ForeignKeyField(Owner, backref="pets", null=True)

    class Meta:
        database = DATABASE


class Toy(peewee.Model):
    """With a relation of many to many."""

    pets = peewee.ManyToManyField(Pet, backref="toys")

    class Meta:
        database = DATABASE


class Probe(peewee.Node):
    """Remembers where it was rendered."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen: Any = None

    def __sql__(self, ctx: Any) -> Any:
        """Keep what the context says of the place."""
        self.seen = (ctx.scope, bool(ctx.state.in_projection))
        return ctx.literal("probe")


@pytest.fixture
def tables() -> Any:
    """The tables of the plain models, with a pet whose owner is not there."""
    models = [Owner, Pet, Toy, Toy.pets.get_through_model()]
    with DATABASE.connection_context():
        DATABASE.pragma("foreign_keys", 0)
        DATABASE.create_tables(models)
        Pet.create(id=1, owner=7)
        yield models
        DATABASE.drop_tables(models)


def test_a_select_renders_its_sources_and_its_condition() -> None:
    """`Select` keeps FROM in a list, WHERE in a node, and reads both when rendered."""
    query: Any = Owner.select()
    assert query._from_list == [Owner]
    assert query._where is None
    twin = query.__class__.__new__(query.__class__)
    vars(twin).update(vars(query))
    twin._from_list, twin._where = [peewee.SQL("elsewhere")], peewee.SQL("x = 1")
    assert twin.sql()[0].endswith(" FROM elsewhere WHERE x = 1")
    assert " WHERE " not in query.sql()[0]


def test_a_clone_has_a_hash_of_its_own_and_a_bare_copy_the_same() -> None:
    """`_hash` stands in the object's dict, and by it an alias is found."""
    query: Any = Owner.select()
    assert "_hash" in vars(query)
    assert hash(query.clone()) != hash(query)
    twin = query.__class__.__new__(query.__class__)
    vars(twin).update(vars(query))
    assert hash(twin) == hash(query)


def test_a_join_has_two_sides_a_kind_and_a_condition() -> None:
    """`Join` is a tree whose attributes can be read, and the kinds name themselves."""
    query: Any = Pet.select().join(Owner, JOIN.LEFT_OUTER)
    (join,) = query._from_list
    assert (join.lhs, join.rhs, join.join_type) == (Pet, Owner, "LEFT OUTER JOIN")
    assert isinstance(join._on, peewee.Expression)
    words = ("LEFT", "RIGHT", "FULL", "CROSS", "NATURAL")
    kinds = {name: {w for w in words if w in kind} for name, kind in JOIN.items()}
    assert kinds == {
        "INNER": set(),
        "LATERAL": set(),
        "LEFT_OUTER": {"LEFT"},
        "LEFT_LATERAL": {"LEFT"},
        "RIGHT_OUTER": {"RIGHT"},
        "FULL": {"FULL"},
        "FULL_OUTER": {"FULL"},
        "CROSS": {"CROSS"},
        "NATURAL": {"NATURAL"},
    }


def test_a_lateral_join_has_true_for_a_condition() -> None:
    """It is left out where a predicate takes its place."""
    newest = Pet.select().lateral()
    query: Any = Owner.select().join(newest, JOIN.LEFT_LATERAL)
    assert query._from_list[0]._on is True


def test_sources_and_columns_are_told_apart_by_the_scope() -> None:
    """FROM is rendered in the scope of sources, columns are in a projection too."""
    source, column, condition = Probe(), Probe(), Probe()
    internal.Select([source], [column]).where(condition).sql()
    assert source.seen == (internal.SCOPE_SOURCE, False)
    assert column.seen == (internal.SCOPE_SOURCE, True)
    assert condition.seen == (internal.SCOPE_NORMAL, False)


def test_a_source_is_named_by_the_alias_manager() -> None:
    """A model is known by its table, an alias by itself, and a name can be given."""
    ctx = internal.Context()
    table = Owner._meta.table
    assert ctx.alias_manager[table] == ctx.alias_manager[table] == "t1"
    other = Owner.alias("other")
    assert (other.model, other.alias) == (Owner, "other")
    ctx.alias_manager[other] = "other"
    assert ctx.alias_manager[other] == "other"


def test_a_table_knows_its_model_and_is_cloned_for_an_alias() -> None:
    """`Table` has `_model`, `_alias`, and a hash that can be made again."""
    table: Any = Owner._meta.table
    assert table._model is Owner
    assert table._alias is None
    named = table.alias("x")
    assert (named._alias, named._model) == ("x", Owner)
    assert hash(named) != hash(table)
    assert callable(table._update_hash)


def test_metadata_makes_the_table_when_it_is_asked_for() -> None:
    """`table` is a property with a deleter, and the entity is the bare name."""
    meta: Any = Owner._meta
    before = meta.table
    assert before is meta.table
    del meta.table
    assert meta.table is not before
    assert peewee.Context().sql(meta.entity).query() == ('"owner"', [])


def test_a_table_of_each_thread_is_made_anew() -> None:
    """Metadata for threads keeps a table for each, which goes as well."""

    class Threaded(cmcore.SoftDeleteMixin, cmcore.Model):
        name = peewee.CharField()

        class Meta:
            model_metadata_class = ThreadSafeDatabaseMetadata

    meta: Any = Threaded._meta
    assert isinstance(meta.table, LiveTable)
    meta.set_table_name("renamed")
    assert isinstance(meta.table, LiveTable)
    assert meta.table.__name__ == "renamed"


def test_indexes_are_nodes_that_can_be_narrowed() -> None:
    """`fields_to_index` gives indexes that have `_unique` and `where`."""
    (index,) = Owner._meta.fields_to_index()
    assert index._unique
    assert "_where" in vars(index.where(Owner.name == "x"))


def test_references_know_both_ends() -> None:
    """`backrefs`, `refs`, `model_refs` and `model_backrefs` name fields and models."""
    field = Pet.owner
    assert Owner._meta.backrefs[field] is Pet
    assert Pet._meta.refs[field] is Owner
    assert Pet._meta.model_refs[Owner] == [field]
    assert Owner._meta.model_backrefs[Pet] == [field]


def test_on_conflict_keeps_its_parts() -> None:
    """`OnConflict` has a target, two conditions, and what to assign."""
    query: Any = Owner.insert(name="a").on_conflict(
        conflict_target=[Owner.name],
        conflict_where=Owner.name != "",
        update={Owner.name: "b"},
        preserve=[Owner.id],
        where=Owner.id > 1,
    )
    parts = vars(query._on_conflict)
    named = ("_conflict_target", "_conflict_where", "_where", "_update", "_preserve")
    assert all(parts[name] is not None for name in named)
    assert query._on_conflict.clone() is not query._on_conflict


def test_an_update_keeps_its_further_sources() -> None:
    """`Update` has `_from`, None or a tuple."""
    update: Any = Owner.update(name="x")
    assert update._from is None
    assert update.from_(Pet)._from == (Pet,)


def test_a_foreign_key_is_followed_by_its_accessor(tables: Any) -> None:
    """`get_rel_instance` does it, and None in `__rel__` means that nothing is there."""
    accessor = vars(Pet)["owner"]
    assert isinstance(accessor, internal.ForeignKeyAccessor)
    query = Pet.select(Pet, Owner).join(Owner, JOIN.LEFT_OUTER)
    pet: Any = query.get()
    assert (pet.__data__["owner"], pet.__rel__) == (7, {"owner": None})
    assert accessor.get_rel_instance(pet) is None
    with pytest.raises(Owner.DoesNotExist):
        accessor.get_rel_instance(Pet.get())


def test_load_asks_for_its_query_in_one_place(tables: Any) -> None:
    """`Load` has `_base`, a direction, children, and a query for the best of each."""
    load: Any = Load(Pet.owner).then(Load(Owner.pets, per_parent=1))
    assert load._is_backref is False
    assert load._query is None
    assert load._base(Owner).model is Owner
    (child,) = load._children
    assert child._is_backref is True
    query: Any = child._windowed(Owner.select(), [])
    assert query._cte_list
    assert isinstance(query, peewee.ModelSelect)


def test_many_to_many_is_a_query_or_after_a_prefetch_a_list(tables: Any) -> None:
    """`get_query` makes it, by way of two foreign keys that the accessor names."""
    accessor: Any = vars(Pet)["toys"]
    pet = Pet.get()
    assert type(accessor.get_query(pet)) is internal.ManyToManyQuery
    assert accessor.src_fk.rel_model is Pet
    assert accessor.dest_fk.rel_model is Toy
    (loaded,) = Pet.select().prefetch(accessor.through_model)
    assert loaded.toys == []
