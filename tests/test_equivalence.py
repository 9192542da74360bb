"""The same SQL as peewee where nothing is recorded; the same trail by every way."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import peewee
import psycopg2.extensions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cmcore
from cmcore.changes import Action
from cmcore.models import AuditLog

# -- without auditing and plugins: peewee's own SQL ------------------------------------


def make(base: Any, many_to_many: Any) -> Any:
    """Return the same models on one base class or the other."""
    off = {"audit": False} if base is cmcore.Model else {}

    class Tag(base):
        name = peewee.CharField(unique=True)
        Meta = type("Meta", (), {"table_name": "same_tags", **off})

    class Post(base):
        title = peewee.CharField(unique=True)
        n = peewee.IntegerField(default=1)
        body = peewee.TextField(null=True)
        tags = many_to_many(Tag, backref="posts")
        Meta = type("Meta", (), {"table_name": "same_posts", **off})

    class Note(base):
        post = peewee.ForeignKeyField(Post, backref="notes", on_delete="CASCADE")
        text = peewee.TextField()
        Meta = type("Meta", (), {"table_name": "same_notes", **off})

    class Place(base):
        x = peewee.IntegerField()
        y = peewee.IntegerField()
        label = peewee.CharField(null=True)
        key = peewee.CompositeKey("x", "y")
        Meta = type(
            "Meta", (), {"table_name": "same_places", "primary_key": key, **off}
        )

    return Tag, Post, Note, Place, Post.tags.get_through_model()


STATEMENTS: list[Callable[[Any, Any, Any, Any, peewee.Database], Any]] = [
    lambda t, p, n, c, db: p.create(title="a", n=1).id,
    lambda t, p, n, c, db: p.insert(title="b").execute(),
    lambda t, p, n, c, db: list(
        p.insert_many([{"title": "c"}, {"title": "d"}]).execute()
    ),
    lambda t, p, n, c, db: (
        p.insert_many([("e", 5), ("f", 6)], fields=[p.title, p.n])
        .as_rowcount()
        .execute()
    ),
    lambda t, p, n, c, db: p.bulk_create([p(title=x) for x in "ghi"], batch_size=2),
    lambda t, p, n, c, db: (
        p.insert_from(p.select(p.title.concat("x"), p.n).where(p.n > 4), [p.title, p.n])
        .as_rowcount()
        .execute()
    ),
    lambda t, p, n, c, db: p.insert(title="j").returning(p.title).execute()[0].title,
    lambda t, p, n, c, db: p.insert(title="a").on_conflict_ignore().execute(),
    lambda t, p, n, c, db: (
        p.insert(title="a", n=9)
        .on_conflict(conflict_target=[p.title], preserve=[p.n], update={p.body: "up"})
        .execute()
    ),
    lambda t, p, n, c, db: p.get_or_create(title="k", defaults={"n": 3})[1],
    lambda t, p, n, c, db: p.get_or_create(title="k")[1],
    lambda t, p, n, c, db: saved(p, n=4, body="new"),
    lambda t, p, n, c, db: p.get(p.title == "b").save(only=[p.n]),
    lambda t, p, n, c, db: p.update(n=p.n + 1).where(p.n < 3).execute(),
    lambda t, p, n, c, db: (
        p.update({p.body: "x"})
        .where(p.title.in_(p.select(p.title).where(p.n > 5)))
        .execute()
    ),
    lambda t, p, n, c, db: sorted(
        x.title for x in p.update(n=0).where(p.n == 1).returning(p.title).execute()
    ),
    lambda t, p, n, c, db: p.set_by_id(1, {"n": 12}),
    lambda t, p, n, c, db: p.__setitem__(1, {"n": 13}),
    lambda t, p, n, c, db: bulk_updated(p),
    lambda t, p, n, c, db: n.create(post=1, text="one").id,
    lambda t, p, n, c, db: n.insert_many([(1, "two"), (2, "three")]).execute() and None,
    lambda t, p, n, c, db: [x.text for x in p.get_by_id(1).notes.order_by(n.id)],
    lambda t, p, n, c, db: [
        x.post.title for x in n.select(n, p).join(p).order_by(n.id)
    ],
    lambda t, p, n, c, db: len(peewee.prefetch(p.select(), n.select())),
    lambda t, p, n, c, db: p.select().where(p.n > 3).count(),
    lambda t, p, n, c, db: p.select().exists(),
    lambda t, p, n, c, db: p.select(peewee.fn.MAX(p.n)).scalar(),
    lambda t, p, n, c, db: (1 in p, len(p), p.get_or_none(p.title == "nope")),
    lambda t, p, n, c, db: p.get_by_id(1).tags.add([t.create(name="x")]),
    lambda t, p, n, c, db: p.get_by_id(1).tags.add(
        [t.create(name="y")], clear_existing=True
    ),
    lambda t, p, n, c, db: [x.name for x in p.get_by_id(1).tags],
    lambda t, p, n, c, db: p.get_by_id(1).tags.clear(),
    lambda t, p, n, c, db: c.create(x=1, y=2).label,
    lambda t, p, n, c, db: c.update(y=3).where((c.x == 1) & (c.y == 2)).execute(),
    lambda t, p, n, c, db: c.get(x=1).save(),
    lambda t, p, n, c, db: c.delete_by_id((1, 3)),
    lambda t, p, n, c, db: rolled_back(db, p),
    lambda t, p, n, c, db: p.delete().where(p.n == 0).execute(),
    lambda t, p, n, c, db: p.get_by_id(1).delete_instance(recursive=True),
    lambda t, p, n, c, db: p.delete_by_id(2),
    lambda t, p, n, c, db: p.get(p.title == "k").delete_instance(),
    lambda t, p, n, c, db: p.insert(title=None).execute(),
    lambda t, p, n, c, db: p.insert(title="k2", n="text").execute(),
    lambda t, p, n, c, db: p.delete().returning(p.n).execute()[0].n,
    lambda t, p, n, c, db: t.truncate_table(restart_identity=False),
]


def saved(model: Any, **values: Any) -> int:
    """Change an object and save what is dirty."""
    row = model.get(model.title == "c")
    for name, value in values.items():
        setattr(row, name, value)
    return int(row.save())


def bulk_updated(model: Any) -> int:
    """Update two objects at once."""
    rows = list(model.select().order_by(model.id).limit(2))
    for row in rows:
        row.n += 10
    return int(model.bulk_update(rows, [model.n]))


def rolled_back(database: peewee.Database, model: Any) -> None:
    """Write in a savepoint that is undone, inside a transaction that is kept."""
    with database.atomic():
        model.create(title="kept")
        with database.atomic() as savepoint:
            model.update(n=99).execute()
            savepoint.rollback()


@contextlib.contextmanager
def at_the_cursor(database: peewee.Database) -> Iterator[list[Any]]:
    """Collect what reaches the driver."""
    sent: list[Any] = []
    connection: Any = database.connection()
    if isinstance(database, peewee.SqliteDatabase):
        connection.set_trace_callback(sent.append)
        yield sent
        connection.set_trace_callback(None)
        return

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002
            sent.append((query, vars))
            super().execute(query, vars)

    connection.cursor_factory = Cursor
    yield sent
    connection.cursor_factory = None


def outcome(statement: Callable[[], Any]) -> Any:
    """Return what a statement gives, or which error of peewee's it raises."""
    try:
        return statement()
    except peewee.PeeweeException as error:
        kinds = [c for c in type(error).__mro__ if c.__module__ == "peewee"]
        return kinds[0].__name__


