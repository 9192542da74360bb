"""`new-migration` on the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run

MODELS = """
import peewee

class Base(peewee.Model):
    pass

class Ticket(Base):
    title = peewee.CharField()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a module of models."""
    (tmp_path / "desk_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("desk_models", None)


def test_it_prints_the_path_and_says_what_it_left_out(run: Run, folder: Path) -> None:
    """The path is data, the rest is talk; no database is needed."""
    result = run("new-migration", "create_desk", "--models", "desk_models")
    assert result.exit_code == 0
    assert result.stdout == str(Path("migrations/001_create_desk.py")) + "\n"
    assert result.stderr == "Left out Base: others derive from it.\n"
    assert 'TABLES = ["ticket"]' in (folder / result.stdout.strip()).read_text()


def test_the_folder_can_be_named(run: Run, folder: Path) -> None:
    """It is made if it does not exist."""
    options = ("--models", "desk_models", "--directory", "db/scripts")
    assert run("new-migration", "create_desk", *options).exit_code == 0
    assert (folder / "db" / "scripts" / "001_create_desk.py").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create_desk", "--models", "nowhere"), "no module 'nowhere'"),
        (("create_desk", "--models", "cmcore.models"), "cmcore's own scripts"),
        (("create_desk",), "--models"),
        (("1", "--models", "desk_models"), "cannot be the name"),
    ],
)
def test_mistakes_are_said_and_end_with_2(
    run: Run, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    """One sentence, and nothing is written."""
    result = run("new-migration", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (folder / "migrations").exists()
