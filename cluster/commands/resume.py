"""`metaray resume`: go on with a run that was stopped, or train a finished one for longer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Go on with a run from its newest valid checkpoint, where it ran before unless told otherwise."""

    run_directory: Annotated[Positional[str], arg(metavar="RUN", help="run directory", help_behavior_hint="")]
    steps: Annotated[
        str,
        arg(
            metavar="N", help="train to this many environment steps in all, instead of what was asked for", help_behavior_hint=""
        ),
    ] = ""
    local: Annotated[bool, arg(help="in this process, without Ray", help_behavior_hint="")] = False
    ray: Annotated[str, arg(metavar="ADDRESS", help="on this Ray cluster: host:port or auto", help_behavior_hint="")] = ""
    insecure: Annotated[bool, arg(help="use Ray without its token authentication", help_behavior_hint="")] = False
    no_progress: Annotated[bool, arg(help="print no progress", help_behavior_hint="")] = False

    def run(self, command: str) -> int:
        """Check everything and train on."""
        from cluster import preflight, run_directory
        from cluster.commands.train import check_where

        directory = run_directory.open_run(Path(self.run_directory))
        local = self.local or (not self.ray and bool(directory.read_launch().get("local")))
        where = check_where(local=local, ray=self.ray, insecure=self.insecure)
        with directory.locked():
            config = self._extended(directory)
            preflight.check_family(config.family)
            from cluster.training import drive

            return drive(config, directory, where(directory.path), command=command, is_resumed=True, quiet=self.no_progress)

    def _extended(self, directory: RunDirectory) -> RunConfig:
        """The run's config, with more steps if asked for; refuses a run that has nothing left to do."""
        from cluster import checkpoint, overrides
        from cluster.summary import read_summary

        summary = read_summary(directory)
        config = directory.read_config()
        if self.steps:
            config = overrides.apply(config, {"total_env_steps": self.steps})
        taken = checkpoint.newest_step(directory.checkpoints)
        if self.steps and config.total_env_steps <= taken:
            raise InvalidInputError(
                f"--steps {self.steps}: the run {directory.path} has {taken:,} environment steps already; give more"
            )
        if summary is not None and summary["finished"] and (summary["reason"] != "total steps" or not self.steps):
            longer = f"`metaray resume {directory.path} --steps N` trains it for longer"
            raise InvalidInputError(
                f"the run {directory.path} is finished ({summary['reason']}, {summary['env_steps']:,} environment steps)"
                + (f": {longer}" if summary["reason"] == "total steps" else ": there is nothing to resume")
            )
        if self.steps:
            directory.write_config(config)
        return config