def test_with_auditing_off_the_sql_is_peewees(database: peewee.Database) -> None:
    """Statement by statement, results and what reaches the cursor are the same."""
    runs = []
    for base, many in (
        (peewee.Model, peewee.ManyToManyField),
        (cmcore.Model, cmcore.fields.ManyToManyField),
    ):
        models = make(base, many)
        run = []
        with database.bind_ctx(models):
            database.drop_tables(models, safe=True)
            database.create_tables(models)
            for i, statement in enumerate(STATEMENTS):
                with at_the_cursor(database) as sent:
                    result = outcome(lambda s=statement: s(*models[:4], database))  # type: ignore[misc]
                run.append((i, result, unnumbered(sent)))
            database.drop_tables(models)
        runs.append(run)
    plain, ours = runs
    assert [step[1] for step in plain].count("IntegrityError") >= 1
    for expected, got in zip(plain, ours, strict=True):
        assert got == expected
    assert AuditLog.select().count() == 0


def unnumbered(sent: list[Any]) -> list[str]:
    """Return statements as text, with peewee's random savepoint names made equal."""
    texts = [repr(item) for item in sent]
    words = [text.split() for text in texts]
    return [
        " ".join("SP" if len(w.strip("\"';,()")) == 33 else w for w in line)
        for line in words
    ]


