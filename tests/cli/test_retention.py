"""`restore` and `purge` on the command line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.models import AuditLog, Customer, User
from tests.cli.conftest import Run
from tests.conftest import MakeUrl, connected

MODELS = """
import peewee
import cmcore

class Base(cmcore.SoftDeleteMixin, cmcore.Model):
    class Meta:
        database = peewee.DatabaseProxy()

class Shop(Base):
    name = peewee.CharField(unique=True)

class Order(Base):
    shop = peewee.ForeignKeyField(Shop, backref="orders")

class Stock(Base):
    shelf = peewee.CharField()
    number = peewee.IntegerField()

    class Meta:
        primary_key = peewee.CompositeKey("shelf", "number")

class Hit(Base):
    page = peewee.CharField()

    class Meta:
        primary_key = False

class Visit(cmcore.Model):
    shop = peewee.ForeignKeyField(Shop, null=True)

    class Meta:
        database = Base._meta.database
"""
BILLS = """
import peewee
import cmcore
from cmcore.models import Customer

class Bill(cmcore.SoftDeleteMixin, cmcore.Model):
    customer = peewee.ForeignKeyField(Customer)

    class Meta:
        table_name = "bills"
"""
DELETE_WITH_BILLS = """
import sys
import cmcore
from bills import Bill
from cmcore.models import Customer

db = cmcore.connect(sys.argv[1])
db.create_tables([Bill])
for _ in range(2):
    Bill.create(customer="ada")
