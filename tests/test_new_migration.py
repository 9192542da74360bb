"""`new-migration`: scripts for the tables of an application's models."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import peewee
import pytest
from peewee_migrate.router import Router
from playhouse.db_url import connect

from cmcore.engines.catalog import describe
from cmcore.errors import ConfigurationError
from cmcore.runner import migrate
from cmcore.schema.history import migrations_path
from cmcore.schema.new_script import NewScript, write_script
from tests import stock
from tests.conftest import MakeUrl, unbind

PW_MIGRATE = "from peewee_migrate.cli import cli; cli()"
APPLICATION = """
import enum
import peewee
import cmcore
from cmcore.fields import (
    EnumField, ForeignKeyField, JSONField, KeyField, ManyToManyField, SecretField,
    UTCDateTimeField,
)
from cmcore.models import AuditLog, Customer, User


class State(enum.Enum):
    OPEN = "open"
    DONE = "done"


class Base(cmcore.Model):
    pass


class Product(cmcore.TimestampMixin, Base):
    id = KeyField(primary_key=True)
    code = peewee.CharField(20, unique=True)
    label = peewee.TextField(constraints=[peewee.SQL("DEFAULT 'é'")])

    class Meta:
        table_name = "shop_products"


class Order(cmcore.AuditMixin, cmcore.SoftDeleteMixin, Base):
    customer = ForeignKeyField(
        Customer, on_delete="CASCADE", constraint_name="fk_order_customer"
    )
    state = EnumField(State, default=State.OPEN, max_length=10)
    price = peewee.DecimalField(12, 3, constraints=[peewee.Check("price >= 0")])
    data = JSONField(null=True)
    token = SecretField(null=True)
    paid_at = UTCDateTimeField(null=True, index=True)
    parent = ForeignKeyField("self", null=True)
    products = ManyToManyField(Product, backref="orders")

    class Meta:
        table_name = "shop_orders"
        indexes = ((("state", "paid_at"), True),)
        constraints = [
            peewee.SQL("CONSTRAINT ck_order_state CHECK (state IN ('open', 'done'))"),
        ]


Order.add_index(
    Order.index(
        Order.customer, Order.state, unique=True, name="uq_open",
        where=(Order.state == "open"),
    )
)
Order.add_index(Order.index(Order.price.desc(), name="by_price"))
Order.add_index(
    peewee.SQL("CREATE INDEX ix_lower ON shop_orders (lower(token)) "
    "WHERE deleted_at IS NULL")
)


class Line(cmcore.Model):
    order = ForeignKeyField(Order, on_delete="CASCADE", backref="lines")
    number = peewee.IntegerField(column_name="line_number")
    count = peewee.BigIntegerField(default=1)

    class Meta:
        table_name = "shop_lines"
        primary_key = peewee.CompositeKey("order", "number")


class Note(peewee.Model):
    uid = peewee.UUIDField(primary_key=True)
    line = peewee.TextField()

    class Meta:
        table_name = "shop_notes"
