"""Write a script that creates the tables of an application's models.

The script holds the SQL that peewee would send for them, for both engines, so that it
needs neither the application's code nor cmcore's when it runs.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmcore.engines.internals import internal
from cmcore.engines.rendering import Statements, render
from cmcore.errors import ConfigurationError
from cmcore.schema.application import models_of
from cmcore.schema.history import migrations_path
from cmcore.schema.new_script_text import script_text

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SCRIPT = re.compile(r"\d{3}_[^.]+\.py")


class NewScript(NamedTuple):
    """A script that was written.

    Attributes:
        path: Its file.
        tables: The tables that it creates, in their order.
        left_out: Models of the module that it does not create, and why not.
    """

    path: Path
    tables: tuple[str, ...]
    left_out: tuple[str, ...]


def write_script(name: str, module: str, directory: Path) -> NewScript:
    """Write the next script of a folder, which creates the models' tables.

    Tables that an earlier script of this kind creates are left out, and so are models
    from which others of the module derive.

    Args:
        name: What follows the number in the name of the script.
        module: The dotted name of the module that has the models.
        directory: The folder, made if it does not exist.

    Raises:
        ConfigurationError: A name that is taken or no name, a module that cannot be
            imported or has no new models, cmcore's own models or folder. Nothing was
            written.
    """
    earlier = _earlier_scripts(name, directory)
    known = {t: path.stem for path in earlier for t in _tables_of(path)}
    found = _models(module)
    left_out = [f"{m.__name__}: others derive from it" for m in _bases(found)]
    left_out += [
        f"{m.__name__}: {known[_table(m)]} creates {_table(m)}"
        for m in found
        if _table(m) in known
    ]
    models = [m for m in found if m not in _bases(found) and _table(m) not in known]
    if not models:
        why = f" Left out: {'; '.join(left_out)}." if left_out else ""
        msg = f"{module} has no model whose table has to be created.{why}"
        raise ConfigurationError(msg)
    ordered = internal.sort_models(models)
    number = max((int(path.name[:3]) for path in earlier), default=0) + 1
    path = directory / f"{number:03}_{name}.py"
    text = script_text(ordered, *_rendered(ordered))
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return NewScript(path, tuple(map(_table, ordered)), tuple(left_out))


def _earlier_scripts(name: str, directory: Path) -> list[Path]:
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot be the name of a script. Use lower-case words without a "
            "number in front, like create_orders."
        )
        raise ConfigurationError(msg)
    ours = [migrations_path(), migrations_path(trail_only=True)]
    if directory.resolve() in [path.resolve() for path in ours]:
        msg = (
            f"{directory} is cmcore's own folder. Name the application's with "
            "--directory."
        )
        raise ConfigurationError(msg)
    files = sorted(directory.iterdir()) if directory.is_dir() else []
    earlier = [path for path in files if _SCRIPT.fullmatch(path.name)]
    taken = [p.name for p in earlier if p.stem.partition("_")[2] == name]
    if taken:
        msg = f"{directory / taken[0]} has that name already. Choose another."
        raise ConfigurationError(msg)
    return earlier


def _tables_of(path: Path) -> Iterator[str]:
    """Yield the tables that a script says it creates."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TABLES":
            yield from ast.literal_eval(node.value)


def _models(module: str) -> list[Any]:
    if module.partition(".")[0] == "cmcore":
        msg = (
            f"The tables of {module} are made by cmcore's own scripts: run `cmcore "
            "migrate`. Name a module of the application."
        )
        raise ConfigurationError(msg)
    return models_of(module)


def _bases(models: Sequence[Any]) -> list[Any]:
    """Return the models from which others derive."""
    return [
        model
        for model in models
        if any(other is not model and issubclass(other, model) for other in models)
    ]


def _table(model: Any) -> str:
    return str(model._meta.table_name)


def _rendered(models: Iterable[Any]) -> tuple[Statements, Statements]:
    """Return what creates and drops the tables on SQLite, and on PostgreSQL."""
    listed = list(models)
    return render(listed, sqlite=True), render(listed, sqlite=False)
