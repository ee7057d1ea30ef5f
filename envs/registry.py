"""From the name that a person types to a task family.

Three forms: a registered name (`hopper-dynamics`), `gym:<id>` for any registered Gymnasium environment, and `module:object` for a
family of the user's own (a `TaskFamily`, or a callable without arguments that returns one).
"""

from __future__ import annotations

from collections.abc import Callable

from envs.errors import unknown
from envs.task import TaskFamily

_FACTORIES: dict[str, Callable[[], TaskFamily]] = {}


def family_names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_FACTORIES)


def resolve(name: str) -> TaskFamily:
    """Return the family called `name`.

    Raises:
        InvalidInputError: no such family, environment, module or object; the line names the nearest ones.
    """
    if name not in _FACTORIES:
        raise unknown("task family", name, _FACTORIES)
    return _FACTORIES[name]()
