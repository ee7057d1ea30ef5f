"""A task family over a `NumpyEnv`: its parameters drawn uniformly from their ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from envs.batched import BatchedEnv
from envs.task import Mode, Parameter, Split, Task, TaskFamily, uniform_tasks


class NumpyFamily(TaskFamily):
    """Tasks whose parameters are independent and uniform; without parameters, a family of one task.

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
        is_endless: bool = False,
    ) -> None:
        self.name = name
        self.doc = doc
        self.parameters = parameters
        self.is_endless = is_endless
        self._env = env

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw `num_tasks` tasks; all randomness comes from `rng`."""
        words = rng.integers(2**32, size=4, dtype=np.uint64)
        return uniform_tasks(self, num_tasks, np.random.default_rng([0 if split == "train" else 1, *words.tolist()]))

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment; numpy steps it on the calling thread, and both modes play the same episodes."""
        return self._env(tasks)
