"""Each hook: when it is called, with what, and what happens when it raises."""

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import peewee
import pytest

import cmcore
from cmcore import AuditLog, Change, User
from cmcore.changes import Action
from cmcore.hooks import dispatch, specs

Register = Callable[..., Any]

REASON = "not on Sundays"
HOOKS = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in inspect.getmembers(specs, inspect.isfunction)
    if name.startswith("cmcore_")
}


class Thing(cmcore.Model):
    """What is written here."""

    name = peewee.TextField(unique=True)
    n = peewee.IntegerField(default=0)
    pin = peewee.TextField(null=True)
    diary = peewee.TextField(default="")

    class Meta:
        table_name = "things"
        audit_mask = ("pin",)
        audit_exclude = ("diary",)


class Unrecorded(cmcore.Model):
    """Without audit rows."""

    name = peewee.TextField()

    class Meta:
        table_name = "unrecorded_things"
        audit = False


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The tables of this file, on each engine."""
    database.create_tables([Thing, Unrecorded])
    return database


class Heard:
    """A plugin with every hook that has changes; it keeps what it hears.

    Attributes:
        calls: Hook and changes, in their order.
        rows: How many rows the table had at each call.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.calls: list[tuple[str, list[Change]]] = []
        self.rows: list[int] = []


def _listener(hook: str) -> Any:
    def listen(self: Heard, changes: Any) -> None:
        self.rows.append(count(Thing))
        self.calls.append((hook.removeprefix("cmcore_"), list(changes)))

    return cmcore.hookimpl(listen)


for _hook, _arguments in HOOKS.items():
    if _arguments == ("changes",):
        setattr(Heard, _hook, _listener(_hook))


def count(model: type[peewee.Model]) -> int:
    """Return how many rows a table has, unseen by hooks."""
    query = peewee.Select([peewee.Table(model._meta.table_name)], [peewee.SQL("1")])
    return len(list(query.bind(model._meta.database)))


def raising(hook: str, error: BaseException) -> Any:
    """Return a plugin whose hook raises."""

    def fail(self: Any) -> None:
        raise error

    return type("Raising", (), {hook: cmcore.hookimpl(fail)})()


def answering(hook: str, answer: Any) -> Any:
    """Return a plugin whose hook returns something."""
    return type("Answering", (), {hook: cmcore.hookimpl(lambda self: answer)})()


def restored() -> Change:
    """Return the change of a restored row."""
    change: Any = object.__new__(Change)
    vars(change).update(action=Action.RESTORE, model=Thing, key=1, old={}, new={})
    result: Change = change
    return result