Customer.get_by_id("ada").delete_instance(recursive=True)
"""
OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An application's module of models, which can be imported."""
    (tmp_path / "shop_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop_models  # type: ignore[import-not-found]  # noqa: PLC0415 - just made

    yield shop_models
    sys.modules.pop("shop_models")


def apart(folder: Path, *arguments: str) -> str:
    """Run Python in a process of its own, which alone loads models of a folder."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def make_user(name: str) -> None:
    """Create a user who can act."""
    User.create(
        id=name, email=f"{name}@example.org", full_name=name, password_hash="!" * 8
    )


def age(*objects: Any) -> None:
    """Make it look as if rows had been deleted long ago, unseen by the trail."""
    for obj in objects:
        unseen = peewee.ModelUpdate(type(obj), {type(obj).deleted_at: OLD})
        unseen.where(obj._pk_expr()).execute()


def delete_long_ago(*objects: Any) -> None:
    """Delete rows, a hundred days ago."""
    for obj in objects:
        obj.delete_instance()
    age(*objects)


def test_restore_brings_a_row_back(run: Run, url: str) -> None:
    """The row is live again; the trail says who did it, and with what."""
    with connected(url):
        Customer.delete_by_id("ada")
        make_user("eva")
    result = run("restore", "customers", "ada", "--user", "eva", "--database", url)
    assert (result.exit_code, result.stdout) == (0, "customers/ada\n")
    assert result.stderr == "1 row restored.\n"
    with connected(url):
        entry = Customer.get_by_id("ada").history().get()
    assert (entry.action, entry.user_id) == ("restore", "eva")
    assert entry.extra_data == {"reason": "cmcore restore"}


def test_who_does_it_may_be_named_by_address(run: Run, url: str) -> None:
    """An e-mail address, in any case, is the user's id; the trail says both."""
    with connected(url):
        make_user("eva")
        delete_long_ago(Customer.get_by_id("ada"), Customer.get_by_id("bob"))
    who = ("--user", "EVA@example.org", "--database", url)
    assert run("restore", "customers", "ada", *who).exit_code == 0
    assert run("purge", "--older-than", "90d", *who).exit_code == 0
    with connected(url):
        entries = AuditLog.trail().where(AuditLog.action.in_(("restore", "purge")))
        by = [(entry.user_id, entry.user_email) for entry in entries]
    assert by == [("eva", "eva@example.org")] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("customers", "nobody"), 1, "no row nobody in customers"),
        (("customers", "ada"), 1, "customers/ada is not deleted"),
        (("invoices", "1"), 2, "Name the application's models with --models."),
        (("customers", "gone", "--user", "ghost"), 1, "ghost"),
        (("customers", "gone", "--user", "g@h.org"), 1, "There is no user g@h.org."),
        (("customers",), 2, "KEY"),
    ],
)
def test_restore_says_why_not(
    run: Run, url: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """No such row, a live one, no such table, no such user: a sentence, no data."""
    with connected(url):
        Customer.create(id="gone", name="Go", email="g@example.org").delete_instance()
    result = run("restore", *arguments, "--database", url)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    with connected(url):
        assert Customer.only_deleted().count() == 1


def test_restore_names_the_row_in_the_way(run: Run, url: str) -> None:
    """A live row with the same address: nothing is restored, and its key is told."""
    with connected(url):
        Customer.delete_by_id("ada")
        Customer.create(id="other", name="Ada", email="ada@example.org")
    result = run("restore", "customers", "ada", "--database", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The row with the key other has it." in result.stderr


def test_restore_takes_dependents_along(run: Run, url: str, shop: Any) -> None:
    """With --recursive the rows of the same call come back, and no others."""
    with connected(url) as db, db.bind_ctx([shop.Shop, shop.Order], False, False):
        db.create_tables([shop.Shop, shop.Order])
        corner = shop.Shop.create(name="Corner")
        first, _, _ = (shop.Order.create(shop=corner) for _ in range(3))
        first.delete_instance()
        corner.delete_instance(recursive=True)
    asked = ("restore", "shop", "1", "--models", "shop_models", "--database", url)
    result = run(*asked, "--recursive")
    assert sorted(result.stdout.splitlines()) == ["order/2", "order/3", "shop/1"]
    assert result.stderr == "3 rows restored.\n"
    assert run(*asked).exit_code == 1


def test_restore_leaves_no_unknown_row_behind(
    run: Run, url: str, tmp_path: Path
) -> None:
    """Rows of tables that it does not know: refused, until they are named or back."""
    (tmp_path / "bills.py").write_text(BILLS)
    apart(tmp_path, "-c", DELETE_WITH_BILLS, url)
    asked = ("restore", "customers", "ada", "--recursive", "--database", url)
    refused = run(*asked)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "also took rows of bills," in refused.stderr
    assert "--models" in refused.stderr
    with connected(url):
        assert Customer.get_or_none(Customer.id == "ada") is None
    command = ("-m", "cmcore", *asked, "--models", "bills")
    lines = ["bills/1", "bills/2", "customers/ada"]
    assert sorted(apart(tmp_path, *command).splitlines()) == lines
    with connected(url):
        Customer.delete_by_id("ada")
    assert run(*asked).stdout == "customers/ada\n"


def test_restore_does_not_miss_what_is_back(run: Run, url: str, tmp_path: Path) -> None:
    """Rows that were restored by themselves meanwhile stand in nobody's way."""
    (tmp_path / "bills.py").write_text(BILLS)
    apart(tmp_path, "-c", DELETE_WITH_BILLS, url)
    for bill in ("1", "2"):
        asked = ("restore", "customers", "ada", "--recursive", "--database", url)
        assert run(*asked).exit_code == 1
        back = ("restore", "bills", bill, "--models", "bills", "--database", url)
        apart(tmp_path, "-m", "cmcore", *back)
    assert run(*asked).stdout == "customers/ada\n"


def test_restore_reads_keys_as_the_trail_writes_them(
    run: Run, url: str, shop: Any
) -> None:
    """A composite key is a JSON array; a text that is no key is no row."""
    with connected(url) as db, db.bind_ctx([shop.Stock], False, False):
        db.create_tables([shop.Stock])
        shop.Stock.create(shelf="A", number=7).delete_instance()
        key = str(AuditLog.for_model(shop.Stock)[0].resource_id)
    asked = ("--models", "shop_models", "--database", url)
    for wrong in ("A", '["A"]', '["A", "x"]', "7", "null"):
        assert run("restore", "stock", wrong, *asked).exit_code == 1
    result = run("restore", "stock", key, *asked)
    assert (result.exit_code, result.stdout) == (0, 'stock/["A",7]\n')


def test_purge_removes_what_was_deleted_long_ago(run: Run, url: str) -> None:
    """Younger ones and live ones stay; the trail says what went, and by whom."""
    with connected(url):
        delete_long_ago(Customer.get_by_id("ada"))
        Customer.delete_by_id("bob")
        Customer.create(id="cleo", name="Cleo", email="cleo@example.org")
    result = run("purge", "--older-than", "90d", "--json", "--database", url)
    assert result.exit_code == 0
    rows = {"users": 0, "customers": 1}
    assert json.loads(result.stdout) == {"rows": rows, "kept": []}
    assert result.stderr == "1 row purged.\n"
    with connected(url):
        left = Customer.with_deleted().order_by(Customer.id)
        assert [row.id for row in left] == ["bob", "cleo"]
        entry = AuditLog.for_model(Customer).where(AuditLog.action == "purge").get()
    assert (entry.resource_id, entry.user_id) == ("ada", "system")
    assert entry.old_values["name"] == "Ada"
    assert entry.extra_data == {"reason": "cmcore purge"}


def test_a_dry_run_counts_and_changes_nothing(run: Run, url: str) -> None:
    """It says what the purge says then; until then every row and entry is there."""
    with connected(url):
        delete_long_ago(Customer.get_by_id("ada"), Customer.get_by_id("bob"))
        entries = AuditLog.select().count()
    asked = ("purge", "--older-than", "90d", "--database", url)
    tried = run(*asked, "--dry-run")
    with connected(url):
        assert Customer.only_deleted().count() == 2
        assert AuditLog.select().count() == entries
    done = run(*asked)
    assert tried.stdout == done.stdout
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["Table", "Rows"],
        ["users", "0"],
        ["customers", "2"],
    ]
    assert (tried.stderr, done.stderr) == (
        "2 rows would be purged.\n",
        "2 rows purged.\n",
    )


def test_rows_in_use_stay_and_are_named(run: Run, url: str) -> None:
    """A user to whose work live customers refer stays; the others go all the same."""
    with connected(url):
        for name in ("eva", "max"):
            make_user(name)
        with cmcore.acting_as("eva"):
            Customer.create(id="cleo", name="Cleo", email="cleo@example.org")
        with cmcore.acting_as("max"):
            zoe = Customer.create(id="zoe", name="Zoe", email="zoe@example.org")
        delete_long_ago(zoe, User.get_by_id("eva"), User.get_by_id("max"))
    asked = ("purge", "--older-than", "90d", "--json", "--database", url)
    tried, done = run(*asked, "--dry-run"), run(*asked)
    assert tried.exit_code == done.exit_code == 1
    assert json.loads(tried.stdout) == json.loads(done.stdout)
    assert json.loads(done.stdout) == {
        "rows": {"users": 1, "customers": 1},
        "kept": [{"row": "users/eva", "reason": "Table customers refers to it."}],
    }
    assert "users/eva stays. Table customers refers to it.\n" in done.stderr
    with connected(url):
        assert [user.id for user in User.only_deleted()] == ["eva"]


def test_purge_of_an_application_takes_dependents_along(
    run: Run, url: str, shop: Any
) -> None:
    """Deleted orders go with their shop; a shop with a visit stays, in both runs."""
    with connected(url) as db:
        models = [shop.Shop, shop.Order, shop.Visit]
        with db.bind_ctx(models, False, False):
            db.create_tables(models)
            one, two, three = (shop.Shop.create(name=n) for n in ("One", "Two", "Tre"))
            shop.Order.create(shop=one).delete_instance()
            shop.Visit.create(shop=two)
            delete_long_ago(one, two, three)
    options = ("--table", "shop", "--models", "shop_models", "--json")
    asked = ("purge", "--older-than", "12h", *options, "--database", url)
    for result in (run(*asked, "--dry-run"), run(*asked)):
        assert result.exit_code == 1
        assert json.loads(result.stdout) == {
            "rows": {"shop": 2, "order": 1},
            "kept": [{"row": "shop/2", "reason": "Table visit refers to it."}],
        }
    assert json.loads(run(*asked).stdout)["rows"] == {"shop": 0}


@pytest.mark.parametrize("options", [(), ("--models", "shop_models")])
def test_a_row_in_use_by_an_unknown_table_stays(
    run: Run, url: str, shop: Any, options: tuple[str, ...]
) -> None:
    """Both runs keep it and name the table, whether other models are known or not."""
    table = "shop" if options else "customers"
    column = "VARCHAR(36)" if table == "customers" else "INTEGER"
    models = [shop.Shop, shop.Order, shop.Visit]
    with connected(url) as db, db.bind_ctx(models, False, False):
        db.create_tables(models)
        shop.Shop.insert_many([{"name": "One"}, {"name": "Two"}]).execute()
        model, ids = (shop.Shop, [1, 2]) if options else (Customer, ["ada", "bob"])
        for name, rule in (("Bills", ""), ("notes", "ON DELETE CASCADE")):
            db.execute_sql(
                f'CREATE TABLE "{name}" ("for" {column} REFERENCES {table} {rule})'
            )
        delete_long_ago(*model.select())
        for name, key in (("Bills", ids[0]), ("notes", ids[1])):
            other: Any = peewee.Table(name).bind(db)
            other.insert({other.c["for"]: key}).execute()
    asked = ("purge", "--older-than", "9d", "--table", table, *options)
    for result in (
        run(*asked, "--dry-run", "--json", "--database", url),
        run(*asked, "--json", "--database", url),
    ):
        assert result.exit_code == 1
        answer = json.loads(result.stdout)
        assert answer["rows"][table] == 1
        assert answer["kept"] == [
            {"row": f"{table}/{ids[0]}", "reason": "Table Bills refers to it."}
        ]
    with connected(url) as db:
        assert db.execute_sql('SELECT count(*) FROM "notes"').fetchone() == (0,)


def test_rows_without_a_key_are_purged(run: Run, url: str, shop: Any) -> None:
    """They are counted in a dry run, and go; they cannot be restored by a key."""
    with connected(url) as db, db.bind_ctx([shop.Hit], False, False):
        db.create_tables([shop.Hit])
        shop.Hit.insert_many([{"page": "a"}, {"page": "a"}, {"page": "b"}]).execute()
        shop.Hit.delete().where(shop.Hit.page == "a").execute()
    models = ("--models", "shop_models", "--database", url)
    asked = ("purge", "--older-than", "0m", "--table", "hit", "--json", *models)
    for result in (run(*asked, "--dry-run"), run(*asked)):
        assert json.loads(result.stdout) == {"rows": {"hit": 2}, "kept": []}
    assert json.loads(run(*asked).stdout)["rows"] == {"hit": 0}
    assert run("restore", "hit", "[]", *models).exit_code == 1


def test_the_trail_is_never_purged(run: Run, url: str) -> None:
    """Not by its name, nor with all the others."""
    with connected(url):
        delete_long_ago(AuditLog.select().first())
    by_name = ("purge", "--older-than", "0m", "--table", "audit_logs")
    refused = run(*by_name, "--database", url)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "append-only" in refused.stderr
    assert run("purge", "--older-than", "0m", "--database", url).exit_code == 0
    with connected(url):
        assert AuditLog.only_deleted().count() == 1


@pytest.mark.parametrize("time", ["90", "d", "1.5h", "-1d", "90 days", "3w", ""])
def test_a_time_that_is_none_is_told_how_to_write(
    run: Run, url: str, time: str
) -> None:
    """The exit code is 2, and the sentence has examples."""
    result = run("purge", f"--older-than={time}", "--database", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Write 90d, 12h or 30m." in result.stderr


@pytest.mark.parametrize(
    "command",
    [("restore", "customers", "ada"), ("purge", "--older-than", "90d")],
    ids=["restore", "purge"],
)
def test_both_need_the_schema(
    run: Run, engine: str, make_url: MakeUrl, command: tuple[str, ...]
) -> None:
    """Before `migrate` they end with 5 and say why."""
    url = make_url(engine)
    with connected(url):
        pass
    result = run(*command, "--database", url)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "cmcore migrate" in result.stderr


def test_a_trail_alone_has_only_the_application_tables(
    run: Run, engine: str, make_url: MakeUrl
) -> None:
    """Where users are the application's, cmcore's tables are not looked for."""
    url = make_url(engine)
    with connected(url) as db:
        cmcore.migrate(db, trail_only=True)
    result = run("purge", "--older-than", "90d", "--json", "--database", url)
    assert json.loads(result.stdout) == {"rows": {}, "kept": []}
