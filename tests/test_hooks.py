"""The plugin registry: what joins, what is refused, what is blocked, what is listed."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import peewee
import pytest

import cmcore
from cmcore.changes import Action
from cmcore.hooks import dispatch
from cmcore.models import AuditLog
from tests.conftest import forget_plugin

Register = Callable[..., Any]

REASON = "not today"


class Leaf(cmcore.Model):
    """Anything that can be written."""

    name = peewee.TextField(null=True)
    pin = peewee.TextField(null=True)

    class Meta:
        table_name = "hook_leaves"


@pytest.fixture
def db(database: peewee.Database) -> peewee.Database:
    """The table of this file, on each engine."""
    database.create_tables([Leaf])
    return database


@pytest.fixture(autouse=True)
def registry_as_before() -> Iterator[None]:
    """Check that no test leaves a trace in the registry."""
    before = cmcore.plugins.list()
    yield
    for info in cmcore.plugins.list():
        if info.name != "audit":
            forget_plugin(info.name)
    cmcore.plugins.unblock("audit")
    assert cmcore.plugins.list() == before


class Counting:
    """A plugin that counts what it is told."""

    __version__ = "1.2"

    def __init__(self) -> None:
        """Begin at nothing."""
        self.calls: list[tuple[str, list[Action]]] = []

    def _count(self, hook: str, changes: Any) -> None:
        self.calls.append((hook, [change.action for change in changes]))

    @cmcore.hookimpl
    def cmcore_before_create(self, changes: Any) -> None:
        """Count."""
        self._count("before_create", changes)

    @cmcore.hookimpl
    def cmcore_after_create(self, changes: Any) -> None:
        """Count."""
        self._count("after_create", changes)

    @cmcore.hookimpl
    def cmcore_after_delete(self, changes: Any) -> None:
        """Count."""
        self._count("after_delete", changes)


def info(name: str) -> Any:
    """Return what the list says of one plugin."""
    return next((i for i in cmcore.plugins.list() if i.name == name), None)


def test_the_audit_writer_is_a_plugin() -> None:
    """The list has the built-in plugin `audit`, active, with its four hooks."""
    audit = info("audit")
    assert (audit.status, audit.error) == ("active", None)
    assert audit.hooks == tuple(
        f"cmcore_after_{verb}" for verb in ("create", "delete", "restore", "update")
    )


def test_a_plugin_is_called_once_a_statement(
    db: peewee.Database, plugin: Register
) -> None:
    """However many rows a statement has, a hook is called once, with all of them."""
    counting = plugin(Counting())
    Leaf.insert_many([{"name": str(i)} for i in range(5)]).execute()
    Leaf.delete().execute()
    Leaf.delete().execute()
    assert counting.calls == [
        ("before_create", [Action.CREATE] * 5),
        ("after_create", [Action.CREATE] * 5),
        ("after_delete", [Action.DELETE] * 5),
    ]


def test_register_and_unregister(db: peewee.Database) -> None:
    """A plugin is called from `register` to `unregister`, by name or as the object."""
    counting = Counting()
    assert cmcore.plugins.register(counting) == "Counting"
    assert info("Counting").version == "1.2"
    assert info("Counting").hooks == (
        "cmcore_after_create",
        "cmcore_after_delete",
        "cmcore_before_create",
    )
    Leaf.create()
    cmcore.plugins.unregister(counting)
    Leaf.create()
    assert len(counting.calls) == 2
    assert cmcore.plugins.register(counting, name="mine") == "mine"
    cmcore.plugins.unregister("mine")
    assert info("mine") is None
    with pytest.raises(cmcore.PluginError, match="not registered"):
        cmcore.plugins.unregister("mine")


def test_a_module_is_a_plugin(db: peewee.Database, plugin: Register) -> None:
    """A module with marked functions registers under its own name."""
    told: list[Any] = []
    module = ModuleType("my_plugin")

    @cmcore.hookimpl
    def cmcore_after_create(changes: Any) -> None:
        told.extend(changes)

    module.cmcore_after_create = cmcore_after_create  # type: ignore[attr-defined]
    plugin(module)
    Leaf.create(name="x")
    assert [change.new["name"] for change in told] == ["x"]
    assert info("my_plugin").status == "active"


def misfit(name: str, function: Callable[..., Any]) -> Any:
    """Return a plugin with one hook of the given name."""
    return type("Misfit", (), {name: cmcore.hookimpl(function)})()


async def asynchronous(self: Any, changes: Any) -> None:
    """Be of no use as a hook."""


async def async_generator(self: Any, changes: Any) -> Any:
    """Be of even less use."""
    yield changes


MISFITS: dict[str, tuple[Callable[[], Any], str]] = {
    "class": (lambda: Counting, "Register an instance"),
    "async": (lambda: misfit("cmcore_after_create", asynchronous), "async"),
    "async generator": (
        lambda: misfit("cmcore_after_create", async_generator),
        "async",
    ),
    "unknown hook": (
        lambda: misfit("cmcore_after_creation", lambda self, changes: None),
        "cmcore_after_creation",
    ),
    "unknown argument": (
        lambda: misfit("cmcore_after_create", lambda self, changes, request: None),
        "request",
    ),
    "no hooks": (object, "no hook"),
    "none": (lambda: None, "None"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_misfit_is_refused_whole(name: str) -> None:
    """What cannot work raises `PluginError` with its reason, and is not registered."""
    make, reason = MISFITS[name]
    before = cmcore.plugins.list()
    with pytest.raises(cmcore.PluginError) as caught:
        cmcore.plugins.register(make(), name="misfit")
    assert reason in str(caught.value)
    assert "misfit" in str(caught.value)
    assert cmcore.plugins.list() == before


def test_a_taken_name_is_refused(plugin: Register) -> None:
    """One name, or one object, registers once; a refused one replaces nothing."""
    first = plugin(Counting(), "mine")
    for again, name in ((Counting(), "mine"), (first, "other"), (Counting(), "audit")):
        with pytest.raises(cmcore.PluginError, match="registered already"):
            cmcore.plugins.register(again, name=name)
    assert [i.name for i in cmcore.plugins.list()] == ["audit", "mine"]


def test_a_plugin_may_take_fewer_arguments(
    db: peewee.Database, plugin: Register
) -> None:
    """A hook without parameters is called all the same."""
    called: list[int] = []
    plugin(misfit("cmcore_after_create", lambda self: called.append(1)))
    Leaf.create()
    assert called == [1]


def test_a_blocked_plugin_is_not_called(db: peewee.Database, plugin: Register) -> None:
    """Blocking stops the calls and shows in the list; unblocking starts them again."""
    counting = plugin(Counting(), "mine")
    cmcore.plugins.block("mine")
    Leaf.create()
    assert (counting.calls, info("mine").status) == ([], "blocked")
    cmcore.plugins.unblock("mine")
    Leaf.create()
    assert (len(counting.calls), info("mine").status) == (2, "active")


def test_a_plugin_can_be_blocked_before_it_comes(
    db: peewee.Database, plugin: Register
) -> None:
    """A name that is blocked first stays so when its plugin registers."""
    cmcore.plugins.block("later")
    counting = plugin(Counting(), "later")
    Leaf.create()
    assert (counting.calls, info("later").status) == ([], "blocked")


def test_a_misfit_that_is_blocked_is_refused_too() -> None:
    """A block is no way around the rules for plugins."""
    cmcore.plugins.block("misfit")
    with pytest.raises(cmcore.PluginError):
        cmcore.plugins.register(MISFITS["unknown hook"][0](), name="misfit")
    cmcore.plugins.unblock("misfit")
    assert info("misfit") is None


def test_blocking_audit_stops_audit_rows_and_nothing_else(
    db: peewee.Database, plugin: Register
) -> None:
    """Without the audit writer writes and other plugins go on, and no entry is made."""
    counting = plugin(Counting())
    cmcore.plugins.block("audit")
    Leaf.create()
    assert len(counting.calls) == 2
    assert AuditLog.select().count() == 0
    cmcore.plugins.unblock("audit")
    Leaf.create()
    assert AuditLog.select().count() == 1


def test_nobody_listens_where_nobody_is(plugin: Register) -> None:
    """The cache of listeners is renewed by every change of the registry."""
    assert not dispatch.listeners().plugged
    plugin(Counting(), "mine")
    assert dispatch.listeners().plugged
    assert dispatch.listeners().warned
    cmcore.plugins.block("mine")
    assert not dispatch.listeners().plugged
    cmcore.plugins.unregister("mine")
    assert not dispatch.listeners().warned


def test_redact_masks_what_a_plugin_names(
    db: peewee.Database, plugin: Register
) -> None:
    """Named fields are masked in the entry, NULL stays NULL, other names do nothing."""
    answers = {"value": {"pin", "nonsense"}}
    plugin(misfit("cmcore_redact", lambda self, change: answers["value"]))
    plugin(misfit("cmcore_redact", lambda self: None), "another")
    leaf = Leaf.create(name="x", pin="1234")
    Leaf.update(pin=None).execute()
    answers["value"] = {"name"}
    Leaf.update(pin="99", name="y").execute()
    third, second, first = leaf.history()
    assert first.new_values == {"id": leaf.id, "name": "x", "pin": "***"}
    assert (second.old_values, second.new_values) == ({"pin": "***"}, {"pin": None})
    assert third.new_values == {"name": "***", "pin": "99"}


@pytest.mark.parametrize("hook", ["before_create", "after_create", "redact"])
def test_a_raising_hook_leaves_nothing(
    db: peewee.Database, plugin: Register, hook: str
) -> None:
    """Neither row nor entry, also for a caller who catches the error."""

    def refuse(self: Any) -> None:
        raise cmcore.Veto(REASON)

    plugin(misfit(f"cmcore_{hook}", refuse))
    with pytest.raises(cmcore.Veto, match=REASON):
        Leaf.create(name="x")
    with db.atomic():
        Leaf._meta.database.execute_sql("INSERT INTO hook_leaves (name) VALUES ('raw')")
        with pytest.raises(cmcore.Veto):
            Leaf.insert_many([{"name": "y"}, {"name": "z"}]).execute()
    assert [leaf.name for leaf in Leaf.select()] == ["raw"]
    assert AuditLog.select().count() == 0


def test_a_redact_answer_that_is_no_list_of_names_fails_closed(
    db: peewee.Database, plugin: Register
) -> None:
    """A plugin that answers nonsense cannot let a secret through."""
    plugin(misfit("cmcore_redact", lambda self: 5))
    with pytest.raises(TypeError):
        Leaf.create(pin="1234")
    assert (Leaf.select().count(), AuditLog.select().count()) == (0, 0)


def test_a_redact_answer_of_one_name_as_text_masks_that_field(
    db: peewee.Database, plugin: Register
) -> None:
    """A bare text is one name, not a list of letters that masks nothing."""
    plugin(misfit("cmcore_redact", lambda self: "pin"))
    leaf = Leaf.create(pin="1234")
    assert leaf.history().get().new_values["pin"] == "***"
