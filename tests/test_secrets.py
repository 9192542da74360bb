"""Secrets: masked, excluded and `SecretField` values show up nowhere but in the row."""

import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.changes import MASK
from cmcore.fields import SecretField
from cmcore.models import AuditLog, User
from tests.conftest import connected

MARK = "S3CRET"
TOKEN, IBAN, NOTE = f"{MARK}-token", f"{MARK}-iban", f"{MARK}-note"
ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"


class Account(cmcore.Model):
    """Has a secret of each kind among ordinary columns."""

    login = peewee.CharField(unique=True)
    token = SecretField(null=True, unique=True)
    iban = peewee.CharField(max_length=40, null=True, unique=True)
    note = peewee.TextField(null=True)
    born = peewee.DateField(null=True)
    n = peewee.IntegerField(default=0, constraints=[peewee.Check("n >= 0")])

    class Meta:
        table_name = "secret_accounts"
        audit_mask = ("iban", "born")
        audit_exclude = ("note",)


class Order(cmcore.Model):
    """Has no secret itself, and refers to a row that has some."""

    account = peewee.ForeignKeyField(Account, null=True)
    Meta = type("Meta", (), {"table_name": "secret_orders"})


class Spy:
    """A plugin that keeps everything it is told, as text."""

    def __init__(self) -> None:
        """Begin knowing nothing."""
        self.told: list[str] = []

    def _hear(self, changes: Any) -> None:
        for change in changes:
            self.told.append(repr(change) + str(dict(change.old or change.new)))

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Any) -> None:
        """Keep it."""
        self._hear(changes)

    cmcore_after_create = cmcore_before_update = cmcore_before_create
    cmcore_after_update = cmcore_before_delete = cmcore_before_create
    cmcore_after_delete = cmcore_before_create

    @cmcore.hookimpl
    def cmcore_redact(self, change: Any) -> None:
        """Keep it."""
        self._hear([change])


class Lines(logging.Handler):
    """Keeps every line as it would be written."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    """Collect what both loggers write at DEBUG."""
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("peewee", "cmcore.sql")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file with one account, on each engine."""
    database.create_tables([Account, Order])
    Account.create(**row("first"))
    return database


def row(login: str) -> dict[str, Any]:
    """Return a row with secrets of its own."""
    return {
        "login": login,
        "token": f"{TOKEN}-{login}",
        "iban": f"{IBAN}-{login}",
        "note": f"{NOTE}-{login}",
    }


def leaks(texts: Any) -> list[str]:
    """Return the texts that hold a secret."""
    return [str(text)[:300] for text in texts if MARK in str(text)]


def trail() -> list[str]:
    """Return all columns of all entries as text."""
    return [repr(values) for values in AuditLog.select().tuples()]


def saved(**changed: Any) -> None:
    """Change the account through an object."""
    account = Account.get(Account.login == "first")
    for name, value in changed.items():
        setattr(account, name, value)
    account.save()


def bulk_updated() -> None:
    """Change the account through `bulk_update`."""
    account = Account.get(Account.login == "first")
    account.token, account.iban, account.note = f"{TOKEN}-bulk", f"{IBAN}-bulk", NOTE
    Account.bulk_update([account], ["token", "iban", "note"])


WRITES: dict[str, Callable[[], Any]] = {
    "create": lambda: Account.create(**row("a")),
    "insert": lambda: Account.insert(row("b")).execute(),
    "insert_many": lambda: Account.insert_many([row("c"), row("d")]).execute(),
    "insert tuples": lambda: Account.insert_many(
        [("e", TOKEN, IBAN)], fields=["login", "token", "iban"]
    ).execute(),
    "bulk_create": lambda: Account.bulk_create([Account(**row("f"))]),
    "delete others": lambda: Account.delete().where(Account.login != "first").execute(),
    "save": lambda: saved(token=f"{TOKEN}-s", iban=f"{IBAN}-s", note=f"{NOTE}-s"),
    "save all": lambda: saved(n=5),
    "update": lambda: (
        Account.update(row("first")).where(Account.login == "first").execute()
    ),
    "bulk_update": bulk_updated,
    "update where": lambda: Account.update(n=7).where(Account.iban == IBAN).execute(),
    "update where in": lambda: (
        Account.update(n=9).where(Account.note.in_([NOTE, f"{NOTE}-2"])).execute()
    ),
    "update expression": lambda: (
        Account.update(
            iban=peewee.fn.LOWER(f"{IBAN}-X"), note=Account.note.concat(f"{NOTE}-more")
        )
        .where(Account.login == "first")
        .execute()
    ),
    "upsert": lambda: (
        Account.insert(row("first"))
        .on_conflict(
            conflict_target=[Account.login],
            preserve=[Account.token],
            update={"iban": f"{IBAN}-u", "note": f"{NOTE}-u"},
        )
        .execute()
    ),
    "upsert on secret": lambda: (
        Account.insert({**row("g"), "iban": f"{IBAN}-u"})
        .on_conflict(conflict_target=[Account.iban], update={"n": 3})
        .execute()
    ),
    "ignore": lambda: Account.insert(row("first")).on_conflict_ignore().execute(),
    "get_or_create": lambda: Account.get_or_create(
        iban=f"{IBAN}-goc", defaults={"login": "h", "token": f"{TOKEN}-goc"}
    ),
    "insert_from": lambda: Account.insert_from(
        Account.select(
            peewee.Value("i"), peewee.Value(f"{IBAN}-from"), Account.n
        ).limit(1),
        fields=[Account.login, Account.iban, Account.n],
    ).execute(),
    "select": lambda: list(Account.select().where(Account.token == TOKEN)),
    "select masked": lambda: list(Account.select().where(Account.iban == IBAN)),
    "join": lambda: list(Order.select().join(Account).where(Account.iban == IBAN)),
    "sub-select": lambda: (
        Order.update(account=None)
        .where(Order.account.in_(Account.select().where(Account.note == NOTE)))
        .execute()
    ),
}

