"""Options of a command that come from the rows of the table of algorithms, so that no command knows one by name."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Annotated, Any

from tyro.conf import arg

from cluster.algorithms import own_options


def with_own_options(name: str, base: type[Any], doc: str, *, resumes: bool) -> type[Any]:
    """Return the command `name`: `base` with a text option for each that some algorithm has; empty where it is not given."""
    fields = [
        (option.name, Annotated[str, arg(metavar=option.metavar, help=option.help, help_behavior_hint="")], field(default=""))
        for option in own_options(resumes=resumes).values()
    ]
    made = make_dataclass(name, fields, bases=(base,), frozen=True, kw_only=True)
    made.__doc__ = doc
    return made


def own_values(command: Any, *, resumes: bool) -> dict[str, str]:
    """What was given for them, by name."""
    return {name: getattr(command, name) for name in own_options(resumes=resumes)}
