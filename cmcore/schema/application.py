"""An application's models, found by the name of the module that has them."""

import importlib
import sys
from pathlib import Path
from typing import Any

import peewee

from cmcore.errors import ConfigurationError

_LIBRARIES = {"cmcore", "peewee", "playhouse"}


def models_of(module: str) -> list[Any]:
    """Return the module's models, and the models between them of many-to-many.

    The module is imported, seen from the working directory too.

    Args:
        module: Its dotted name.

    Raises:
        ConfigurationError: It cannot be imported.
    """
    values = list(vars(_imported(module)).values())
    found = [value for value in values if _is_model(value)]
    own = [m for m in found if m.__module__.partition(".")[0] not in _LIBRARIES]
    for model in list(own):
        fields = model._meta.manytomany.values()
        own += [f.through_model for f in fields if _is_model(f.through_model)]
    return list(dict.fromkeys(own))


def _is_model(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, peewee.Model)
    return is_class and hasattr(value, "_meta") and value is not peewee.Model


def _imported(module: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(module, error) from error
        msg = f"There is no module {module!r}, seen from {here}."
        raise ConfigurationError(msg) from None
    except Exception as error:  # whatever an application does when it is imported
        raise _broken(module, error) from error
    finally:
        sys.path.remove(here)


def _broken(module: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The module {module} cannot be imported: {type(error).__name__}: {error}"
    )
