"""Runs whose actors adapt policies to tasks: rounds of units for any actor, each some tasks with the unrolls before and after.

round:  tasks_per_round tasks = units of rollout.envs_per_actor / envs_per_task tasks --> one outer step
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from actors.adaptation import AdaptationCollector, AdaptationSpec
from actors.messages import Collector, Part, Report, Work
from cluster.algorithms import find
from cluster.backends.memory import keep_freed_memory
from cluster.run import unrolls
from cluster.run.assembly import Assembly, Payload
from cluster.run.keeper import Keeper
from cluster.run.plan import RoundPlan
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners.algorithm import Progress
from learners.networks import stacked_agent


class Adaptation(Keeper):
    """Plan (`cluster.run.plan.Plan`) and keeper of a run whose actors adapt; a line of metrics for each round."""

    logs_rounds = True
    max_failures = 3

    def __init__(self, config: Any, payload: Payload | None = None) -> None:
        first_round = 0 if payload is None else int(payload["first_round"])
        super().__init__(first_round=first_round, checkpoint_every_s=config.checkpoint_every_s)
        self._config = config

    def train(self, number: int) -> RoundPlan:
        """The units of an outer step."""
        return self._plan(number, "train", self._config.tasks_per_round)

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """Held-out tasks, with the weights after so many rounds."""
        every = self._config.evaluate_every
        if every is None or not (is_last or number % every == 0):
            return None
        return self._plan(number, "evaluate", self._config.evaluation_tasks)

    def _plan(self, number: int, part: Part, num_tasks: int) -> RoundPlan:
        config = self._config
        works = tuple(Work(round=number, index=index, part=part) for index in range(num_tasks // tasks_per_unit(config)))
        progress = Progress(round=number, total=config.scheduled_env_steps, run_seed=config.seed)
        return RoundPlan(works=works, progress=progress)

    def score(self, reports: Sequence[Report]) -> float:
        """The mean return after the inner steps, over the units of an evaluation."""
        found = [report.figures["evaluation/post_update"] for report in reports if "evaluation/post_update" in report.figures]
        return float(np.mean(found)) if found else math.nan

    def describe(self, work: Work) -> str:
        """See `cluster.run.keeper.Keeper`."""
        count = tasks_per_unit(self._config)
        what = "round" if work.part == "train" else "the evaluation after round"
        return f"tasks {work.index * count} to {(work.index + 1) * count - 1} of {what} {work.round}"


def tasks_per_unit(config: Any) -> int:
    """Tasks that an actor adapts to side by side."""
    return int(config.rollout.envs_per_actor // config.envs_per_task)


def check_adaptation(config: Any, is_local: bool) -> None:
    """Make sure that a round can be cut into units, and that the network can be stacked.

    Raises:
        InvalidInputError: names the settings, and what would do.
    """
    envs, count = config.rollout.envs_per_actor, tasks_per_unit(config)
    if not count or envs % config.envs_per_task:
        near = max(1, round(envs / config.envs_per_task)) * config.envs_per_task
        raise InvalidInputError(
            f"rollout.envs_per_actor = {envs} must be a multiple of envs_per_task = {config.envs_per_task}: try {near}"
        )
    for name in ("tasks_per_round", "evaluation_tasks"):
        if getattr(config, name) % count and (name == "tasks_per_round" or config.evaluate_every is not None):
            raise InvalidInputError(
                f"{name} = {getattr(config, name)} must be a multiple of the {count} tasks of a unit of work (rollout.envs_per_actor / "
                f"envs_per_task): try {max(1, round(getattr(config, name) / count)) * count}"
            )
    if config.lag:
        raise InvalidInputError(f"lag = {config.lag}: an inner step is of the weights that its unrolls acted with: allowed is 0")
    stacked_agent.check(unrolls.first_env_spec(config), config.network)
    unrolls.check_learner(config, is_local)


def _make_collector(config: Any, actor: int) -> Collector:
    keep_freed_memory()
    algorithm: Any = find(config.algorithm).learner()
    spec = AdaptationSpec(
        num_tasks=tasks_per_unit(config),
        envs_per_task=config.envs_per_task,
        unroll_length=config.rollout.unroll_length,
        num_steps=config.learner.num_inner_steps,
        env_threads=config.rollout.env_threads,
        run_seed=config.seed,
    )
    return AdaptationCollector(resolve(config.family), config.network, spec, algorithm.adapt, config)


def store_bytes(config: Any) -> int:
    """Bytes of shared memory for the trajectories of a round: those of unrolls, if every unit had an actor of its own."""
    units = config.tasks_per_round // tasks_per_unit(config)
    as_unrolls = replace(config, num_actors=max(config.num_actors, units))
    return (1 + int(config.learner.num_inner_steps)) * unrolls.store_bytes(as_unrolls)


ASSEMBLY: Assembly = replace(
    unrolls.ASSEMBLY,
    in_threads=False,
    unit="task group",
    preflight=check_adaptation,
    collector=lambda config: partial(_make_collector, config),
    store_bytes=store_bytes,
    keeper=lambda directory, config, payload: contextlib.nullcontext(Adaptation(config, payload)),
    may_change=lambda config: (*unrolls.may_change(config), "num_actors"),
)
