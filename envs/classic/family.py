"""A task family over a `NumpyEnv`: its parameters drawn uniformly from their ranges, or goals on a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from envs.batched import BatchedEnv
from envs.family import TaskFamily, split_generator, uniform_tasks
from envs.goals import GoalRing
from envs.task import Mode, Parameter, Split, Task


class NumpyFamily(TaskFamily):
    """Tasks whose parameters are independent and uniform, or are those of `goals`; without either, a family of one task.

    Training and test tasks come from the same ranges by generators that are kept apart, so that the same seed never
    yields the same task on both sides.
    """

    def __init__(
        self,
        *,
        name: str,
        doc: str,
        env: Callable[[Sequence[Task]], BatchedEnv],
        parameters: tuple[Parameter, ...] = (),
        goals: GoalRing | None = None,
        is_endless: bool = False,
    ) -> None:
        self.name = name
        self.doc = doc
        self.parameters = parameters if goals is None else goals.parameters
        self.goals = goals
        self.is_endless = is_endless
        self._env = env

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw `num_tasks` tasks; all randomness comes from `rng`."""
        own = split_generator(rng, split)
        return uniform_tasks(self, num_tasks, own) if self.goals is None else self.goals.draw(self.name, num_tasks, own, split)

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment; numpy steps it on the calling thread, and both modes have the same episodes."""
        return self._env(tasks)
