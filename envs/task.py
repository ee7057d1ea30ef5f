"""What is learned: a task, a family of tasks, and the ranges that a family draws from.

A `Task` is a value: hashable, printable, and enough to rebuild its environment exactly. A `TaskFamily` samples tasks from a seeded
generator, apart for training and for testing, and makes one batched environment whose slots each play a task of their own.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from envs.errors import InvalidInputError

if TYPE_CHECKING:
    from envs.batched import BatchedEnv

Split = Literal["train", "test"]
"""`train`: tasks to learn from. `test`: tasks held out from training."""

Mode = Literal["train", "evaluate"]
"""`train`: episodes as training wants them. `evaluate`: whole episodes under the family's published evaluation protocol."""

Value = float | int | str


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One number (or name) in which the tasks of a family differ.

    Attributes:
        name: key in `Task.params`.
        doc: what it does, with its unit.
        low, high: the range it is drawn from, both None for a parameter with `choices`.
        choices: the allowed names, empty for a numeric parameter.
    """

    name: str
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The range in words: `[0.5, 2]`, or the choices, or `any`."""
        if self.choices:
            return ", ".join(self.choices)
        return "any" if self.low is None or self.high is None else f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: the family it belongs to and the parameters that make it this one.

    Attributes:
        family: the registered name of its family.
        params: (name, value) pairs in the family's order.
    """

    family: str
    params: tuple[tuple[str, Value], ...] = ()

    def __getitem__(self, name: str) -> Value:
        """Return the parameter `name`; KeyError when the task has none of that name."""
        return dict(self.params)[name]

    def number(self, name: str) -> float:
        """Return the parameter `name` as a float."""
        return float(self[name])

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.params)
        return f"{self.family}({inner})"


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