FAILURES: dict[str, Callable[[], Any]] = {
    "unique login": lambda: Account.create(**row("first")),
    "unique secret": lambda: Account.create(login="x", token=f"{TOKEN}-first"),
    "unique masked": lambda: Account.create(login="x", iban=f"{IBAN}-first"),
    "unique many": lambda: Account.insert_many([row("y"), row("first")]).execute(),
    "unique update": lambda: (
        Account.update(iban=f"{IBAN}-other").where(Account.login == "first").execute()
    ),
    "check": lambda: Account.create(**row("x"), n=-1),
    "check update": lambda: Account.update(n=-1).execute(),
    "null": lambda: Account.insert({**row("x"), "login": None}).execute(),
    "long": lambda: Account.create(login="x", iban=IBAN * 9, token=TOKEN * 50),
    "type": lambda: Account.insert({**row("x"), "born": f"{MARK}-date"}).execute(),
    "neighbour": lambda: Account.insert({**row("x"), "n": "9" * 30}).execute(),
    "int": lambda: Account.update(n="number", note=NOTE).execute(),
    "nul": lambda: Account.create(login="x\0", token=TOKEN, iban=f"{IBAN}\0"),
    "function": lambda: Account.update(note=peewee.fn.nonesuch(IBAN, NOTE)).execute(),
    "column": lambda: Account.update(note=NOTE, iban=peewee.SQL("nonesuch")).execute(),
    "select": lambda: list(
        Account.select(peewee.fn.nonesuch()).where(Account.iban == IBAN)
    ),
}


def failure_texts(error: BaseException) -> list[str]:
    """Return every text in which an error may be shown."""
    texts = [str(error), repr(error), repr(error.args), repr(vars(error))]
    texts += [*traceback.format_exception(error)]
    for other in (error.__cause__, error.__context__):
        texts += [] if other is None else failure_texts(other)
    if isinstance(error, cmcore.CmcoreError):
        texts += [str(copy.copy(error)), repr(vars(pickle.loads(pickle.dumps(error))))]  # noqa: S301
    return texts


def test_no_entry_and_no_hook_shows_a_secret(
    db: peewee.Database, plugin: Callable[..., Any]
) -> None:
    """After every kind of write, neither the trail nor any plugin was told a value."""
    spy = plugin(Spy())
    for write in WRITES.values():
        write()
    assert leaks(trail()) == []
    assert leaks(spy.told) == []
    assert len(spy.told) > len(WRITES)
    changed = [e.new_values for e in AuditLog.select() if e.action == "update"]
    assert any(values.get("token") == MASK for values in changed)
    assert all("note" not in (values or {}) for values in changed)


@pytest.mark.parametrize("watched", [False, True])
def test_no_log_line_shows_a_secret(
    db: peewee.Database, plugin: Callable[..., Any], watched: bool
) -> None:
    """No statement of any kind puts a secret into a log at DEBUG, hooks or none."""
    if watched:
        plugin(Spy())
    found = {}
    for kind, write in {**WRITES, **FAILURES}.items():
        with logged() as lines:
            try:
                write()
            except Exception:  # noqa: BLE001 - what is logged counts here
                assert kind in FAILURES
        assert lines
        if leaks(lines):
            found[kind] = leaks(lines)
    assert list(found) == []


def test_no_error_shows_a_secret(db: peewee.Database) -> None:
    """Text, attributes, copies and traceback of every refusal are free of secrets."""
    Account.create(**row("other"))
    found = {}
    for kind, write in FAILURES.items():
        try:
            with db.atomic():
                write()
        except Exception as error:  # noqa: BLE001 - its texts are looked at
            texts = [*failure_texts(error), traceback.format_exc()]
            if leaks(texts):
                found[kind] = leaks(texts)
    assert list(found) == []


def test_an_error_about_a_hidden_field_has_no_value(db: peewee.Database) -> None:
    """`.value` is None for a hidden field, and is there for an ordinary one."""
    with pytest.raises(cmcore.DuplicateError) as hidden:
        Account.create(login="x", iban=f"{IBAN}-first")
    assert (hidden.value.column, hidden.value.value) == ("iban", None)
    assert hidden.value.fields == ("iban",)
    with pytest.raises(cmcore.DuplicateError) as shown:
        Account.create(login="first")
    assert (shown.value.column, shown.value.value) == ("login", "first")