# -- with auditing: the same trail whichever way a row was written ---------------------


class Sample(cmcore.AuditMixin, cmcore.Model):
    """A row with values of several kinds."""

    id = peewee.IntegerField(primary_key=True)
    text = peewee.TextField(null=True)
    price = peewee.DecimalField(max_digits=12, decimal_places=3, null=True)
    at = cmcore.fields.UTCDateTimeField(null=True)
    flag = peewee.BooleanField(null=True)
    data = cmcore.fields.JSONField(null=True)
    secret = cmcore.fields.SecretField(null=True)

    class Meta:
        table_name = "equivalent_samples"


def row_of(values: dict[str, Any], **more: Any) -> Any:
    """Return an object that is not in the database."""
    return Sample(**values, **more)


CREATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "create": lambda v: Sample.create(id=7, **v),
    "save": lambda v: row_of(v, id=7).save(force_insert=True),
    "insert": lambda v: Sample.insert(id=7, **v).execute(),
    "insert_many": lambda v: Sample.insert_many([{"id": 7, **v}]).execute(),
    "tuples": lambda v: Sample.insert_many(
        [(7, *v.values())], fields=["id", *v]
    ).execute(),
    "generator": lambda v: Sample.insert_many({"id": 7, **v} for _ in "1").execute(),
    "bulk_create": lambda v: Sample.bulk_create([row_of(v, id=7)]),
    "get_or_create": lambda v: Sample.get_or_create(id=7, defaults=v),
    "ignore": lambda v: Sample.insert(id=7, **v).on_conflict_ignore().execute(),
    "upsert": lambda v: (
        Sample.insert(id=7, **v)
        .on_conflict(conflict_target=[Sample.id], preserve=list(v))
        .execute()
    ),
    "returning": lambda v: list(Sample.insert(id=7, **v).returning(Sample.id)),
}


def changed(values: dict[str, Any]) -> Any:
    """Return the stored object with other values."""
    sample = Sample.get_by_id(7)
    for name, value in values.items():
        setattr(sample, name, value)
    return sample


UPDATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "save": lambda v: changed(v).save(),
    "save only": lambda v: changed(v).save(only=list(v)),
    "update": lambda v: Sample.update(v).where(Sample.id == 7).execute(),
    "update all": lambda v: Sample.update(**v).execute(),
    "set_by_id": lambda v: Sample.set_by_id(7, v),
    "item": lambda v: Sample.__setitem__(7, v),
    "bulk_update": lambda v: Sample.bulk_update([changed(v)], list(v)),
    "upsert": lambda v: (
        Sample.insert(id=7, **v)
        .on_conflict(
            conflict_target=[Sample.id], preserve=[getattr(Sample, n) for n in v]
        )
        .execute()
    ),
    "upsert update": lambda v: (
        Sample.insert(id=7).on_conflict(conflict_target=[Sample.id], update=v).execute()
    ),
    "returning": lambda v: list(Sample.update(v).returning(Sample.id)),
}

