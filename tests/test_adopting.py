"""An application of its own, with a table `users` of its own, becomes audited."""

import ast
import difflib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import peewee
import pytest
from click.testing import CliRunner

import cmcore
from cmcore import AuditLog, Customer, User
from cmcore.cli import cli
from tests.conftest import MakeUrl, connected, unbind

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "adopting.md"


class Clerk(cmcore.Model):
    """The application's own user; its key is a number."""

    name = peewee.CharField()
    role = peewee.CharField(default="clerk")

    class Meta:
        table_name = "users"


class Bill(cmcore.ActorMixin, cmcore.Model):
    """Stamped with user ids that no foreign key checks."""

    total = peewee.IntegerField()

    class Meta:
        table_name = "bills"


class Order(cmcore.ActorMixin, cmcore.Model):
    """The example's model, after."""

    article = peewee.CharField()
    pieces = peewee.IntegerField()

    class Meta:
        table_name = "orders"


class Referring(cmcore.AuditMixin, cmcore.Model):
    """A model for a database with users of cmcore."""

    class Meta:
        table_name = "referring"


class OldOrder(peewee.Model):
    """The example's model, before."""

    article = peewee.CharField()
    pieces = peewee.IntegerField()

    class Meta:
        table_name = "orders"


class Tag(cmcore.Model):
    """With links that are recorded, and links that are not."""

    name = peewee.CharField()
    seen = cmcore.fields.ManyToManyField(Bill, backref="tags")
    unseen = peewee.ManyToManyField(Bill, backref="labels")

    class Meta:
        table_name = "tags"


@pytest.fixture
def url(engine: str, make_url: MakeUrl) -> str:
    """The URL of an empty database of each engine."""
    return make_url(engine)


@pytest.fixture
def db(url: str) -> Iterator[peewee.Database]:
    """A database with the trail, and with tables of the application."""
    with connected(url) as database:
        database.create_tables([Clerk])
        cmcore.migrate(database, trail_only=True)
        database.create_tables([Bill])
        yield database


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the page in one language."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def source(name: str) -> list[str]:
    """Return the lines of an example."""
    return (EXAMPLES / name).read_text(encoding="utf-8").splitlines(keepends=True)


def test_the_page_shows_the_difference() -> None:
    """The diff of the page is the diff of the two files."""
    lines = difflib.unified_diff(
        source("adopt_before.py"), source("adopt_after.py"), n=1
    )
    assert blocks("diff") == ["".join(list(lines)[2:])]


def test_adopting_takes_a_few_lines() -> None:
    """Without docstring and the printed trail, at most ten lines change."""
    added = [
        line
        for line in difflib.ndiff(source("adopt_before.py"), source("adopt_after.py"))
        if line.startswith("+ ") and line.strip("+ \n")
    ]
    assert len(added) <= 10 + 2
    assert "import cmcore" not in "".join(source("adopt_before.py"))


@pytest.mark.parametrize("name", ["adopt_before.py", "adopt_after.py"])
def test_the_application_does_the_same(name: str, url: str) -> None:
    """Before and after it prints what it printed, on each engine."""
    assert ast.get_docstring(ast.parse("".join(source(name))))
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines(keepends=True)
    shown = blocks("text")[0].replace("sqlite", urlsplit(url).scheme)
    expected = shown.splitlines(keepends=True)
    assert lines == (expected if name == "adopt_after.py" else expected[:1])


def test_the_trail_alone_touches_nothing_else(db: peewee.Database) -> None:
    """Only audit_logs and its history are made; the application's users stay its."""
    assert sorted(db.get_tables()) == [
        "audit_logs",
        "bills",
        "cmcore_trail_migrations",
        "users",
    ]
    assert [c.name for c in db.get_columns("users")] == ["id", "name", "role"]
    assert db.get_foreign_keys("audit_logs") == []
    assert db.get_foreign_keys("bills") == []
    assert cmcore.pending(db) == []
    assert cmcore.migrate(db, trail_only=True) == []


def test_a_user_is_taken_as_given(db: peewee.Database) -> None:
    """A number, a text, an object of the application's class: nobody is looked up."""
    ada = Clerk.create(name="Ada")
    for user, text, role in (
        (ada.id, str(ada.id), None),
        (ada, str(ada.id), "clerk"),
        ("no-such-user", "no-such-user", None),
        (0, "0", None),
    ):
        with cmcore.acting_as(user):
            bill = Bill.create(total=1)
        entry: Any = bill.history().get()
        assert (entry.user_id, entry.user_role) == (text, role)
        assert (bill.created_by, bill.updated_by) == (text, text)
        assert Bill.get_by_id(bill.id).created_by == text
    assert [e.user_id for e in AuditLog.by_user(ada.id)] == [str(ada.id)] * 2
    assert AuditLog.by_user(ada).count() == 2


def test_actor_stamps_follow_every_write(db: peewee.Database) -> None:
    """`created_by` stays, `updated_by` is who wrote last; else it is the system."""
    with cmcore.acting_as(1):
        bill = Bill.create(total=1)
        Bill.insert_many([{"total": 2}, {"total": 3}]).execute()
    with cmcore.acting_as(2):
        Bill.update(total=Bill.total + 1).where(Bill.total > 2).execute()
        bill.total = 5
        bill.save()
    stamps = [(b.total, b.created_by, b.updated_by) for b in Bill.select()]
    assert sorted(stamps) == [(2, "1", "1"), (4, "1", "2"), (5, "1", "2")]
    assert Bill.create(total=9).created_by == "system"
    created = {b.created_at for b in Bill.select()}
    assert all(moment.utcoffset() is not None for moment in created)


