"""A family of tasks: samples them from a seeded generator, separately for training and testing, and makes their environments."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from envs.batched import BatchedEnv
from envs.errors import InvalidInputError, out_of_range, unknown
from envs.goals import GoalRing
from envs.task import Mode, Parameter, Split, Task, Value


class TaskFamily(abc.ABC):
    """A distribution over tasks, and the environments of its tasks.

    Attributes:
        name: the registered name.
        doc: one line for `metaray tasks`.
        parameters: the parameters in which its tasks differ; empty for a family of a single task.
        goals: what draws its tasks; None for parameters that are drawn one by one.
        is_endless: no task of it ever terminates: only a limit ends an episode. Such a task has no undiscounted value.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...] = ()
    goals: GoalRing | None = None
    is_endless: bool = False

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        """Draw `num_tasks` tasks; all randomness comes from `rng`.

        Training and test tasks come from the same ranges by generators that are kept apart, so that the same seed never
        yields the same task on both sides. Parameters are independent, uniform in their ranges and over their choices.
        """
        if split not in ("train", "test"):
            raise unknown("split", split, ("train", "test"))
        own = self._split_generator(rng, split)
        return _uniform_tasks(self, num_tasks, own) if self.goals is None else self.goals.draw(self.name, num_tasks, own, split)

    def _split_generator(self, rng: np.random.Generator, split: Split) -> np.random.Generator:
        """Return a generator drawn from `rng` for one split."""
        words = rng.integers(2**32, size=4, dtype=np.uint64)
        return np.random.default_rng([0 if split == "train" else 1, *words.tolist()])

    @abc.abstractmethod
    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        """Make one batched environment with a slot for each of `tasks`, stepped on `num_threads` threads."""

    def checked(self, task: Task) -> Task:
        """Return `task` if it is one of this family.

        A value outside the drawn range is allowed, as held-out extremes are a fair question, but it must be finite, and positive where
        the range is (a factor on a mass or a size).

        Raises:
            InvalidInputError: it is of another family, or a parameter is unknown, missing or out of range.
        """
        if task.family != self.name:
            raise InvalidInputError(f"task {task} belongs to family {task.family!r}, not to {self.name!r}")
        values = dict(task.params)
        known = {parameter.name for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise unknown(f"parameter of {self.name}", name, known)
        for parameter in self.parameters:
            if parameter.name not in values:
                raise InvalidInputError(f"task {task} lacks the parameter {parameter.name} (allowed is {parameter.allowed})")
            _check_value(parameter, values[parameter.name])
        return task


def _check_value(parameter: Parameter, value: Value) -> None:
    """Raise unless `value` is one that `parameter` can have."""
    if parameter.choices:
        if value not in parameter.choices:
            raise unknown(parameter.name, str(value), parameter.choices)
        return
    is_positive = parameter.low is not None and parameter.low > 0
    if isinstance(value, str) or not math.isfinite(value) or (is_positive and value <= 0):
        raise out_of_range(parameter.name, value, "any positive number" if is_positive else "any finite number")


Make = Callable[..., TaskFamily]


def with_visible(make: Make, name: str, doc: str, **visible: Any) -> dict[str, Callable[[], TaskFamily]]:
    """Return the entries of a family and of its variant whose observations end with the task; `visible` is what makes the variant."""
    return {
        name: partial(make, name=name, doc=doc),
        f"{name}-visible": partial(make, name=f"{name}-visible", doc=f"{doc}; the policy sees the task", **visible),
    }


def _uniform_tasks(family: TaskFamily, num_tasks: int, rng: np.random.Generator) -> list[Task]:
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