def test_cmcore_before_create(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, before it: all rows, what is known of them, masked values."""
    heard = plugin(Heard())
    rows = [{"name": "a", "pin": "1234"}, {"name": "b"}]
    with cmcore.acting_as("system", reason="test"):
        Thing.insert_many(rows).execute()
    hook, (first, second) = heard.calls[0]
    assert (hook, heard.rows) == ("before_create", [0, 2])
    assert (first.action, first.model, first.key, first.old) == (
        Action.CREATE,
        Thing,
        None,
        None,
    )
    assert first.new == {"name": "a", "n": 0, "pin": "***"}
    assert second.new is not None
    assert second.new["name"] == "b"
    assert first.context.user_id == "system"
    assert first.context.extra["reason"] == "test"
    assert first.at.utcoffset() is not None
    assert first.transaction_id == AuditLog.select().get().transaction_id


def test_cmcore_before_update(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, before it: what differs, and nothing that is computed."""
    thing = Thing.create(name="a", n=1)
    heard = plugin(Heard())
    Thing.update(n=2, name="a").execute()
    hook, (change,) = heard.calls[0]
    assert (hook, change.key) == ("before_update", thing.id)
    assert (change.old, change.new) == ({"n": 1}, {"n": 2})
    heard.calls.clear()
    Thing.update(n=Thing.n + 1, pin="9").execute()
    assert heard.calls[0][1][0].new == {"pin": "***"}


def test_what_a_caller_gives_in_bulk_is_known_before(
    db: peewee.Database, plugin: Register
) -> None:
    """Values of `bulk_update` row by row, and values in a node; masks hold."""
    things = [Thing.create(name=f"t{i}", pin="1234") for i in range(4)]
    heard = plugin(Heard())
    for i, thing in enumerate(things):
        thing.n, thing.pin = i, "9876"
    Thing.bulk_update([*things, things[0]], [Thing.n, Thing.pin])
    (before, told), (after, happened) = heard.calls
    assert (before, after) == ("before_update", "after_update")
    assert [(c.key, c.old, c.new) for c in told] == [
        (c.key, c.old, c.new) for c in happened
    ]
    assert [c.new for c in told] == [
        {"n": i, "pin": "***"} if i else {"pin": "***"} for i in range(4)
    ]
    heard.calls.clear()
    Thing.update(n=peewee.Value(7)).where(Thing.name == "t1").execute()
    assert [c.new for _, changes in heard.calls for c in changes] == [{"n": 7}] * 2
    Thing.insert(name=peewee.Value("t9")).execute()
    assert heard.calls[2][1][0].new["name"] == "t9"


def test_cmcore_before_delete(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, before it: all fields of every row that goes."""
    Thing.insert_many([{"name": "a"}, {"name": "b"}]).execute()
    heard = plugin(Heard())
    Thing.delete().execute()
    hook, changes = heard.calls[0]
    assert (hook, heard.rows) == ("before_delete", [2, 0])
    assert [(c.old or {})["name"] for c in changes] == ["a", "b"]
    assert {c.new for c in changes} == {None}


def test_cmcore_before_restore(plugin: Register) -> None:
    """It is called with restored rows, and its errors reach the caller."""
    heard: list[Change] = []
    hook = cmcore.hookimpl(lambda self, changes: heard.extend(changes))
    plugin(type("Watching", (), {"cmcore_before_restore": hook})())
    change = restored()
    dispatch.before([change])
    assert heard == [change]
    plugin(raising("cmcore_before_restore", cmcore.Veto("no")))
    with pytest.raises(cmcore.Veto, match="no"):
        dispatch.before([change])


def test_cmcore_after_create(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, after it: all rows with all fields, keys included."""
    heard = plugin(Heard())
    Thing.insert_many([{"name": "a", "pin": "1"}, {"name": "b"}]).execute()
    hook, (first, second) = heard.calls[1]
    assert (hook, heard.rows[1]) == ("after_create", 2)
    assert (first.key, second.key) == tuple(t.id for t in Thing.select())
    assert first.new == {"id": first.key, "name": "a", "n": 0, "pin": "***"}
    assert first.old is None


def test_cmcore_after_update(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, after it: what differs, computed values included."""
    Thing.insert_many([{"name": "a", "n": 1}, {"name": "b", "n": 5}]).execute()
    heard = plugin(Heard())
    Thing.update(n=Thing.n + 1).execute()
    assert [hook for hook, _ in heard.calls] == ["before_update", "after_update"]
    changes = heard.calls[1][1]
    assert [(c.old, c.new) for c in changes] == [
        ({"n": 1}, {"n": 2}),
        ({"n": 5}, {"n": 6}),
    ]
    heard.calls.clear()
    Thing.update(n=Thing.n).execute()
    assert [hook for hook, _ in heard.calls] in ([], ["before_update"])


def test_cmcore_after_delete(db: peewee.Database, plugin: Register) -> None:
    """Once a statement, after it, also for an instance: the row as it was."""
    thing = Thing.create(name="a")
    heard = plugin(Heard())
    thing.delete_instance()
    hook, (change,) = heard.calls[1]
    assert (hook, heard.rows) == ("after_delete", [1, 0])
    assert (change.action, change.key, change.new) == (Action.DELETE, thing.id, None)
    assert (change.old or {})["name"] == "a"


def test_cmcore_after_restore(plugin: Register) -> None:
    """It is called with restored rows, and its errors reach the caller."""
    heard: list[Change] = []
    hook = cmcore.hookimpl(lambda self, changes: heard.extend(changes))
    plugin(type("Watching", (), {"cmcore_after_restore": hook})())
    change = restored()
    # The audit writer does not know a list that no statement made.
    dispatch.after([change])
    assert heard == [change]
    plugin(raising("cmcore_after_restore", cmcore.Veto("no")))
    with pytest.raises(cmcore.Veto, match="no"):
        dispatch.after([change])


def test_cmcore_redact(db: peewee.Database, plugin: Register) -> None:
    """Once a row that gets an entry; the named fields are masked in it, and only there.

    The answers of several plugins add up.
    """
    asked: list[Change] = []

    def redact(self: Any, change: Change) -> Iterable[str]:
        asked.append(change)
        return {"name"} if (change.new or {}).get("name") == "secret" else ()

    plugin(type("Discreet", (), {"cmcore_redact": cmcore.hookimpl(redact)})())
    plugin(answering("cmcore_redact", ["n"]))
    Thing.insert_many([{"name": "secret", "n": 7}, {"name": "open"}]).execute()
    Unrecorded.create(name="secret")
    entries = AuditLog.select().order_by(AuditLog.created_at, AuditLog.id)
    values = [(e.new_values["name"], e.new_values["n"]) for e in entries]
    assert values == [("***", "***"), ("open", "***")]
    assert [(change.new or {})["name"] for change in asked] == ["secret", "open"]
    assert Thing.get().name == "secret"


def test_cmcore_resolve_user(db: peewee.Database, plugin: Register) -> None:
    """It names who acts where no block does: a `User`, or an id; the first one wins."""
    eva = User.create(
        email="eva@example.org", full_name="Eva Example", password_hash="!no login"
    )
    plugin(answering("cmcore_resolve_user", None), "nobody")
    assert actor() == ("system", "system")
    plugin(answering("cmcore_resolve_user", eva), "object")
    assert actor() == (eva.id, "eva@example.org")
    cmcore.plugins.unregister("object")
    plugin(answering("cmcore_resolve_user", eva.id), "key")
    assert actor() == (eva.id, "eva@example.org")
    plugin(answering("cmcore_resolve_user", None), "nobody else")
    assert actor() == (eva.id, "eva@example.org")
    with cmcore.acting_as("system"):
        assert actor()[0] == "system"


def actor() -> tuple[str, str | None]:
    """Write, and return who is said to have done it: id, and address where known."""
    Thing.delete().execute()
    Thing.create(name="x")
    entry = AuditLog.trail().first()
    assert entry is not None
    return str(entry.user_id), entry.user_email or entry.user_id


@pytest.mark.parametrize(
    "answer", ["nobody-with-this-id", "", "x" * 50, 4711, ValueError("down")], ids=repr
)
def test_an_answer_that_is_no_user_is_logged(
    db: peewee.Database,
    plugin: Register,
    caplog: pytest.LogCaptureFixture,
    answer: Any,
) -> None:
    """An unknown id, nonsense or an error of `cmcore_resolve_user` is the system's."""
    if isinstance(answer, Exception):
        plugin(raising("cmcore_resolve_user", answer))
    else:
        plugin(answering("cmcore_resolve_user", answer))
    with db.atomic():
        assert actor()[0] == "system"
    assert "cmcore_resolve_user" in caplog.text
    assert Thing.select().count() == 1


def test_cmcore_after_commit(db: peewee.Database, plugin: Register) -> None:
    """After COMMIT, once, with the entries in the order of writing."""
    seen: list[list[AuditLog]] = []
    observe = cmcore.hookimpl(lambda self, entries: seen.append(list(entries)))
    plugin(type("Observer", (), {"cmcore_after_commit": observe})())
    with db.atomic():
        Thing.insert_many([{"name": "a"}, {"name": "b"}]).execute()
        Thing.delete().where(Thing.name == "a").execute()
        assert seen == []
    (entries,) = seen
    assert entries == list(AuditLog.select().order_by(AuditLog.created_at, AuditLog.id))
    assert [entry.action for entry in entries] == ["create", "create", "delete"]


def test_cmcore_register_commands(plugin: Register) -> None:
    """Commands are added to the group; one that raises leaves none, and is listed."""

    def add(self: Any, cli: click.Group) -> None:
        cli.add_command(click.Command("greet"))

    def add_and_fail(self: Any, cli: click.Group) -> None:
        cli.add_command(click.Command("half"))
        raise ValueError

    name = "cmcore_register_commands"
    plugin(type("Good", (), {name: cmcore.hookimpl(add)})())
    plugin(type("Bad", (), {name: cmcore.hookimpl(add_and_fail)})(), "bad")
    group = click.Group()
    dispatch.register_commands(group)
    assert list(group.commands) == ["greet"]
    status = {info.name: info.status for info in cmcore.plugins.list()}
    assert status["bad"] == "error"


def test_cmcore_check_password(plugin: Register) -> None:
    """Each plugin is asked, and what it says is a reason; one that raises is broken."""
    plugin(answering("cmcore_check_password", None), "content")
    plugin(answering("cmcore_check_password", "in_a_breach"), "one")
    plugin(answering("cmcore_check_password", ["too_plain", "reused"]), "two")
    plugin(raising("cmcore_check_password", ValueError("down")), "bad")
    user = User(email="eva@example.org", full_name="Eva Example")
    reasons = dispatch.check_password(user, "a password")
    assert sorted(reasons) == ["in_a_breach", "reused", "too_plain"]
    status = {info.name: info.status for info in cmcore.plugins.list()}
    assert (status["bad"], status["one"]) == ("error", "active")


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_and_a_docstring(hook: str) -> None:
    """A function `test_<hook>` here, and words on it in specs.py that begin alike."""
    assert f"test_{hook}" in globals()
    assert (getattr(specs, hook).__doc__ or "").startswith("Called ")


def test_every_hook_that_is_called_is_one_of_specs() -> None:
    """The names in dispatch.py, arguments included, are those of specs.py."""
    source = Path(dispatch.__file__).read_text(encoding="utf-8")
    verbs = set(dispatch.VERBS.values())
    used = {f"cmcore_{stage}_{v}" for stage in ("before", "after") for v in verbs} | {
        name for name in HOOKS if f'"{name}"' in source or f".{name}(" in source
    }
    assert used == set(HOOKS)


WRITES: dict[str, Callable[[], Any]] = {
    "cmcore_before_create": lambda: Thing.create(name="new"),
    "cmcore_after_create": lambda: Thing.create(name="new"),
    "cmcore_before_update": lambda: Thing.update(n=5).execute(),
    "cmcore_after_update": lambda: Thing.update(n=5).execute(),
    "cmcore_before_delete": lambda: Thing.delete().execute(),
    "cmcore_after_delete": lambda: Thing.delete().execute(),
    "cmcore_redact": lambda: Thing.update(n=5).execute(),
}


@pytest.mark.parametrize("hook", WRITES)
@pytest.mark.parametrize("where", ["autocommit", "atomic", "caught"])
def test_a_raising_hook_undoes_its_statement(
    db: peewee.Database, plugin: Register, hook: str, where: str
) -> None:
    """Neither row nor entry is left, also where the caller catches it in `atomic()`.

    What he wrote before and afterwards in that transaction stays.
    """
    Thing.create(name="old")
    entries = count(AuditLog)
    failing = plugin(raising(hook, cmcore.Veto(REASON)), "failing")
    assert failing
    refused = pytest.raises(cmcore.Veto, match=REASON)
    if where == "caught":
        with db.atomic():
            Unrecorded._meta.database.execute_sql(
                "INSERT INTO unrecorded_things (name) VALUES ('before')"
            )
            with refused:
                WRITES[hook]()
            cmcore.plugins.unregister("failing")
            Unrecorded.create(name="afterwards")
        assert count(Unrecorded) == 2
    else:
        with refused, db.atomic() if where == "atomic" else contextlib.nullcontext():
            WRITES[hook]()
        assert count(Unrecorded) == 0
    assert [(t.name, t.n) for t in Thing.select()] == [("old", 0)]
    assert count(AuditLog) == entries


def test_an_error_that_is_no_veto_arrives_as_it_is(
    db: peewee.Database, plugin: Register
) -> None:
    """A hook's own error, a bug included, reaches the caller unchanged."""
    error = KeyError("typo")
    plugin(raising("cmcore_after_create", error))
    with pytest.raises(KeyError) as caught:
        Thing.create(name="x")
    assert caught.value is error
    assert (count(Thing), count(AuditLog)) == (0, 0)


def test_a_veto_stops_a_call_of_several_statements(
    db: peewee.Database, plugin: Register
) -> None:
    """A hook that refuses the second batch undoes the first one, too."""
    batches: list[int] = []

    def refuse_second(self: Any, changes: Any) -> None:
        batches.append(len(changes))
        if len(batches) == 2:
            raise cmcore.Veto(REASON)

    hook = cmcore.hookimpl(refuse_second)
    plugin(type("Weary", (), {"cmcore_after_create": hook})())
    things = [Thing(name=str(i)) for i in range(5)]
    with pytest.raises(cmcore.Veto, match=REASON):
        Thing.bulk_create(things, batch_size=2)
    assert batches == [2, 2]
    assert (count(Thing), count(AuditLog)) == (0, 0)


def test_excluded_fields_reach_no_hook(db: peewee.Database, plugin: Register) -> None:
    """A field that is never recorded is absent from every change."""
    heard = plugin(Heard())
    thing = Thing.create(name="a", diary="dear diary", pin="12")
    thing.diary, thing.n = "more", 2
    thing.save()
    thing.delete_instance()
    assert [hook for hook, _ in heard.calls] == [
        f"{stage}_{verb}"
        for verb in ("create", "update", "delete")
        for stage in ("before", "after")
    ]
    assert "diary" not in repr(heard.calls)
    assert "12" not in repr([(c.old, c.new) for _, cs in heard.calls for c in cs])


def test_hooks_see_models_that_are_not_audited(
    db: peewee.Database, plugin: Register
) -> None:
    """`audit = False` stops audit rows and nothing else; so does blocking `audit`."""
    heard = plugin(Heard())
    Unrecorded.create(name="x")
    assert [hook for hook, _ in heard.calls] == ["before_create", "after_create"]
    cmcore.plugins.block("audit")
    try:
        Thing.create(name="y")
    finally:
        cmcore.plugins.unblock("audit")
    assert len(heard.calls) == 4
    assert count(AuditLog) == 0


def test_the_last_registered_is_called_first(
    db: peewee.Database, plugin: Register
) -> None:
    """Hooks are called from the plugin registered last to the first."""
    order: list[str] = []
    for name in ("one", "two"):
        hook = cmcore.hookimpl(lambda self, name=name: order.append(name))
        plugin(type("Ordered", (), {"cmcore_before_create": hook})(), name)
    Thing.create(name="x")
    assert order == ["two", "one"]


def test_a_hook_may_read_and_write(db: peewee.Database, plugin: Register) -> None:
    """What a hook writes is recorded in the same transaction, and undone with it."""

    def note(self: Any, changes: Any) -> None:
        if changes[0].model is Thing:
            for change in changes:
                Unrecorded.create(name=f"saw {change.new['name']}")

    hook = cmcore.hookimpl(note)
    plugin(type("Noting", (), {"cmcore_after_create": hook})())
    Thing.insert_many([{"name": "a"}, {"name": "b"}]).execute()
    assert [u.name for u in Unrecorded.select()] == ["saw a", "saw b"]
    with pytest.raises(peewee.IntegrityError):
        Thing.insert_many([{"name": "c"}, {"name": "a"}]).execute()
    assert (count(Thing), count(Unrecorded)) == (2, 2)


def test_a_marked_function_may_have_another_name(plugin: Register) -> None:
    """`hookimpl(specname=…)` names the hook, in the list too."""

    def mask(self: Any) -> None: ...

    hook = cmcore.hookimpl(mask, specname="cmcore_redact")
    plugin(type("Renamed", (), {"mask": hook})(), "renamed")
    hooks = {info.name: info.hooks for info in cmcore.plugins.list()}
    assert hooks["renamed"] == ("cmcore_redact",)


def test_a_hook_without_its_mark_is_refused() -> None:
    """A function with a hook's name that is not marked would never be called."""
    hook = cmcore.hookimpl(lambda self: None)
    broken = SimpleNamespace(cmcore_redact=hook, cmcore_after_create=print)
    with pytest.raises(cmcore.PluginError, match="cmcore_after_create lacks its mark"):
        cmcore.plugins.register(broken, name="forgetful")
    assert [info.name for info in cmcore.plugins.list()] == ["audit"]


def test_logs_name_the_plugin(
    db: peewee.Database, plugin: Register, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not allowed to reach the caller is logged with the plugin's name."""
    plugin(raising("cmcore_after_commit", ValueError("full disk")), "sink")
    with caplog.at_level(logging.ERROR):
        Thing.create(name="x")
    assert "'sink'" in caplog.text
    assert "full disk" in caplog.text
