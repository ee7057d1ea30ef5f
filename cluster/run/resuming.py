"""Whether a run of a central learner may go on, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cluster import overrides
from cluster.config import RunConfig
from cluster.store import checkpoint
from cluster.store.run_directory import RunDirectory
from cluster.store.summary import read_summary
from envs.errors import InvalidInputError
from learners.actor_critic import learning_rate

LIFTED: dict[str, dict[str, Any]] = {"time limit": {"max_train_seconds": None}, "return reached": {"stop_return": None}}
"""By the reason that a run ended for: the limit that goes when more is asked of it, and would end it again at once."""


def extend(directory: RunDirectory, config: RunConfig, options: Mapping[str, str]) -> RunConfig:
    """The run's config, with more steps if asked for (`steps`); refuses a run that is finished where none are.

    The learning rate stays annealed over the steps that the run was begun with: laid anew over more, it would rise again in the middle.
    """
    summary, steps = read_summary(directory), options.get("steps", "")
    if steps:
        begun = config.scheduled_env_steps
        config = overrides.apply(config, {"total_env_steps": steps})
        config = replace(config, schedule_env_steps=begun if config.total_env_steps != begun else config.schedule_env_steps)
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


def schedule_line(config: RunConfig, taken: int) -> str | None:
    """Say what becomes of the learning rate in a run that is longer or shorter than what it is annealed over; None in any other.

    Args:
        config: the run.
        taken: environment steps so far.
    """
    over, total = config.scheduled_env_steps, config.total_env_steps
    if over == total or not config.learner.anneal:
        return None
    now, end = (learning_rate(config.learner, at, over) for at in (taken, total))
    what = f"the learning rate is annealed over {over:,} steps (schedule_env_steps in config.json) and the run has {total:,}"
    line = f"{what}: {now:.2g} now, {end:.2g} at the end"
    if end > 0:
        return line
    return (
        f"{line}, so nothing is learned from {max(taken, over):,} steps on; schedule_env_steps = null anneals it over all steps, "
        "learner.anneal = false keeps its first value"
    )
