"""The shape of the package: layers, names, sizes, and an import that does nothing."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import cmcore

PACKAGE = Path(cmcore.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "errors": 0,
    "context": 0,
    "changes": 0,
    "generators": 0,
    "keys": 0,
    "moments": 0,
    "encodings": 1,
    "values": 1,
    "fields": 1,
    "layout": 1,
    "raw_json": 1,
    "engines": 1,
    "schema": 1,
    "hooks": 2,
    "models": 3,
    "audit": 4,
    "entries": 4,
    "database": 4,
    "migrations": 4,
    "trail_migrations": 4,
    "runner": 4,
    "accounts": 5,
    "checkup": 5,
    "partitions": 5,
    "retention": 5,
    "testing": 5,
    "trail": 5,
    "cli": 6,
    "__main__": 6,
}

BANNED_NAMES = {"utils", "helpers", "common", "misc", "core", "manager"}

# Files that may import inside a function: the table of public names, and whatever
# needs an optional extra.
LATE_IMPORTS = {"__init__.py", "accounts/seeds.py"}

# Where one engine may be told from the other.
ENGINE_FOLDERS = {"engines", "schema"}
ENGINE_WORD = re.compile(r"sqlite|postgres|psycopg", re.IGNORECASE)

# Writes one line of JSON: what an import of cmcore loads, and which files it opens.
IMPORT_PROBE = """
import json, sys
opened = []
def watch(event, args):
    if event == "open":
        opened.append(str(args[0]))
    elif event.startswith(("socket.", "sqlite3.", "subprocess.")):
        opened.append(event)
before = set(sys.modules)
sys.addaudithook(watch)
import cmcore
loaded = sorted(set(sys.modules) - before)
files = [f for f in opened if not f.endswith((".py", ".pyc"))]
print(json.dumps([loaded, files]))
"""


def name_of(path: Path) -> str:
    """Return the path inside the package, with slashes."""
    return path.relative_to(PACKAGE).as_posix()


def part_of(path: Path) -> str:
    """Return the top-level file or folder that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """Return the dotted name under which a file is imported."""
    dotted = ".".join(path.with_suffix("").relative_to(PACKAGE.parent).parts)
    return dotted.removesuffix(".__init__")


def tree_of(path: Path) -> ast.Module:
    """Parse a file of the package."""
    return ast.parse(path.read_text(encoding="utf-8"))


def run_time_tree(path: Path) -> ast.Module:
    """Parse a file without its blocks `if TYPE_CHECKING`."""
    tree = tree_of(path)
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def own_imports(tree: ast.AST) -> Iterator[str]:
    """Yield each module of cmcore that a tree imports, in dotted form."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "cmcore")
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] != "cmcore":
                continue
            for alias in node.names:
                yield submodule(node.module, alias.name)


def submodule(module: str, name: str) -> str:
    """Return the module that `from module import name` reads."""
    path = PACKAGE.joinpath(*module.split(".")[1:], name)
    is_module = path.is_dir() or path.with_suffix(".py").exists()
    return f"{module}.{name}" if is_module else module


files = pytest.mark.parametrize("path", FILES, ids=name_of)


def test_the_package_is_found() -> None:
    """The tests below look at real files."""
    assert len(FILES) > 10


@files
def test_every_part_has_a_layer(path: Path) -> None:
    """A new file or folder at the top is given its place in LAYERS."""
    assert part_of(path) in LAYERS.keys() | {"__init__"}


@files
def test_imports_point_downwards(path: Path) -> None:
    """A file imports its own folder and its own or lower layers, never upwards."""
    if part_of(path) == "__init__":
        return
    layer = LAYERS[part_of(path)]
    upwards = [
        name
        for name in own_imports(tree_of(path))
        if name != "cmcore" and LAYERS[name.split(".")[1]] > layer
    ]
    assert upwards == []


@files
def test_nothing_imports_the_package_itself(path: Path) -> None:
    """No file says `import cmcore` or takes a public name from the top."""
    assert "cmcore" not in set(own_imports(tree_of(path)))


def test_there_is_no_import_cycle() -> None:
    """The modules can be put in a line in which each imports earlier ones only.

    What is imported for type checkers does not count: nothing runs it.
    """
    graph = {
        module_of(path): set(own_imports(run_time_tree(path)))
        for path in FILES
        if name_of(path) != "__init__.py"
    }
    TopologicalSorter(graph).prepare()


@files
def test_no_import_stands_inside_a_function(path: Path) -> None:
    """Imports are at the top of the file, a few named files aside."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    late = [
        f"line {inner.lineno}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, functions)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert late == [] or name_of(path) in LATE_IMPORTS


