"""`metaray resume`: continue a run that was stopped, or train a finished one for longer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cluster import algorithms
from cluster.commands.arguments import RunArgument
from cluster.commands.own_options import RunOptions, own_values, with_own_options
from cluster.run import preflight
from cluster.store import run_directory


@dataclass(frozen=True, kw_only=True)
class ResumeBase(RunOptions):
    """What `metaray resume` has for every algorithm."""

    run_directory: RunArgument

    def run(self, command: str) -> int:
        """Check everything and continue the training."""
        directory = run_directory.open_run(Path(self.run_directory))
        algorithm = algorithms.find(directory.algorithm)
        changes = algorithms.check_options(algorithm, own_values(self, resumes=True), resumes=True)
        changes |= self.assignments
        where = self.where(local=self.local or (not self.ray and bool(directory.read_launch().get("local"))))
        with directory.locked():
            from cluster.run.resuming import resumed
            from cluster.run.trainer import Run, train

            workload = algorithm.workload(algorithms.config_of_run(directory))
            config, lines = resumed(workload, directory, changes)
            preflight.check_environment(config.family)
            run = Run(
                workload=algorithm.workload(config),
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
    "Continue a run where it stopped, and where it ran before (--local, --ray: elsewhere); --set changes settings that may change.",
    resumes=True,
)