DELETES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "delete_instance": lambda _: Sample.get_by_id(7).delete_instance(),
    "recursive": lambda _: Sample.get_by_id(7).delete_instance(recursive=True),
    "delete": lambda _: Sample.delete().execute(),
    "delete where": lambda _: Sample.delete().where(Sample.id == 7).execute(),
    "delete_by_id": lambda _: Sample.delete_by_id(7),
    "item": lambda _: Sample.__delitem__(7),
    "returning": lambda _: list(Sample.delete().returning(Sample.id)),
}

plain_text = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | plain_text,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(plain_text, inner, max_size=2)
    ),
    max_leaves=4,
)
samples = st.fixed_dictionaries(
    {
        "text": st.none() | plain_text,
        "price": st.none() | st.decimals(-99_999, 99_999, places=3),
        "at": st.none()
        | st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 2)),  # noqa: DTZ001
        "flag": st.none() | st.booleans(),
        "data": json_values,
        "secret": st.none() | st.sampled_from(["a", "b"]),
    }
)
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def entries(
    write: Callable[[dict[str, Any]], Any], values: dict[str, Any]
) -> list[Any]:
    """Write, return the new entries without ids and times, and undo the write."""
    database: peewee.Database = Sample._meta.database
    with database.atomic() as transaction, cmcore.acting_as(reason="why"):
        before = AuditLog.select().count()
        write(values)
        assert AuditLog.select().count() - before <= 1
        query = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
        found = list(query.offset(before).limit(-1 if is_sqlite(database) else None))
        transaction.rollback()
    stamps = {"created_at", "updated_at"}
    return [
        (
            *(
                getattr(e, n)
                for n in ("action", "resource_type", "resource_id", "user_id")
            ),
            e.description,
            *(
                v and {**v, **dict.fromkeys(stamps & set(v))}
                for v in (e.old_values, e.new_values)
            ),
        )
        for e in found
    ]


def is_sqlite(database: Any) -> bool:
    """Tell the engine."""
    return isinstance(database, peewee.SqliteDatabase)


def test_every_way_to_write_leaves_the_same_trail(database: peewee.Database) -> None:
    """Creations, updates and deletions are recorded alike, whichever form wrote them."""
    database.create_tables([Sample])

    @QUICK
    @given(samples, samples)
    def check(first: dict[str, Any], second: dict[str, Any]) -> None:
        Sample.delete().execute()
        assert_alike(CREATES, first, Action.CREATE)
        Sample.create(id=7, **first)
        different = {n: v for n, v in second.items() if v != first[n]}
        if different:
            assert_alike(UPDATES, different, Action.UPDATE)
        assert_alike(DELETES, first, Action.DELETE)

    check()


def assert_alike(
    forms: dict[str, Callable[[dict[str, Any]], Any]],
    values: dict[str, Any],
    action: Action,
) -> None:
    """Check that all forms leave one and the same entry."""
    found = {name: entries(form, values) for name, form in forms.items()}
    reference = next(iter(found.values()))
    assert [entry[0] for entry in reference] == [action.value]
    for name, entry in found.items():
        assert (name, entry) == (name, reference)


def test_values_given_in_other_forms_are_recorded_alike(
    database: peewee.Database,
) -> None:
    """What a field adapts is recorded as what the database holds."""
    database.create_tables([Sample])
    given_as_text = {"price": "1.50", "flag": 1, "at": "2024-02-29T12:00:00+02:00"}
    at = datetime(2024, 2, 29, 10, tzinfo=UTC)
    given_plainly = {"price": Decimal("1.500"), "flag": True, "at": at}
    assert entries(CREATES["create"], given_as_text) == entries(
        CREATES["insert"], given_plainly
    )
