"""The command line: the table of commands, parsed by tyro."""

from __future__ import annotations

from typing import Annotated, Protocol

import tyro
from tyro.conf import FlagCreatePairsOff, subcommand

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
    """Parse `arguments`; tyro itself answers `--help` and refuses what it cannot parse, with exit code 2."""
    parsed: Command = tyro.cli(Commands, args=arguments, prog="metaray", description=DESCRIPTION, config=(FlagCreatePairsOff,))
    return parsed
