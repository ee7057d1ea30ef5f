"""Whether a run of a central learner may go on, and how far."""

from __future__ import annotations

from collections.abc import Mapping

from cluster import checkpoint, overrides
from cluster.config import RunConfig
from cluster.run_directory import RunDirectory
from cluster.summary import read_summary
from envs.errors import InvalidInputError


def extend(directory: RunDirectory, config: RunConfig, options: Mapping[str, str]) -> RunConfig:
    """The run's config, with more steps if asked for (`steps`); refuses a run that has nothing left to do."""
    summary, steps = read_summary(directory), options.get("steps", "")
    if steps:
        config = overrides.apply(config, {"total_env_steps": steps})
    taken = checkpoint.newest_step(directory.checkpoints)
    if steps and config.total_env_steps <= taken:
        raise InvalidInputError(f"--steps {steps}: the run {directory.path} has {taken:,} environment steps already; give more")
    if summary is not None and summary["finished"] and (summary["reason"] != "total steps" or not steps):
        longer = f"`metaray resume {directory.path} --steps N` trains it for longer"
        raise InvalidInputError(
            f"the run {directory.path} is finished ({summary['reason']}, {summary['env_steps']:,} environment steps)"
            + (f": {longer}" if summary["reason"] == "total steps" else ": there is nothing to resume")
        )
    if steps:
        directory.write_config(config)
    return config
