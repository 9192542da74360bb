"""With auditing off and no plugin, cmcore sends what peewee sends, and no more."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import psycopg2.extensions

import cmcore
from cmcore.models import AuditLog


def make(base: Any, many_to_many: Any) -> Any:
    """Return the same models on one base class or the other."""
    off = {"audit": False} if base is cmcore.Model else {}

    class Tag(base):  # type: ignore[misc]
        name = peewee.CharField(unique=True)
        Meta = type("Meta", (), {"table_name": "same_tags", **off})

    class Post(base):  # type: ignore[misc]
        title = peewee.CharField(unique=True)
        n = peewee.IntegerField(default=1)
        body = peewee.TextField(null=True)
        tags = many_to_many(Tag, backref="posts")
        Meta = type("Meta", (), {"table_name": "same_posts", **off})

    class Note(base):  # type: ignore[misc]
        post = peewee.ForeignKeyField(Post, backref="notes", on_delete="CASCADE")
        text = peewee.TextField()
        Meta = type("Meta", (), {"table_name": "same_notes", **off})

    class Place(base):  # type: ignore[misc]
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
    lambda t, p, n, c, db: drained(
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
    lambda t, p, n, c, db: drained(n.insert_many([(1, "two"), (2, "three")]).execute()),
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


def drained(result: Any) -> Any:
    """Return the last key, or the keys, that an insert of many rows gives."""
    return result if isinstance(result, int) else list(result)


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


def outcome(statement: Callable[..., Any], *given: Any) -> Any:
    """Return what a statement gives, or which error of peewee's it raises."""
    try:
        return statement(*given)
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
                    result = outcome(statement, *models[:4], database)
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
