"""A task family over a `NumpyEnv`: its parameters drawn uniformly from their ranges, or goals on a plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from envs.batched import BatchedEnv
from envs.family import TaskFamily
from envs.goals import GoalRing
from envs.task import Mode, Parameter, Task


class NumpyFamily(TaskFamily):
    """Tasks whose parameters are independent and uniform, or are those of `goals`; without either, a family of one task."""

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

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment; numpy steps it on the calling thread, and both modes have the same episodes."""
        return self._env(tasks)
