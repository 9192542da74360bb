"""Opening a database: URLs good and bad, sessions, binding, and what is refused."""

import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import peewee
import pytest
from playhouse import pool, sqliteq
from playhouse import postgres_ext as ext
from playhouse.cockroachdb import CockroachDatabase

import cmcore
from cmcore.models import AuditLog, Customer
from tests.conftest import connected, run_sql, unbind

PASSWORD = "p@ss:w/rd?#%&é "
SECRET = "hunter2"


class Item(cmcore.Model):
    """Follows whichever database is connected."""

    n = peewee.IntegerField(default=0)

    class Meta:
        table_name = "database_items"


@pytest.fixture(autouse=True)
def bound_again() -> Iterator[None]:
    """Leave no model bound."""
    yield
    unbind()


BAD_URLS = [
    "",
    "nonsense",
    f"user:{SECRET}@host/name",
    f"mysql://user:{SECRET}@host/name",
    f"postgresql+asyncpg://user:{SECRET}@host/name",
    f"postgresql:/user:{SECRET}@host/name",
    f"postgresql//user:{SECRET}@host/name",
    f"postgresql://user:{SECRET}@host",
    f"postgresql://user:{SECRET}@host/",
    f"postgresql://user:{SECRET}@host:port/name",
    f"postgresql://user:{SECRET}@host:99999999/name",
    f"postgresql://user:{SECRET}@[::1/name",
    f"postgresql://user:{SECRET}@127.0.0.1:1/name",
    f"postgresql://user:{SECRET}@no.such.host.invalid/name",
    f"postgresql://user:{SECRET}/x@127.0.0.1:1/name",
    f"postgresql://user:a@{SECRET}@127.0.0.1:1/name",
    f"postgresql://user:{SECRET}#x@127.0.0.1:1/name",
    f"postgresql://user:{SECRET}?x@127.0.0.1:1/name",
    f"postgresql://:{SECRET}@:1/name",
    f"postgresql://127.0.0.1:1/name?password={SECRET}",
    f"postgresql://user:{SECRET}@127.0.0.1:1/name?nonsense=1",
    f"postgresql://user:{SECRET}%zz@127.0.0.1:1/name",
    f"postgresql://user:{SECRET}@127.0.0.1:1/name?sslmode=nonsense",
    f"postgresql://user%3A{SECRET}@127.0.0.1:1/name",
    f"sqlite://user:{SECRET}@host/name.db",
    f"sqlite:relative-{SECRET[:0]}.db",
    "sqlite://relative.db",
    "sqlite:////nonexistent/folder/file.db",
    "file:///x.db",
    "sqlite:///x.db?nonsense=1",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    """A URL that cannot be used is a `ConfigurationError` that shows no password."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(cmcore.ConfigurationError) as caught:
            cmcore.connect(url)
    error = caught.value
    shown = [str(error), repr(error), *traceback.format_exception(error)]
    sources = [line for line in shown if "cmcore.connect(url)" not in line]
    assert not [line for line in sources if SECRET in line]
    assert str(error).strip().endswith(".")


@pytest.mark.parametrize("url", [None, 5, b"sqlite:///x.db", Path("x.db")])
def test_what_is_no_text_is_no_url(url: Any) -> None:
    """Anything but a text is refused with a word about URLs."""
    with pytest.raises(cmcore.ConfigurationError, match="URL"):
        cmcore.connect(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_percent_encoded_password_works(make_url: Any, scheme: str) -> None:
    """Special characters of user, password and database come through their encoding."""
    url = make_url("postgresql")
    parts = urlsplit(url)
    role = f"role {parts.path[-6:]}@x"
    run_sql(url, f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'")
    try:
        host = parts.netloc.rpartition("@")[2]
        encoded = f"{quote(role, safe='')}:{quote(PASSWORD, safe='')}@{host}"
        with connected(f"{scheme}://{encoded}{parts.path}?{parts.query}") as db:
            assert db.execute_sql("SELECT current_user").fetchone() == (role,)
            assert db.connect_params["password"] == PASSWORD
    finally:
        run_sql(url, f'DROP ROLE "{role}"')


def test_psycopg3_can_be_named_in_the_url(make_url: Any) -> None:
    """`postgresql+psycopg://` opens the same database with the other driver."""
    url = make_url("postgresql", migrated=True)
    with connected(url.replace("postgresql:", "postgresql+psycopg:")) as db:
        db.create_tables([Item])
        Item.create(n=1)
        assert type(db.connection()).__module__ == "psycopg"
        assert AuditLog.get().created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_postgresql_sessions_run_in_utc(
    make_url: Any, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever zone server and environment have; options of the URL stay."""
    url = make_url("postgresql")
    zone = "SET TimeZone = 'Asia/Tokyo'"
    run_sql(url, f'ALTER DATABASE "{urlsplit(url).path[1:]}" {zone}')
    mark = "&" if "?" in url else "?"
    given = f"{url}{mark}application_name=mine&options=-c%20work_mem%3D5MB"
    with connected(given.replace("postgresql:", f"{scheme}:")) as db:
        assert shown(db) == ["UTC", "mine", "5MB"]
        monkeypatch.setenv("PGTZ", "America/New_York")
        db.close()
        db.connect()
        assert shown(db) == ["UTC", "mine", "5MB"]


def shown(db: peewee.Database) -> list[str]:
    """Return settings of a session."""
    names = ("TimeZone", "application_name", "work_mem")
    return [db.execute_sql(f"SHOW {name}").fetchone()[0] for name in names]


def pragma(db: peewee.Database, name: str) -> Any:
    """Return the value of a pragma."""
    return db.execute_sql(f"PRAGMA {name}").fetchone()[0]


def test_sqlite_is_opened_with_care(tmp_path: Path) -> None:
    """A file gets WAL, foreign keys, a busy timeout, synchronous and temp_store."""
    with connected(f"sqlite:///{tmp_path}/a.db") as db:
        assert pragma(db, "journal_mode") == "wal"
        assert pragma(db, "foreign_keys") == 1
        assert pragma(db, "busy_timeout") == 5000
        assert pragma(db, "synchronous") == 1
        assert pragma(db, "temp_store") == 2
        db.close()
        db.connect()
        assert (pragma(db, "foreign_keys"), pragma(db, "busy_timeout")) == (1, 5000)


def test_options_win_over_what_cmcore_chooses(tmp_path: Path) -> None:
    """`timeout` and `pragmas` of the caller, and of the URL, are obeyed."""
    with connected(f"sqlite:///{tmp_path}/a.db?timeout=2.5") as db:
        assert pragma(db, "busy_timeout") == 2500
    db = cmcore.connect(
        f"sqlite:///{tmp_path}/a.db", timeout=7, pragmas={"synchronous": 2}
    )
    assert (pragma(db, "busy_timeout"), pragma(db, "synchronous")) == (7000, 2)
    assert pragma(db, "foreign_keys") == 1
    db.close()


@pytest.mark.parametrize("url", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_works_whole(url: str) -> None:
    """Migrations, writes and the trail work without any file."""
    with connected(url) as db:
        assert pragma(db, "foreign_keys") == 1
        cmcore.migrate(db)
        db.create_tables([Item])
        Item.create(n=1)
        assert AuditLog.get().resource_type == "database_items"


def test_paths_of_every_kind_are_found(tmp_path: Path) -> None:
    """Relative, absolute and percent-encoded paths mean the file that they name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (tmp_path / "a b?").mkdir()
        for url, path in (
            ("sqlite:///one.db", "one.db"),
            (f"sqlite:///{tmp_path}/two.db", "two.db"),
            ("sqlite:///a%20b%3F/thr%25ee.db", "a b?/thr%ee.db"),
        ):
            with connected(url) as db:
                db.create_tables([Item])
            assert (tmp_path / path).is_file()


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    """A folder, a text file, and a place where nobody may write, name the file."""
    text = tmp_path / "text.db"
    text.write_text("This is no database, and longer than any header of one." * 20)
    for path in (tmp_path, text, tmp_path / "none" / "x.db", text / "x.db"):
        with pytest.raises(cmcore.UnreachableDatabaseError) as caught:
            cmcore.connect(f"sqlite:///{path}")
        assert str(path) in str(caught.value)
        assert isinstance(caught.value, peewee.OperationalError)
    assert text.read_text().startswith("This is no database")


def test_a_file_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    """A write into a read-only database raises an error of the tree, not a bare one."""
    path = tmp_path / "a.db"
    with connected(f"sqlite:///{path}") as db:
        cmcore.migrate(db)
        db.create_tables([Item])
        db.execute_sql("PRAGMA journal_mode = delete")
        db.execute_sql("PRAGMA query_only = 1")
        with pytest.raises(cmcore.UnreachableDatabaseError, match="readonly") as error:
            Item.create(n=1)
        assert "server" not in str(error.value)
        assert "you may write" in str(error.value)


def test_a_locked_file_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """Opening a file that is locked for good says that it is locked."""
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (x)")
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(cmcore.CmcoreError, match="locked") as caught:
        cmcore.connect(f"sqlite:///{path}", timeout=0.05)
    other.close()
    assert isinstance(caught.value, peewee.OperationalError)
    assert str(path) in str(caught.value)


def test_a_refused_password_is_not_shown(make_url: Any) -> None:
    """A server that refuses names host and database, and never the password."""
    url = make_url("postgresql")
    netloc = urlsplit(url).netloc.rpartition("@")[2]
    wrong = urlsplit(url)._replace(netloc=f"no_such_role:{SECRET}@{netloc}").geturl()
    with pytest.raises(cmcore.UnreachableDatabaseError) as caught:
        cmcore.connect(wrong)
    assert SECRET not in "".join([str(caught.value), repr(vars(caught.value))])
    assert urlsplit(url).path[1:] in str(caught.value)


@pytest.mark.parametrize("option", [{"nonsense": 1}, {"pragmas": 5}, {"timeout": "x"}])
def test_an_unknown_option_is_refused(option: dict[str, Any]) -> None:
    """An option that nobody takes is a `ConfigurationError`."""
    with pytest.raises(cmcore.ConfigurationError):
        cmcore.connect(":memory:", **option)


def test_models_follow_the_last_database(tmp_path: Path) -> None:
    """A second `connect` rebinds all models, later ones too, but none with its own."""
    first = cmcore.connect(f"sqlite:///{tmp_path}/a.db")

    class Own(cmcore.Model):
        class Meta:
            database = first
            table_name = "database_own"

    second = cmcore.connect(f"sqlite:///{tmp_path}/b.db")

    class Later(cmcore.Model):
        class Meta:
            table_name = "database_later"

    assert Own._meta.database is first
    followers: list[type[cmcore.Model]] = [Item, Later, Customer, AuditLog]
    for model in followers:
        assert model._meta.database is second
    cmcore.init(first)
    followers.append(Own)
    for model in followers:
        assert model._meta.database is first
    first.close()
    second.close()


def test_audit_rows_go_where_the_change_went(engine: str, make_url: Any) -> None:
    """Under `bind_ctx` the entry lands in the database that carried the write."""
    other = cmcore.connect(make_url(engine, migrated=True))
    with connected(make_url(engine, migrated=True)) as db:
        db.create_tables([Item])
        with other.bind_ctx([Item]):
            other.create_tables([Item])
            with other.atomic():
                Item.create(n=2)
            Item.update(n=3).execute()
        Item.create(n=1)
        counts = [
            d.execute_sql("SELECT count(*) FROM audit_logs").fetchone()[0]
            for d in (db, other)
        ]
        other.close()
    assert counts == [1, 2]


ACCEPTED: dict[str, Callable[[str], peewee.Database]] = {
    "sqlite": lambda _: peewee.SqliteDatabase(":memory:"),
    "pooled sqlite": lambda _: pool.PooledSqliteDatabase(":memory:"),
    "postgresql": peewee.PostgresqlDatabase,
    "psycopg 3": lambda u: peewee.PostgresqlDatabase(u, prefer_psycopg3=True),
    "ext": ext.PostgresqlExtDatabase,
    "psycopg 3 ext": ext.Psycopg3Database,
    "pooled": pool.PooledPostgresqlDatabase,
    "pooled ext": ext.PooledPostgresqlExtDatabase,
}
REFUSED: dict[str, Callable[[], Any]] = {
    "queue": lambda: sqliteq.SqliteQueueDatabase(":memory:", autostart=False),
    "apsw": lambda: type("APSWDatabase", (peewee.SqliteDatabase,), {})(":memory:"),
    "cockroach": lambda: CockroachDatabase("x"),
    "mysql": lambda: peewee.MySQLDatabase("x"),
    "nothing": lambda: None,
    "text": lambda: "sqlite:///x.db",
    "empty proxy": peewee.DatabaseProxy,
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_applications_own_database_is_recorded(name: str, make_url: Any) -> None:
    """Each supported class, pooled ones too, is bound by `init` and leaves a trail."""
    url = "" if "sqlite" in name else make_url("postgresql")
    db = ACCEPTED[name](url)
    assert cmcore.init(db) is db
    with db.connection_context():
        cmcore.migrate(db)
        db.create_tables([Item])
        Item.create(n=1)
        Item.update(n=2).execute()
        assert AuditLog.for_model(Item).count() == 2
    getattr(db, "close_all" if "pooled" in name else "close")()


@pytest.mark.parametrize("name", REFUSED)
def test_other_databases_are_refused(name: str) -> None:
    """A class whose writes cannot be captured is a `ConfigurationError`, named."""
    refused = REFUSED[name]()
    with pytest.raises(cmcore.ConfigurationError, match=type(refused).__name__):
        cmcore.init(refused)


def test_a_proxy_is_looked_through(tmp_path: Path) -> None:
    """`init` of a filled proxy binds the database that is behind it."""
    proxy = peewee.DatabaseProxy()
    db = peewee.SqliteDatabase(str(tmp_path / "a.db"))
    proxy.initialize(db)
    cmcore.init(proxy)
    cmcore.migrate(proxy)
    db.create_tables([Item])
    Item.create(n=1)
    assert AuditLog.select().count() == 1
    db.close()


def test_importing_everything_opens_nothing(tmp_path: Path) -> None:
    """Every public name can be loaded without a database, a thread, or a plugin."""
    script = (
        "import importlib.metadata, sqlite3, threading, psycopg2, cmcore\n"
        "importlib.metadata.entry_points = sqlite3.connect = psycopg2.connect = None\n"
        "[getattr(cmcore, name) for name in cmcore.__all__]\n"
        "assert threading.active_count() == 1\n"
    )
    root = Path(cmcore.__file__).parent.parent
    environment = {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "host", ["host:PORT", f"user:{SECRET}@host:PORT", "[::1]:x", "host:99999"]
)
def test_a_port_that_is_no_number_is_told(host: str) -> None:
    """It is not taken for a password that should be encoded."""
    with pytest.raises(cmcore.ConfigurationError, match="port must be a num") as error:
        cmcore.connect(f"postgresql://{host}/crm")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("host", ["host", "host:5432"])
def test_a_password_with_a_slash_is_not_taken_for_a_port(host: str) -> None:
    """The cure for it is another one."""
    with pytest.raises(cmcore.ConfigurationError, match="Percent-encode") as error:
        cmcore.connect(f"postgresql://user:{SECRET}/x@{host}/crm")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_server_that_is_down_is_told_in_tidy_words(driver: str) -> None:
    """The driver's first line, without its questions, and one full stop."""
    with pytest.raises(cmcore.UnreachableDatabaseError) as error:
        cmcore.connect(f"postgresql+{driver}://ada@127.0.0.1:1/crm")
    text = str(error.value)
    assert "Connection refused. Check that the server runs" in text
    assert "?" not in text
    assert "Is the server" not in text