"""
TABLES = ["shop_lines", "shop_notes", "shop_orders", "shop_products"]
THROUGH = "shop_orders_shop_products_through"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the application's module, which is forgotten afterwards."""
    (tmp_path / "shop_models.py").write_text(APPLICATION, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith(("shop_", "other_")):
            del sys.modules[name]
    unbind()


def write(name: str = "create_shop", module: str = "shop_models") -> NewScript:
    """Write a script into the usual folder."""
    importlib.invalidate_caches()
    return write_script(name, module, Path("migrations"))


def pw_migrate(url: str, *arguments: str) -> None:
    """Run the stock command line in a process that cannot import the application."""
    command = [sys.executable, "-I", "-c", PW_MIGRATE, *arguments]
    done = subprocess.run(
        [*command, "--directory", str(Path("migrations").resolve()), "--database", url],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr


def models_of(module: ModuleType) -> list[Any]:
    """Return the models for which a script was written."""
    shop: Any = module
    through = shop.Order.products.through_model
    return [shop.Product, shop.Order, shop.Line, shop.Note, through]


def test_the_script_makes_what_create_table_makes(
    folder: Path, engine: str, make_url: MakeUrl
) -> None:
    """Through the stock tool, without the application: equal catalogs, and back."""
    script = write()
    assert script.path == Path("migrations/001_create_shop.py")
    assert sorted(script.tables) == sorted([*TABLES, THROUGH])
    assert script.left_out == ("Base: others derive from it",)
    (folder / "shop_models.py").unlink()
    with stock.opened(make_url, engine, migrated=True) as expected:
        models = models_of(sys.modules["shop_models"])
        with expected.bind_ctx(models):
            expected.create_tables(models, safe=False)
        wanted = {table: describe(expected, table) for table in script.tables}
        order = {t: [c.name for c in expected.get_columns(t)] for t in script.tables}
    url = make_url(engine, migrated=True)
    db: Any = connect(url)
    pw_migrate(url, "list")
    with db.connection_context():
        before = stock.dump(db)
    pw_migrate(url, "migrate")
    with db.connection_context():
        assert {t: describe(db, t) for t in script.tables} == wanted
        found = {t: [c.name for c in db.get_columns(t)] for t in script.tables}
        assert found == order
        for table in wanted.values():
            assert table.columns
    pw_migrate(url, "rollback")
    with db.connection_context():
        assert stock.dump(db) == before
    pw_migrate(url, "migrate")
    with db.connection_context():
        assert {t: describe(db, t) for t in script.tables} == wanted
    assert wanted["shop_orders"].indexes
    assert wanted["shop_orders"].checks


def test_what_the_catalog_shows_of_the_sample(
    folder: Path, engine: str, make_url: MakeUrl
) -> None:
    """The comparison above compares names, predicates, checks and foreign keys."""
    write()
    with stock.opened(make_url, engine, migrated=True) as db:
        Router(db, migrate_dir=folder / "migrations", migrate_table="h").run()
        table = describe(db, "shop_orders")
    indexes = {index.name: index for index in table.indexes}
    assert indexes["uq_open"].is_unique
    assert indexes["uq_open"].predicate
    assert indexes["idx_shop_orders_deleted_at"].predicate
    assert "by_price" in indexes
    assert "ix_lower" in indexes
    keys = {key.name: key for key in table.foreign_keys}
    assert keys["fk_order_customer"].on_delete == "CASCADE"
    assert keys["fk_shop_orders_created_by"].parent == "users"
    assert "ck_order_state" in {check.name for check in table.checks}


def test_the_next_script_has_what_is_new(
    folder: Path, engine: str, make_url: MakeUrl
) -> None:
    """It is numbered after the last one, and leaves known tables out."""
    write()
    (folder / "migrations" / "041_by_hand.py").write_text(
        "def migrate(migrator, database, *, fake=False):\n"
        "    migrator.add_fields('shop_notes', extra=__import__('peewee').TextField("
        "null=True))\n"
    )
    with pytest.raises(ConfigurationError, match=r"no model whose.*001_create_sh"):
        write("again")
    (folder / "other_models.py").write_text(
        "import peewee\nfrom shop_models import *\n"
        "class Extra(peewee.Model):\n    note = peewee.ForeignKeyField(Note)\n"
    )
    script = write("create_extra", "other_models")
    assert script.path.name == "042_create_extra.py"
    assert script.tables == ("extra",)
    assert "Note: 001_create_shop creates shop_notes" in script.left_out
    with stock.opened(make_url, engine, migrated=True) as db:
        router = Router(db, migrate_dir=folder / "migrations", migrate_table="h")
        assert len(router.run()) == 3
        columns = [c.name for c in db.get_columns("shop_notes")]
        assert columns == ["uid", "line", "extra"]
        for _ in range(3):
            Router(db, migrate_dir=folder / "migrations", migrate_table="h").rollback()
        assert not {*TABLES, THROUGH, "extra"} & stock.tables(db)


def test_a_script_waits_for_the_tables_that_it_needs(
    folder: Path, engine: str, make_url: MakeUrl
) -> None:
    """Before `cmcore migrate` it refuses on both engines, and says what to do."""
    write()
    with stock.opened(make_url, engine) as db:

        def run() -> list[str]:
            scripts = folder / "migrations"
            done: list[str] = Router(db, migrate_dir=scripts, migrate_table="h").run()
            return done

        with pytest.raises(RuntimeError, match="Create customers first; `cmcore mig"):
            run()
        assert stock.tables(db) == {"h"}
        migrate(db)
        assert run() == ["001_create_shop"]


@pytest.mark.postgresql
def test_tables_may_stand_in_a_schema_of_their_own(
    folder: Path, make_url: MakeUrl
) -> None:
    """What is needed is looked for where unqualified names lead."""
    write()
    url = make_url("postgresql")
    with stock.opened(lambda *_args, **_options: url, "postgresql") as db:
        migrate(db)
        db.execute_sql("CREATE SCHEMA app")
        db.execute_sql("SET search_path = app, public")
        router = Router(db, migrate_dir=folder / "migrations", migrate_table="h")
        assert router.run() == ["001_create_shop"]
        assert set(db.get_tables(schema="app")) == {*TABLES, THROUGH, "h"}


@pytest.mark.usefixtures("folder")
def test_scripts_are_ascii() -> None:
    """The stock runner reads them in the locale's encoding."""
    script = write()
    assert script.path.read_bytes().isascii()


@pytest.mark.parametrize(
    ("name", "module", "match"),
    [
        ("create_shop", "shop_models", "has that name already"),
        ("002_more", "shop_models", "cannot be the name of a script"),
        ("More", "shop_models", "cannot be the name of a script"),
        ("more", "nowhere", "no module 'nowhere'"),
        ("more", "shop_models.inner", "no module 'shop_models.inner'"),
        ("more", "cmcore.models", "made by cmcore's own scripts"),
        ("more", "cmcore", "made by cmcore's own scripts"),
        ("more", "json", "json has no model"),
        ("more", "other_broken", "cannot be imported: NameError"),
        ("more", "other_needs", "cannot be imported: ModuleNotFoundError.*'absent'"),
    ],
)
def test_what_is_refused(folder: Path, name: str, module: str, match: str) -> None:
    """The error says why, and nothing is written."""
    write()
    (folder / "other_broken.py").write_text("undefined_name\n")
    (folder / "other_needs.py").write_text("import absent\n")
    before = sorted((folder / "migrations").iterdir())
    path = list(sys.path)
    with pytest.raises(ConfigurationError, match=match):
        write(name, module)
    assert sorted((folder / "migrations").iterdir()) == before
    assert sys.path == path


@pytest.mark.usefixtures("folder")
def test_the_folder_of_cmcore_is_refused() -> None:
    """An application's scripts belong into a folder of its own."""
    with pytest.raises(ConfigurationError, match="cmcore's own folder"):
        write_script("create_shop", "shop_models", migrations_path())


def test_a_value_that_cannot_be_written_down_is_refused(folder: Path) -> None:
    """A parameter of an index has to be a plain value."""
    (folder / "other_models.py").write_text(
        "import datetime, peewee\n"
        "class Extra(peewee.Model):\n    at = peewee.DateTimeField()\n"
        "now = datetime.datetime(2026, 1, 1)\n"
        "Extra.add_index(Extra.index(Extra.at, where=Extra.at > now))\n"
    )
    with pytest.raises(ConfigurationError, match="cannot be written into a script"):
        write("create_extra", "other_models")
    assert not Path("migrations").exists()


@pytest.mark.usefixtures("folder")
def test_models_keep_their_database() -> None:
    """Writing a script leaves the models bound as they were."""
    write()
    shop: Any = sys.modules["shop_models"]
    assert shop.Order._meta.database is None
    assert shop.Note._meta.database is None
    assert isinstance(shop.Order.select(), peewee.Query)
