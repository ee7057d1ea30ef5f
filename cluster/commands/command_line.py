"""The command line: the table of commands, parsed by tyro."""

from __future__ import annotations

from typing import Annotated, Protocol, get_args

import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

from cluster import algorithms
from cluster.commands.adapt import Adapt
from cluster.commands.evaluate import Evaluate
from cluster.commands.journal import Journal
from cluster.commands.plot import Plot
from cluster.commands.presets import Presets
from cluster.commands.report import Report
from cluster.commands.resume import Resume
from cluster.commands.scale import Scale
from cluster.commands.tasks import Tasks
from cluster.commands.train import Train
from cluster.commands.version import Version
from envs.errors import unknown

DESCRIPTION = """metaray: distributed actor-learner training over many sampled tasks, on one machine or a Ray cluster.

  metaray train impala --preset quickstart --local    train, in this process
  metaray train impala --preset quickstart            the same on Ray
  metaray evaluate RUN                                run episodes of held-out tasks
  metaray train epg --preset point-goal --local       evolve a loss that agents learn from

Exit codes: 0 done, 1 the run failed, 2 wrong input, 130 stopped by Ctrl-C after a checkpoint.
"""


class Command(Protocol):
    """A parsed command."""

    def run(self, command: str) -> int:
        """Do it and return the exit code; `command` is the command line, for the record."""


Commands = (
    Annotated[Train, subcommand("train")]  # type: ignore[valid-type]  # made of the table of algorithms
    | Annotated[Resume, subcommand("resume")]  # type: ignore[valid-type]
    | Annotated[Scale, subcommand("scale")]
    | Annotated[Journal, subcommand("journal")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Adapt, subcommand("adapt")]
    | Annotated[Plot, subcommand("plot")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Presets, subcommand("presets")]
    | Annotated[Tasks, subcommand("tasks")]
    | Annotated[Version, subcommand("version")]
)


def parse(arguments: list[str]) -> Command:
    """Parse `arguments`; tyro itself answers `--help` and refuses unknown options, with exit code 2.

    Raises:
        InvalidInputError: there is no such command or algorithm.
    """
    _check_names(*arguments[:2])
    parsed: Command = tyro.cli(Commands, args=arguments, prog="metaray", description=DESCRIPTION, config=(FlagCreatePairsOff,))
    return parsed


def _check_names(command: str = "-", algorithm: str = "-", /) -> None:
    """Refuse unknown names in one line with the nearest ones; tyro's box has none. Options are left to tyro."""
    names = [metadata.name for _, metadata in map(get_args, get_args(Commands))]
    if not command.startswith("-") and command not in names:
        raise unknown("command", command, names)
    if command == "train" and not algorithm.startswith("-"):
        algorithms.find(algorithm)
