"""Plugins of other distributions: found, isolated, listed, blocked."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cmcore
from cmcore.hooks.manager import PluginInfo, Plugins
from tests.distributions import BROKEN, GOOD, install, run_with

# Fails if anything looks for distributions; tells whether the plugin was imported.
IMPORT_PROBE = """
import json, sys
import importlib.metadata
def refuse(*args, **kwargs):
    raise AssertionError("scanned")
importlib.metadata.distributions = importlib.metadata.entry_points = refuse
import cmcore
import cmcore.cli
cmcore.hookimpl, cmcore.Model, cmcore.plugins.list()
print(json.dumps([m for m in sys.modules if m == "good"]))
"""

# Connects, writes, and says what was told to the plugin, and what is listed.
USE = """
import json
import peewee
import cmcore

class Thing(cmcore.Model):
    name = peewee.TextField()

db = cmcore.connect(":memory:", plugins={plugins})
cmcore.migrate(db)
db.create_tables([Thing])
Thing.create(name="x")
import good
print(json.dumps([len(good.told), [vars(i) for i in cmcore.plugins.list()]]))
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for distributions; what it brought is forgotten."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def loaded() -> Plugins:
    """Return a registry of its own that has looked for plugins."""
    registry = Plugins()
    registry.load_installed()
    return registry


def listed(registry: Plugins) -> dict[str, PluginInfo]:
    """Return the list without what is built in, by name."""
    return {info.name: info for info in registry.list() if info.name != "audit"}


def test_an_installed_plugin_is_listed_with_its_version(site: Path) -> None:
    """Its name is its entry point's, and its version its distribution's."""
    install(site, "acme-audit", {"good": GOOD}, {"acme": "good"})
    assert listed(loaded()) == {
        "acme": PluginInfo("acme", "1.5", "active", None, ("cmcore_after_create",))
    }