@files
def test_no_file_is_long(path: Path) -> None:
    """A file above 350 lines has two ideas in it."""
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 350


@files
def test_no_module_is_a_drawer(path: Path) -> None:
    """Modules are nouns of the domain; the manager of hooks is pluggy's word."""
    assert path.stem not in BANNED_NAMES or name_of(path) == "hooks/manager.py"
    assert not BANNED_NAMES & set(path.relative_to(PACKAGE).parts)


@pytest.mark.parametrize(
    ("folder", "count"), [("migrations", 7), ("trail_migrations", 1)]
)
def test_migrations_are_numbered_without_gaps(folder: str, count: int) -> None:
    """Scripts are named 001_verb_noun.py and so on, and no number is missing."""
    names = sorted(p.name for p in (PACKAGE / folder).glob("[0-9]*"))
    assert [int(name[:3]) for name in names] == list(range(1, len(names) + 1))
    assert [n for n in names if not re.fullmatch(r"\d{3}_[a-z0-9_]+\.py", n)] == []
    assert len(names) >= count


def test_migrations_are_ascii() -> None:
    """The stock runner reads scripts in the locale's encoding, whatever that is."""
    scripts = sorted(PACKAGE.glob("*migrations/*.py"))
    assert [p.name for p in scripts if not p.read_bytes().isascii()] == []


def test_no_module_hides_a_public_function() -> None:
    """A module named like a public function would replace it once it is loaded."""
    modules = {p.stem for p in PACKAGE.glob("*.py")} | {
        p.name for p in PACKAGE.iterdir() if p.is_dir()
    }
    public = {n for n in cmcore.__all__ if callable(getattr(cmcore, n))}
    assert modules & public == set()


def test_the_public_names_are_sorted() -> None:
    """`__all__` is sorted, without repetition, and agrees with `dir()`."""
    assert list(cmcore.__all__) == sorted(set(cmcore.__all__))
    assert set(cmcore.__all__) <= set(dir(cmcore))


@pytest.mark.parametrize("name", cmcore.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    """What can be imported says what it is for."""
    value: Any = getattr(cmcore, name)
    if isinstance(value, str):
        return
    assert (value.__doc__ or "").strip()
    if isinstance(value, type):
        assert value.__dict__.get("__doc__"), "inherited, not its own"


@files
def test_engines_are_told_apart_in_one_place(path: Path) -> None:
    """Outside engines/ and schema/ the names of the engines are only text."""
    if part_of(path) in ENGINE_FOLDERS:
        return
    assert list(engine_words(tree_of(path))) == []


def engine_words(tree: ast.AST) -> Iterator[str]:
    """Yield each use of an engine's name as code: identifiers, and compared texts."""
    for node in ast.walk(tree):
        for word in words_of(node):
            if ENGINE_WORD.search(word):
                yield f"line {getattr(node, 'lineno', '?')}: {word}"


def words_of(node: ast.AST) -> Iterator[str]:
    """Yield the identifiers of one node, and the texts that it compares with."""
    for field in ("id", "attr", "arg", "name", "asname"):
        word = getattr(node, field, None)
        if isinstance(word, str):
            yield word
    if isinstance(node, ast.Compare):
        for side in (node.left, *node.comparators):
            for part in ast.walk(side):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def test_the_search_for_engine_words_finds_them() -> None:
    """The rule above sees names, attributes, arguments and comparisons, not text."""
    found = sorted(
        engine_words(
            ast.parse(
                '"sqlite is text"\n'
                "print('sqlite:///crm.db')\n"
                "isinstance(db, SqliteDatabase)\n"
                "peewee.PostgresqlDatabase\n"
                "scheme == 'sqlite'\n"
                "scheme in ('postgresql', 'x')\n"
                "def is_sqlite(): ...\n"
            )
        )
    )
    assert [line.split(":")[0] for line in found] == [
        "line 3",
        "line 4",
        "line 5",
        "line 6",
        "line 7",
    ]


def test_importing_cmcore_loads_and_opens_nothing() -> None:
    """`import cmcore` loads the standard library at most, and opens no file."""
    probe = subprocess.run(
        [sys.executable, "-c", IMPORT_PROBE], check=True, capture_output=True, text=True
    )
    loaded, files_opened = json.loads(probe.stdout)
    foreign = {m.split(".")[0] for m in loaded} - set(sys.stdlib_module_names)
    assert foreign == {"cmcore"}
    assert [m for m in loaded if m.startswith("cmcore.")] == []
    assert "importlib.metadata" not in loaded
    assert files_opened == []
