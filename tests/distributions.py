"""Distributions made by hand: plugins that are found as installed ones are."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

GOOD = """
import cmcore

told = []


@cmcore.hookimpl
def cmcore_after_create(changes):
    told.extend(changes)
"""
"""A plugin in one module that gathers what is created."""

BROKEN = {
    "no_import": ("import no_such_module", "ModuleNotFoundError"),
    "no_syntax": ("def", "SyntaxError"),
    "leaves": ("raise SystemExit('bye')", "SystemExit: bye"),
    "no_hook": ("x = 1", "has no hook"),
    "unknown_hook": (
        GOOD.replace("after_create", "after_creation"),
        "There is no hook 'cmcore_after_creation'. Did you mean cmcore_after_create?",
    ),
    "unknown_argument": (
        GOOD.replace("changes", "request"),
        "cmcore_after_create has an argument 'request'; it may have: changes.",
    ),
    "asynchronous": (GOOD.replace("def ", "async def "), "async"),
    "unmarked": (
        f"{GOOD}\n\ndef cmcore_before_create(changes):\n    pass\n",
        "cmcore_before_create lacks its mark",
    ),
}
"""Modules that cannot be used, by name, with a part of what is said about them."""


def install(
    folder: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, str] | None = None,
) -> None:
    """Put a distribution, version 1.5, into a folder that is on the path.

    Args:
        folder: Made if it is not there.
        name: Of the distribution.
        modules: Name to source.
        entry_points: Name to object reference; by default each module under its name.
    """
    info = folder / f"{name.replace('-', '_')}-1.5.dist-info"
    info.mkdir(parents=True)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    points = entry_points or {module: module for module in modules}
    lines = ["[cmcore]", *(f"{k} = {v}" for k, v in points.items())]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5")
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def run_with(
    folder: Path, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process to which the folder's distributions are installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=check,
    )