def test_a_plugin_may_know_the_applications_user(
    db: peewee.Database, plugin: Any
) -> None:
    """`cmcore_resolve_user` returns the application's own user object, or an id."""
    ada = Clerk.create(name="Ada")

    class Login:
        @cmcore.hookimpl
        def cmcore_resolve_user(self) -> Clerk:
            return ada

    plugin(Login())
    bill = Bill.create(total=1)
    assert (bill.created_by, bill.history().get().user_id) == (str(ada.id),) * 2


def test_the_command_line_reads_such_a_trail(db: peewee.Database, url: str) -> None:
    """`audit list`, `status` and `doctor` work where cmcore has no users."""
    with cmcore.acting_as(1):
        bill = Bill.create(total=1)
    db.close()
    for arguments, told in (
        (("audit", "list", "--user", "1", "--resource", f"bills/{bill.id}"), "create"),
        (("status",), "001_create_audit_logs_table"),
        (("doctor",), "none pending"),
    ):
        result = CliRunner().invoke(cli, [*arguments, "--database", url])
        assert (result.exit_code, result.stderr) == (0, "")
        assert told in result.stdout
    result = CliRunner().invoke(
        cli, ["audit", "list", "--user", "2", "--json", "--database", url]
    )
    assert result.stdout == ""
    unbind()


def test_tables_that_have_rows_get_their_columns(url: str, engine: str) -> None:
    """The page's SQL fits the mixin; old rows can be read, and changes stamp them."""
    (statements,) = re.findall(
        rf"<!-- {engine} -->\n```sql\n(.*?)```",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    with connected(url) as db:
        with db.bind_ctx([OldOrder]):
            db.create_tables([OldOrder])
            OldOrder.create(article="lamp", pieces=1)
            OldOrder.create(article="bulb", pieces=2)
        cmcore.migrate(db, trail_only=True)
        for statement in statements.split(";"):
            if statement.strip():
                db.execute_sql(statement)
        before, other = Order.select().order_by(Order.id)
        assert (before.created_at.year, before.created_by) == (1970, None)
        with cmcore.acting_as(7):
            before.pieces = 5
            before.save()
            Order.create(article="plug", pieces=1)
        lamp, bulb, plug = Order.select().order_by(Order.id)
        assert (lamp.updated_by, lamp.created_by) == ("7", None)
        assert lamp.updated_at.year > 1970
        assert (bulb.updated_by, bulb.updated_at) == (None, other.updated_at)
        assert plug.created_by == "7"
        columns = {c.name: (c.data_type, c.null) for c in db.get_columns("orders")}
        Order.drop_table()
        db.create_tables([Order])
        fresh = {c.name: (c.data_type, c.null) for c in db.get_columns("orders")}
        assert columns == fresh


def test_links_of_both_kinds(db: peewee.Database) -> None:
    """Links of cmcore's ManyToManyField are recorded, those of peewee's are not."""
    fields: Any = Tag
    seen = fields.seen.get_through_model()
    unseen = fields.unseen.get_through_model()
    unseen._meta.set_table_name("unseen_links")
    unseen.bind(db)
    db.create_tables([Tag, seen, unseen])
    tag, bill = Tag.create(name="late"), Bill.create(total=1)
    tag.seen.add(bill)
    tag.unseen.add(bill)
    assert [b.id for b in tag.seen] == [b.id for b in tag.unseen] == [bill.id]
    tag.seen.clear()
    tag.unseen.clear()
    entries = AuditLog.select().where(AuditLog.resource_type.not_in(["tags", "bills"]))
    assert [(e.resource_type, e.action) for e in entries.order_by(AuditLog.id)] == [
        (seen._meta.table_name, "create"),
        (seen._meta.table_name, "delete"),
    ]


def test_users_of_cmcore_are_not_there(db: peewee.Database, url: str) -> None:
    """The error says what the database is, and sends nobody to `cmcore migrate`."""
    for use in (
        lambda: list(User.select()),
        lambda: Customer.create(name="A", email="a@example.com"),
    ):
        with pytest.raises(cmcore.PendingMigrationsError, match="trail alone") as error:
            use()
        assert "migrate" not in str(error.value)
    Clerk.create(name="Ada")
    result = CliRunner().invoke(cli, ["user", "list", "--database", url])
    assert result.exit_code == 5
    assert "users: this database has the trail alone" in result.stderr
    assert "migrate" not in result.stderr


def test_a_table_that_refers_to_users_of_cmcore_is_not_made(
    db: peewee.Database,
) -> None:
    """The reference would go to the application's own table of that name."""
    with pytest.raises(cmcore.PendingMigrationsError, match="trail alone"):
        db.create_tables([Referring])
    assert not Referring.table_exists()


def test_a_missing_column_of_an_own_users_table_is_not_blamed_on_migrations(
    db: peewee.Database,
) -> None:
    """The application's table has the name of one of ours, and is its own matter."""
    with pytest.raises(peewee.DatabaseError) as error:
        list(Clerk.select(peewee.SQL("no_such_column")))
    assert not isinstance(error.value, cmcore.CmcoreError)
