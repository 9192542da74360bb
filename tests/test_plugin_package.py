"""The plugin package of docs/hooks.md, built and installed as its author would."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "hooks.md"

# What an application sees of an installed plugin.
APPLICATION = """
import json
import peewee
import cmcore

class Thing(cmcore.Model):
    name = peewee.CharField()

db = cmcore.connect(":memory:")
cmcore.migrate(db)
db.create_tables([Thing])
Thing.insert_many([{"name": "x"}] * 1001).execute()
try:
    Thing.delete().execute()
except cmcore.Veto as veto:
    print(json.dumps([str(veto), cmcore.__file__, Thing.select().count()]))
"""


def files_of_the_page() -> dict[str, str]:
    """Return the files that the page shows, by name."""
    shown = re.findall(
        r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return dict(shown)


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command elsewhere than in the source tree."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheels of cmcore and of the plugin, made offline.

    What they require is taken from the environment of the tests.
    """
    folder = tmp_path_factory.mktemp("author")
    plugin = folder / "acme-rules"
    plugin.mkdir()
    for name, text in files_of_the_page().items():
        (plugin / name).write_text(text, encoding="utf-8")
    project = folder / "cmcore"
    shutil.copytree(
        ROOT, project, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info")
    )
    for source in (project, plugin):
        built = run(
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--wheel-dir", folder, source),
            folder=folder,
        )
        assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    installed = run(
        *(python, "-m", "pip", "install", "--no-deps", "--no-index"),
        *folder.glob("*.whl"),
        folder=folder,
    )
    assert installed.returncode == 0, installed.stderr
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    here = Path(pytest.__file__).parents[1]
    link_distributions(here, site)
    return python


def link_distributions(here: Path, site: Path) -> None:
    """Make everything but cmcore of one environment part of another one."""
    for path in here.iterdir():
        is_ours = path.name.lower().startswith(("cmcore", "__editable__"))
        if not is_ours and path.suffix != ".pth" and not (site / path.name).exists():
            (site / path.name).symlink_to(path)


@pytest.mark.slow
def test_the_installed_plugin_works(python: Path, tmp_path: Path) -> None:
    """A program that never heard of it is refused what it refuses."""
    done = run(python, "-W", "error", "-c", APPLICATION, folder=tmp_path)
    assert done.stderr == ""
    veto, place, count = json.loads(done.stdout)
    assert (veto, count) == ("Delete at most 1000 rows at once.", 1001)
    assert Path(place).is_relative_to(python.parents[1])


@pytest.mark.slow
def test_the_installed_plugin_is_listed(python: Path, tmp_path: Path) -> None:
    """The command of that environment shows its name, version, status and hooks."""
    done = run(python.with_name("cmcore"), "plugins", "--json", folder=tmp_path)
    listed = {info["name"]: info for info in json.loads(done.stdout)}
    assert done.returncode == 0
    assert listed["acme"] == {
        "name": "acme",
        "version": "1.0",
        "status": "active",
        "error": None,
        "hooks": ["cmcore_before_delete"],
    }


@pytest.mark.slow
def test_the_test_of_the_page_passes(python: Path, tmp_path: Path) -> None:
    """The author's own test runs in that environment, and fails without the veto."""
    name = "test_acme_rules.py"
    text = files_of_the_page()[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(python, "-m", "pytest", "-q", tmp_path / name, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "acme_rules.py").write_text(
        files_of_the_page()["acme_rules.py"].replace("> 1000", "> 5000"),
        encoding="utf-8",
    )
    done = run(python, "-m", "pytest", "-q", tmp_path / name, folder=tmp_path)
    assert done.returncode == 1