def test_an_entry_point_may_name_an_object(site: Path) -> None:
    """A module may hold several plugins, as instances of classes."""
    source = (
        "import cmcore\n\n\nclass Plugin:\n    @cmcore.hookimpl\n"
        "    def cmcore_redact(self):\n        pass\n\n\n"
        "one, two = Plugin(), Plugin()\n"
    )
    install(site, "pair", {"pair": source}, {"one": "pair:one", "two": "pair:two"})
    statuses = {name: info.status for name, info in listed(loaded()).items()}
    assert statuses == {"one": "active", "two": "active"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_listed_and_the_others_go_on(
    site: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its line has distribution, version, reason and cure; the log has its name."""
    source, reason = BROKEN[name]
    install(site, "acme-broken", {name: source})
    install(site, "a-good", {"good": GOOD})
    install(site, "z-good", {"better": GOOD})
    registry = loaded()
    found = listed(registry)
    error = found[name].error or ""
    assert (found[name].status, found[name].version) == ("error", "1.5")
    assert error.startswith("acme-broken 1.5: ")
    assert reason in error
    assert error.endswith(
        "Fix or upgrade acme-broken, uninstall it, or call "
        f"cmcore.plugins.block('{name}') before connecting."
    )
    assert {found["good"].status, found["better"].status} == {"active"}
    assert not registry.pluggy.has_plugin(name)
    assert any(repr(name) in message for message in caplog.messages)


def test_a_class_is_listed_as_an_error(site: Path) -> None:
    """An entry point that names a class instead of an instance says so."""
    source = f"import cmcore\n\n\nclass Plugin:\n{_indented(GOOD)}\n"
    install(site, "acme", {"classy": source}, {"classy": "classy:Plugin"})
    found = listed(loaded())["classy"]
    assert found.status == "error"
    assert "classy:Plugin is a class; name an instance in the entry point." in str(
        found.error
    )


def _indented(source: str) -> str:
    lines = [line for line in source.splitlines() if not line.startswith("import")]
    return "\n".join(f"    {line}" for line in lines)


def test_an_attribute_that_is_not_there_is_an_error(site: Path) -> None:
    """An entry point that names nothing is listed with what is missing."""
    install(site, "acme", {"good": GOOD}, {"lost": "good:Nothing"})
    found = listed(loaded())["lost"]
    assert found.status == "error"
    assert "Nothing" in (found.error or "")


def test_a_taken_name_is_listed_beside_who_has_it(site: Path) -> None:
    """Of two plugins with one name the first is used, the other one is an error."""
    install(site, "acme", {"first": GOOD}, {"same": "first"})
    install(site, "bolt", {"second": GOOD}, {"same": "second"})
    install(site, "cogs", {"third": GOOD}, {"audit": "third"})
    registry = loaded()
    lines = [(i.name, i.status, i.error) for i in registry.list()]
    assert [line[:2] for line in lines] == [
        ("audit", "active"),
        ("audit", "error"),
        ("same", "active"),
        ("same", "error"),
    ]
    taken = "PluginError: The name {!r} is taken by another plugin."
    cure = "Rename it in its entry point."
    assert lines[1][2] == f"cogs 1.5: {taken.format('audit')} {cure}"
    assert lines[3][2] == f"bolt 1.5: {taken.format('same')} {cure}"
    assert {"second", "third"} & set(sys.modules) == set()


def test_a_distribution_without_metadata_does_no_harm(site: Path) -> None:
    """What is half installed is listed without a version."""
    install(site, "torn", {"good": GOOD})
    (site / "torn-1.5.dist-info" / "METADATA").unlink()
    assert listed(loaded())["good"].status == "active"


@pytest.mark.parametrize("order", [["acme", "bolt", "cogs"], ["cogs", "bolt", "acme"]])
def test_the_order_of_loading_is_not_that_of_installing(
    site: Path, monkeypatch: pytest.MonkeyPatch, order: list[str]
) -> None:
    """Plugins load sorted by distribution and name, wherever they lie on the path."""
    for name in order:
        monkeypatch.syspath_prepend(site / name)
        install(site / name, name, {f"{name}_x": GOOD, f"{name}_b": GOOD})
    registry = loaded()
    names = [name for name, _ in registry.pluggy.list_name_plugin()]
    assert names == [
        "audit",
        *("acme_b", "acme_x", "bolt_b", "bolt_x", "cogs_b", "cogs_x"),
    ]


def test_a_blocked_plugin_is_not_even_imported(site: Path) -> None:
    """Blocked before loading, it is listed as blocked; unblocked, it is loaded."""
    install(site, "acme", {"good": GOOD})
    registry = Plugins()
    registry.block("good")
    registry.load_installed()
    assert listed(registry)["good"] == PluginInfo("good", "1.5", "blocked", None, ())
    assert "good" not in sys.modules
    registry.unblock("good")
    assert listed(registry)["good"].status == "active"
    assert "good" in sys.modules


def test_unblocking_tries_a_broken_plugin_again(site: Path) -> None:
    """A plugin that was mended meanwhile becomes active."""
    install(site, "acme", {"mended": BROKEN["no_import"][0]})
    registry = loaded()
    registry.block("mended")
    assert listed(registry)["mended"].status == "blocked"
    (site / "mended.py").write_text(GOOD + "\n# mended\n", encoding="utf-8")
    registry.unblock("mended")
    assert listed(registry)["mended"].status == "active"
    assert listed(registry)["mended"].error is None


def test_plugins_are_looked_for_once(site: Path) -> None:
    """A distribution that comes later waits for the next process."""
    registry = loaded()
    install(site, "acme", {"good": GOOD})
    registry.load_installed()
    assert listed(registry) == {}


def test_importing_scans_and_loads_nothing(site: Path) -> None:
    """`import cmcore`, its models and its command line look for no distribution."""
    install(site, "acme", {"good": GOOD})
    assert json.loads(run_with(site, "-c", IMPORT_PROBE).stdout) == []


@pytest.mark.parametrize(("is_asked", "told"), [(True, 1), (False, 0)])
def test_connecting_loads_installed_plugins(
    site: Path, is_asked: bool, told: int
) -> None:
    """They are called from `connect` on, unless it says `plugins=False`."""
    install(site, "acme", {"good": GOOD})
    done = run_with(site, "-c", USE.format(plugins=is_asked))
    count, found = json.loads(done.stdout)
    assert count == told
    assert [info["name"] for info in found] == ["audit", "good"][: 1 + told]


def test_a_broken_plugin_never_stops_the_application(site: Path) -> None:
    """With every kind of broken plugin installed, the good one is still called."""
    install(site, "acme", {"good": GOOD})
    install(site, "broken", {name: source for name, (source, _) in BROKEN.items()})
    count, found = json.loads(run_with(site, "-c", USE.format(plugins=True)).stdout)
    statuses = {info["name"]: info["status"] for info in found}
    assert count == 1
    assert statuses == {
        "audit": "active",
        "good": "active",
        **dict.fromkeys(BROKEN, "error"),
    }


def test_a_plugin_that_breaks_later_is_listed() -> None:
    """`mark_broken` stops the calls and lists the error with a cure; unblock mends."""

    class Late:
        @cmcore.hookimpl
        def cmcore_redact(self) -> None: ...

    registry = Plugins()
    registry.register(Late(), "late")
    registry.mark_broken("late", ValueError("no"))
    assert listed(registry)["late"] == PluginInfo(
        "late",
        None,
        "error",
        "ValueError: no. Fix it, or call cmcore.plugins.block('late').",
        ("cmcore_redact",),
    )
    assert not registry.pluggy.has_plugin("late")
    registry.block("late")
    registry.unblock("late")
    assert listed(registry)["late"].status == "active"
    assert listed(registry)["late"].error is None


@pytest.mark.parametrize(
    "url",
    ["postgresql://ada:s3cret@host/crm", "https://host/?password=s3cret&x=1"],
)
def test_a_secret_in_what_a_plugin_raises_is_masked(
    site: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """Neither the list nor the log shows it; the traceback would quote the source."""
    source = (
        f"def connect(url):\n    raise OSError('no way to ' + url)\nconnect({url!r})"
    )
    install(site, "acme", {"leaky": source})
    registry = loaded()
    error = str(listed(registry)["leaky"].error)
    registry.mark_broken("leaky", ValueError(f"still no {url}"))
    told = [error, str(listed(registry)["leaky"].error), caplog.text]
    assert all("host" in text and "s3cret" not in text for text in told)


def test_a_traceback_without_a_secret_is_logged(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever mends the plugin needs to know where it fails."""
    install(site, "acme", {"leaky": "raise OSError('https://host/ is down')"})
    loaded()
    assert "Traceback" in caplog.text
    assert "https://host/ is down" in caplog.text
