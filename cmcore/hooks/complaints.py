"""What is said of broken plugins: their own words, without what is secret in them."""

import difflib
import inspect
import logging
import re
import traceback
from typing import Any

from cmcore.errors import PluginError
from cmcore.hooks import PROJECT, specs

logger = logging.getLogger("cmcore.hooks")
_PREFIX = "cmcore_"
_SECRET = re.compile(r"(://)\S*@|(\bpassword=)[^\s&'\"]+", re.IGNORECASE)
_ORDINARY = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}


def masked(text: str) -> str:
    """Return a text without the user and the password of each URL in it."""
    return _SECRET.sub(lambda m: f"{m[1]}…@" if m[1] else f"{m[2]}…", text)


def words_of(error: BaseException) -> str:
    """Return class and text of an error in one line, without a full stop."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return masked(text).rstrip(".: ")


def log(message: str, *values: Any, error: BaseException) -> None:
    """Log an error, with its traceback unless that shows a secret."""
    trace = "".join(traceback.format_exception(error))
    is_harmless = masked(trace) == trace
    logger.error(message, *values, exc_info=error if is_harmless else None)


def hooks_of(plugin: Any) -> dict[str, Any]:
    """Return the marked functions of a plugin by the names of their hooks."""
    hooks = {}
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        marks = getattr(function, f"{PROJECT}_impl", None)
        if isinstance(marks, dict):
            hooks[marks.get("specname") or name] = function
    return hooks


def refuse_misfits(plugin: Any, name: str) -> None:
    """Refuse what pluggy would only fail on later, or refuse in words of its own."""
    if isinstance(plugin, type):
        msg = f"Plugin {name!r} is a class. Register an instance: {name}()."
        raise PluginError(msg)
    hooks = hooks_of(plugin)
    if not hooks:
        msg = (
            f"Plugin {name!r} ({type(plugin).__name__}) has no hook. "
            "Mark its functions with @cmcore.hookimpl."
        )
        raise PluginError(msg)
    for hook in _specified():
        function = getattr(plugin, hook, None)
        if callable(function) and hook not in hooks:
            msg = f"Plugin {name!r}: {hook} lacks its mark, @cmcore.hookimpl."
            raise PluginError(msg)
    for hook, function in hooks.items():
        is_async = inspect.iscoroutinefunction(function)
        if is_async or inspect.isasyncgenfunction(function):
            msg = f"Plugin {name!r}: {hook} is async. Hooks are ordinary functions."
            raise PluginError(msg)
        problem = _misfit(hook, function)
        if problem is not None:
            msg = f"Plugin {name!r}: {problem}"
            raise PluginError(msg)


def _misfit(hook: str, function: Any) -> str | None:
    """Say what pluggy would find, if there is no such hook or no such argument."""
    specified = _specified()
    if hook not in specified:
        if getattr(function, f"{PROJECT}_impl")["optionalhook"]:
            return None
        near = difflib.get_close_matches(hook, specified, 1)
        return f"There is no hook {hook!r}." + "".join(
            f" Did you mean {n}?" for n in near
        )
    allowed = _arguments(specified[hook])
    unknown = [name for name in _arguments(function) if name not in allowed]
    if not unknown:
        return None
    may = ", ".join(allowed) or "none"
    plural = "s" if len(unknown) > 1 else ""
    names = ", ".join(map(repr, unknown))
    article = "" if plural else "an "
    return f"{hook} has {article}argument{plural} {names}; it may have: {may}."


def _specified() -> dict[str, Any]:
    return {n: f for n, f in vars(specs).items() if n.startswith(_PREFIX)}


def _arguments(function: Any) -> list[str]:
    """Return the arguments that pluggy gives: those without a default."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in _ORDINARY and parameter.default is parameter.empty
    ]
