"""`module:object`: a task family of the user's own, imported by name.

The folder that the command runs in is searched last, so a file beside the user is found and none of it shadows a package.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from envs.errors import InvalidInputError, described, unknown
from envs.family import TaskFamily


def load_family(name: str) -> TaskFamily:
    """Return the family that `module:object` names: a `TaskFamily`, or a class or callable without arguments that gives one.

    Raises:
        InvalidInputError: no such module or object, or the object gives no family.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InvalidInputError(f"task family {name!r} is not of the form module:object")
    module = import_module(name, module_name)
    if not hasattr(module, attribute):
        own = [key for key, value in vars(module).items() if not key.startswith("_") and _may_give_family(value)]
        raise unknown(f"object in module {module_name}", attribute, own)
    family = getattr(module, attribute)
    if not isinstance(family, TaskFamily):
        if not callable(family):
            raise InvalidInputError(f"{name} is a {type(family).__name__}, not a TaskFamily or a callable that returns one")
        try:
            family = family()
        except (Exception, SystemExit) as error:  # whatever the user's code raises, the user gets one line
            raise InvalidInputError(f"{name} was called without arguments and failed: {described(error)}") from error
    if not isinstance(family, TaskFamily):
        raise InvalidInputError(f"{name} returned a {type(family).__name__}, not a TaskFamily")
    for required in ("name", "doc"):
        if not isinstance(getattr(family, required, None), str):
            raise InvalidInputError(f"the family of {name} has no {required}; give it a string attribute {required!r}")
    return family


def import_module(name: str, module_name: str) -> ModuleType:
    """Import a module of the user's own, from the folder that the command runs in if nothing else has it.

    Args:
        name: of the family that names it, for the error.
        module_name: what to import.

    Raises:
        InvalidInputError: there is none of that name, or it raises.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()  # the file may be younger than the running interpreter's view of its folder
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise InvalidInputError(
                f"task family {name!r}: there is no module {module_name!r} here ({here}) or installed"
            ) from error
        needs = f"needs {error.name!r}, which is not installed" if error.name else f"cannot be imported: {described(error)}"
        raise InvalidInputError(f"task family {name!r}: module {module_name} {needs}") from error
    except (Exception, SystemExit) as error:  # whatever the user's code raises, the user gets one line
        raise InvalidInputError(f"task family {name!r}: importing {module_name} failed: {described(error)}") from error


def _may_give_family(value: object) -> bool:
    return isinstance(value, TaskFamily) or (callable(value) and getattr(value, "__module__", "").partition(".")[0] != "typing")
