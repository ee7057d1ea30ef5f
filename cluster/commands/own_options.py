"""Options that several commands have, and those that the rows of the table of algorithms add: no command knows an algorithm by name."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from functools import partial
from typing import Annotated, Any

from tyro.conf import UseAppendAction

from cluster.algorithms import own_options
from cluster.commands.arguments import option
from cluster.overrides import parse_assignments
from cluster.run import preflight
from cluster.run.where import Where
from envs.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every command has that trains."""

    set: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        option("change settings: --set learner.gamma=0.95 log_every_s=5; `metaray presets NAME` lists the keys", "KEY=VALUE"),
    ] = ()
    local: Annotated[bool, option("train in this process, without Ray")] = False
    ray: Annotated[
        str, option("attach to this Ray cluster: host:port or auto (default: RAY_ADDRESS, else start one here)", "ADDRESS")
    ] = ""
    insecure: Annotated[bool, option("use Ray without its token authentication")] = False
    no_progress: Annotated[bool, option("print no progress")] = False

    @property
    def assignments(self) -> dict[str, str]:
        """What `--set` says, by key."""
        return parse_assignments(text for group in self.set for text in group)

    def where(self, *, local: bool) -> partial[Where]:
        """Check where to run against each other and against what answers; return what makes a run's place.

        Raises:
            InvalidInputError: they contradict each other, Ray is not installed, or nothing answers at the address.
        """
        if local and (self.ray or self.insecure):
            raise InvalidInputError(
                f"--local and {'--ray' if self.ray else '--insecure'} contradict each other: give one of them"
            )
        address = None if local else preflight.ray_address(self.ray)
        if not local:
            preflight.check_ray(address)
        return partial(Where, is_local=local, address=address, is_insecure=self.insecure)


def with_own_options(name: str, base: type[Any], doc: str, *, resumes: bool) -> type[Any]:
    """Return the command `name`: `base` with a text option for each that some algorithm has; empty where it is not given."""
    fields = [
        (one.name, Annotated[str, option(one.help, one.metavar)], field(default=""))
        for one in own_options(resumes=resumes).values()
    ]
    made = make_dataclass(name, fields, bases=(base,), frozen=True, kw_only=True)
    made.__doc__ = doc
    return made


def own_values(command: Any, *, resumes: bool) -> dict[str, str]:
    """What was given for them, by name."""
    return {name: getattr(command, name) for name in own_options(resumes=resumes)}
