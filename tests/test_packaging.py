"""What is declared in setup.cfg is what the package needs and what is shipped."""

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import cmcore

ROOT = Path(__file__).parents[1]
PACKAGE = Path(cmcore.__file__).parent

# Where the name of the distribution differs from that of the module.
DISTRIBUTIONS = {
    "peewee_migrate": "peewee-migrate",
    "playhouse": "peewee",
    "argon2": "argon2-cffi",
    "psycopg2": "psycopg2-binary",
    "uuid_utils": "uuid-utils",
}


def setup() -> configparser.ConfigParser:
    """Read setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def declared() -> set[str]:
    """Return the names of the distributions that cmcore or its extra requires."""
    options = setup()
    needed = options["options"]["install_requires"]
    lines = (needed + options["options.extras_require"]["accounts"]).split("\n")
    return {re.split(r"[ <>=;\[]", line)[0] for line in lines if line}


def imported() -> set[str]:
    """Return the distributions that the package imports at the top of its files."""
    modules = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    foreign = modules - set(sys.stdlib_module_names) - {"cmcore"}
    return {DISTRIBUTIONS.get(name, name) for name in foreign}


def test_everything_imported_is_required() -> None:
    """A module of another distribution is only imported if setup.cfg asks for it."""
    assert imported() - declared() == set()


def test_the_version_is_the_installed_one() -> None:
    """`cmcore.__version__`, the metadata and the command agree."""
    command = subprocess.run(
        [sys.executable, "-m", "cmcore", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert importlib.metadata.version("cmcore") == cmcore.__version__
    assert command.stdout.split()[-1] == cmcore.__version__


def test_the_command_is_declared() -> None:
    """The console script `cmcore` calls the command line's main function."""
    scripts = importlib.metadata.entry_points(group="console_scripts", name="cmcore")
    assert [s.value for s in scripts] == ["cmcore.cli:main"]
    assert all(callable(s.load()) for s in scripts)


def test_types_and_migrations_are_installed() -> None:
    """The marker for type checkers and the scripts for pw_migrate are in place."""
    assert (PACKAGE / "py.typed").exists()
    assert len(list(PACKAGE.glob("migrations/[0-9][0-9][0-9]_*.py"))) >= 6
    assert (PACKAGE / "migrations" / "conf.py").exists()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source archive of this tree and the wheel that it builds."""
    folder = tmp_path_factory.mktemp("archives")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(archives: Path) -> None:
    """The wheel, built from the source archive, has every file of the package."""
    (wheel,) = archives.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {n for n in names if ".dist-info/" not in n}
    ours = [*PACKAGE.rglob("*.py"), PACKAGE / "py.typed"]
    assert shipped == {p.relative_to(PACKAGE.parent).as_posix() for p in ours}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_source_archive_holds_tests_and_documents(archives: Path) -> None:
    """Who unpacks the source archive can run the tests and the examples."""
    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    expected = {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "setup.cfg"}
    assert expected <= names
    for folder in ("tests", "examples", "docs"):
        ours = {
            p.relative_to(ROOT).as_posix()
            for p in (ROOT / folder).rglob("*")
            if p.is_file() and p.suffix in {".py", ".md", ".csv"}
        }
        assert ours <= names