@pytest.mark.parametrize("option", ["audit_mask", "audit_exclude", None])
def test_a_primary_key_cannot_be_hidden(
    db: peewee.Database, option: str | None
) -> None:
    """A key names its row in the trail, so a secret one is refused at first use."""
    field = peewee.CharField if option else SecretField

    class Keyed(cmcore.Model):
        token = field(primary_key=True)
        Meta = type("Meta", (), {"table_name": "keyed", str(option): ("token",)})

    with pytest.raises(cmcore.ConfigurationError, match="token"):
        Keyed.create(token=TOKEN)


def test_masking_shows_that_a_value_changed_and_null_as_null(
    db: peewee.Database,
) -> None:
    """NULL to a secret, secret to secret and back: seen as changes, without values."""
    account = Account.create(login="x")
    for iban in (IBAN, f"{IBAN}-2", f"{IBAN}-2", None):
        Account.update(iban=iban).where(Account.login == "x").execute()
    told = [
        (e.old_values["iban"], e.new_values["iban"])
        for e in account.history().where(AuditLog.action == "update")
    ]
    assert told == [(MASK, None), (MASK, MASK), (None, MASK)]


def test_an_excluded_field_alone_is_no_change(db: peewee.Database) -> None:
    """Writing only an excluded field leaves no entry, and beside another no trace."""
    Account.update(note=f"{NOTE}-x").execute()
    assert AuditLog.for_model(Account).count() == 1
    Account.update(note=f"{NOTE}-y", n=9).execute()
    [entry] = AuditLog.for_model(Account).where(AuditLog.action == "update")
    assert entry.new_values == {"n": 9}


def test_masks_of_base_classes_add_up(db: peewee.Database) -> None:
    """A child masks and excludes what its parents do, and its own."""

    class Child(Account):
        extra = peewee.TextField()

        class Meta:
            table_name = "secret_children"
            audit_mask = ("extra",)

    db.create_tables([Child])
    Child.create(**row("c"), extra=f"{MARK}-extra")
    assert leaks(trail()) == []
    assert AuditLog.for_model(Child).get().new_values["extra"] == MASK


def test_a_secret_does_not_show_itself(db: peewee.Database) -> None:
    """`repr` of a value, of an object and of its data is free of the secret."""
    account = Account.get(Account.login == "first")
    fresh = Account(login="x", token=TOKEN)
    assert leaks([repr(fresh), repr(fresh.token), repr(fresh.__data__)]) == []
    assert leaks([repr(account), repr(account.token)]) == []
    assert str(account.token) == f"{TOKEN}-first"


def test_a_dump_of_the_trail_holds_no_hash(db: peewee.Database) -> None:
    """Whatever happens to users, no part of `audit_logs` holds `$argon2` or a seed."""
    given = {"email": "u@example.com", "full_name": "U U", "totp_secret": f"{MARK}SEED"}
    user = User.create(password_hash=ARGON, **given)
    user.password_hash = ARGON + "2"
    user.save()
    User.update(password_hash=ARGON + "3").where(User.id == user.id).execute()
    User.insert(id=user.id, password_hash=ARGON, **given).on_conflict(
        conflict_target=[User.id], preserve=[User.password_hash, User.totp_secret]
    ).execute()
    cmcore.record(
        "x", resource_type="users", description="d", secret=user.password_hash
    )
    texts: list[str] = []
    for bad in ({"email": "nonsense"}, {"email": "u@example.com"}, {"full_name": " "}):
        with pytest.raises(cmcore.ConstraintError) as caught:
            User.create(password_hash=ARGON, **{**given, **bad})
        texts += failure_texts(caught.value)
    user.delete_instance()
    assert AuditLog.select().count() == 7
    assert [t for t in [*trail(), *texts] if "argon2" in t or MARK in t] == []


def test_psycopg3_errors_are_clean_too(make_url: Any) -> None:
    """The other driver's DETAIL lines do not get through either."""
    url = make_url("postgresql", migrated=True)
    with connected(url.replace("postgresql://", "postgresql+psycopg://")) as db:
        db.create_tables([Account])
        Account.create(**row("first"))
        Account.create(**row("other"))
        found = {}
        for kind, write in FAILURES.items():
            with pytest.raises(Exception) as caught, db.atomic():  # noqa: PT011
                write()
            if leaks(failure_texts(caught.value)):
                found[kind] = leaks(failure_texts(caught.value))
        assert list(found) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda text: Account.create(login=text, token=TOKEN),
        lambda text: Account.update(login=text, token=TOKEN).execute(),
        lambda text: Account.select().where(Account.login == text).get_or_none(),
    ],
)
def test_a_text_that_is_no_unicode_is_an_error_of_its_kind(
    db: peewee.Database, use: Callable[[str], Any]
) -> None:
    """It can be caught as where nothing is masked, and quotes nothing."""
    with pytest.raises(UnicodeError, match="secret_accounts") as caught:
        use(f"{MARK}\ud800")
    assert MARK not in str(caught.value)
