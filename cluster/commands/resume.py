"""`metaray resume`: go on with a run that was stopped, or train a finished one for longer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from cluster import algorithms, overrides
from cluster.commands.own_options import own_values, with_own_options
from cluster.commands.train import check_where
from cluster.run import preflight
from cluster.store import run_directory


@dataclass(frozen=True, kw_only=True)
class ResumeBase:
    """What `metaray resume` has for every algorithm."""

    run_directory: Annotated[Positional[str], arg(metavar="RUN", help="run directory", help_behavior_hint="")]
    local: Annotated[bool, arg(help="in this process, without Ray", help_behavior_hint="")] = False
    ray: Annotated[str, arg(metavar="ADDRESS", help="on this Ray cluster: host:port or auto", help_behavior_hint="")] = ""
    set: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]],
        arg(
            metavar="KEY=VALUE",
            help="change a setting that may change in a run that goes on: --set learner.learning_rate=1e-4 log_every_s=5",
            help_behavior_hint="",
        ),
    ] = ()
    insecure: Annotated[bool, arg(help="use Ray without its token authentication", help_behavior_hint="")] = False
    no_progress: Annotated[bool, arg(help="print no progress", help_behavior_hint="")] = False

    def run(self, command: str) -> int:
        """Check everything and train on."""
        directory = run_directory.open_run(Path(self.run_directory))
        algorithm = algorithms.find(directory.algorithm)
        changes = algorithms.check_options(algorithm, own_values(self, resumes=True), resumes=True)
        changes |= overrides.parse_assignments(text for group in self.set for text in group)
        local = self.local or (not self.ray and bool(directory.read_launch().get("local")))
        where = check_where(local=local, ray=self.ray, insecure=self.insecure)
        with directory.locked():
            from cluster.run.resuming import resumed
            from cluster.run.trainer import Run, train

            config, lines = resumed(algorithm, directory, algorithms.config_of_run(directory), changes)
            preflight.check_environment(config.family)
            run = Run(
                row=algorithm,
                config=config,
                directory=directory,
                where=where(run_name=directory.path.name),
                command=command,
                quiet=self.no_progress,
                changes=lines,
            )
            return train(run, is_resumed=True)


Resume = with_own_options(
    "Resume",
    ResumeBase,
    "Go on with a run where it stopped, and on the machines where it ran before unless told otherwise.",
    resumes=True,
)
