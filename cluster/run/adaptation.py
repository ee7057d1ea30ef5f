"""Runs whose actors adapt policies to tasks: rounds of units for any actor, each some tasks with the unrolls before and after.

round:  tasks_per_round tasks = units of rollout.envs_per_actor / envs_per_task tasks --> one outer step
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from actors.adaptation import AdaptationCollector, AdaptationSpec
from actors.messages import Collector, Part, Report, Work
from cluster.algorithms import find
from cluster.backends.base import MakeCollector
from cluster.backends.memory import keep_freed_memory
from cluster.run.round_units import RoundPlan
from cluster.run.unrolls import Unrolls
from envs.errors import InvalidInputError
from envs.registry import resolve
from learners.networks import stacked_agent


class Adaptation(Unrolls):
    """The work of a run whose actors adapt; a line of metrics for each round."""

    in_threads = False
    unit = "task group"
    logs_rounds = True
    max_failures = 3

    @property
    def tasks_per_unit(self) -> int:
        """Tasks that an actor adapts to side by side."""
        return int(self.config.rollout.envs_per_actor // self.config.envs_per_task)

    def preflight(self, *, is_local: bool) -> None:
        """Make sure that a round can be cut into units, and that the network can be stacked.

        Raises:
            InvalidInputError: names the settings, and what would do.
        """
        config, envs, count = self.config, self.config.rollout.envs_per_actor, self.tasks_per_unit
        if not count or envs % config.envs_per_task:
            near = max(1, round(envs / config.envs_per_task)) * config.envs_per_task
            raise InvalidInputError(
                f"rollout.envs_per_actor = {envs} must be a multiple of envs_per_task = {config.envs_per_task}: try {near}"
            )
        for name in ("tasks_per_round", "evaluation_tasks"):
            if getattr(config, name) % count and (name == "tasks_per_round" or config.evaluate_every is not None):
                raise InvalidInputError(
                    f"{name} = {getattr(config, name)} must be a multiple of the {count} tasks of a unit of work "
                    f"(rollout.envs_per_actor / envs_per_task): try {max(1, round(getattr(config, name) / count)) * count}"
                )
        if config.lag:
            raise InvalidInputError(
                f"lag = {config.lag}: an inner step is of the weights that its unrolls acted with: allowed is 0"
            )
        stacked_agent.check(self.spaces(), config.network)
        super().preflight(is_local=is_local)

    def collector(self) -> MakeCollector:
        """See `cluster.run.workload.Workload`."""
        return partial(_make_collector, self.config, self.tasks_per_unit)

    def store_bytes(self) -> int:
        """Bytes of shared memory for the trajectories of a round: those of unrolls, if every unit had an actor of its own."""
        units = self.config.tasks_per_round // self.tasks_per_unit
        as_unrolls = replace(self.config, num_actors=max(self.config.num_actors, units))
        return (1 + int(self.config.learner.num_inner_steps)) * Unrolls(self.row, as_unrolls).store_bytes()

    def may_change(self) -> tuple[str, ...]:
        """See `cluster.run.workload.Workload`."""
        return (*super().may_change(), "num_actors")

    def train(self, number: int) -> RoundPlan:
        """The units of an outer step."""
        return self._plan(number, "train", self.config.tasks_per_round)

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        """Held-out tasks, with the weights after so many rounds."""
        every = self.config.evaluate_every
        if every is None or not (is_last or number % every == 0):
            return None
        return self._plan(number, "evaluate", self.config.evaluation_tasks)

    def _plan(self, number: int, part: Part, num_tasks: int) -> RoundPlan:
        works = tuple(Work(round=number, index=index, part=part) for index in range(num_tasks // self.tasks_per_unit))
        return RoundPlan(works=works, progress=self._progress(number))

    def score(self, reports: Sequence[Report]) -> float:
        """The mean return after the inner steps, over the units of an evaluation."""
        found = [report.figures["evaluation/post_update"] for report in reports if "evaluation/post_update" in report.figures]
        return float(np.mean(found)) if found else math.nan

    def describe(self, work: Work) -> str:
        """See `cluster.run.workload.Workload`."""
        count = self.tasks_per_unit
        what = "round" if work.part == "train" else "the evaluation after round"
        return f"tasks {work.index * count} to {(work.index + 1) * count - 1} of {what} {work.round}"


def _make_collector(config: Any, num_tasks: int, actor: int) -> Collector:
    keep_freed_memory()
    algorithm: Any = find(config.algorithm).learner()
    spec = AdaptationSpec(
        num_tasks=num_tasks,
        envs_per_task=config.envs_per_task,
        unroll_length=config.rollout.unroll_length,
        num_steps=config.learner.num_inner_steps,
        env_threads=config.rollout.env_threads,
        run_seed=config.seed,
    )
    return AdaptationCollector(resolve(config.family), config.network, spec, algorithm.adapt, config)
