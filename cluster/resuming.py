"""Whether a run of a central learner may go on, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster import checkpoint, overrides
from cluster.config import RunConfig
from cluster.run_directory import RunDirectory
from cluster.summary import read_summary
from envs.errors import InvalidInputError

LIFTED: dict[str, dict[str, Any]] = {"time limit": {"max_train_seconds": None}, "return reached": {"stop_return": None}}
"""By the reason that a run ended for: the limit that goes when more is asked of it, and would end it again at once."""


def extend(directory: RunDirectory, config: RunConfig, options: Mapping[str, str]) -> RunConfig:
    """The run's config, with more steps if asked for (`steps`); refuses a run that is finished where none are."""
    summary, steps = read_summary(directory), options.get("steps", "")
    if steps:
        config = overrides.apply(config, {"total_env_steps": steps})
    taken = checkpoint.newest_step(directory.checkpoints)
    if steps and config.total_env_steps <= taken:
        raise InvalidInputError(f"--steps {steps}: the run {directory.path} has {taken:,} environment steps already; give more")
    if summary is not None and summary["finished"]:
        if not steps:
            raise InvalidInputError(
                f"the run {directory.path} is finished ({summary['reason']}, {summary['env_steps']:,} environment steps): "
                f"`metaray resume {directory.path} --steps N` trains it for longer"
            )
        config = replace(config, **LIFTED.get(summary["reason"], {}))
    if steps:
        directory.write_config(config)
    return config
