"""A family of tasks: draws them from a seeded generator, apart for training and for testing, and makes the environment that plays them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError
from envs.task import Mode, Parameter, Split, Task, Value


class TaskFamily(abc.ABC):
    """A distribution over tasks and the engine that plays them.

    Attributes:
        name: the registered name, as a person types it.
        doc: one line for `metaray tasks`.
        parameters: in which numbers its tasks differ; empty for a family of a single task.
        is_endless: no task of it ever terminates: only a limit ends an episode. Such a task has no undiscounted value.
        return_range: (random, expert) returns where the literature has them, for plots; None otherwise.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...] = ()
    is_endless: bool = False
    return_range: ClassVar[tuple[float, float] | None] = None

    @abc.abstractmethod
    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw `num_tasks` tasks; all randomness comes from `rng`."""

    @abc.abstractmethod
    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment with a slot for each of `tasks`, stepped on `num_threads` threads."""


def uniform_tasks(family: TaskFamily, num_tasks: int, rng: np.random.Generator) -> list[Task]:
    """Draw every numeric parameter of `family` uniformly from its range and every choice with equal weight."""
    drawn: list[Task] = []
    for _ in range(num_tasks):
        params: list[tuple[str, Value]] = []
        for parameter in family.parameters:
            if parameter.choices:
                params.append((parameter.name, parameter.choices[int(rng.integers(len(parameter.choices)))]))
            elif parameter.low is not None and parameter.high is not None:
                params.append((parameter.name, float(rng.uniform(parameter.low, parameter.high))))
            else:
                raise InvalidInputError(
                    f"family {family.name}: parameter {parameter.name} has neither a range nor choices to draw from"
                )
        drawn.append(Task(family=family.name, params=tuple(params)))
    return drawn
