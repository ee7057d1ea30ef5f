"""Goals on a plane: on a ring around the start or a sector of it; test goals lie as those for training do, or all in the other half.

The halves are those of Evolved Policy Gradients' GoalAnt: train on goals to the right (x > 0), test on goals to the left (x < 0), so that
a method must learn to search for goals, and cannot memorise where they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.task import Parameter, Split, Task

GOAL_X, GOAL_Y = "goal_x", "goal_y"
"""The parameters' names."""


@dataclass(frozen=True, kw_only=True)
class GoalRing:
    """Goals uniform over the area of a ring around the origin; over a circle where its two radii are equal.

    Attributes:
        near, far: radii in m.
        reach: how far from the x axis goals may lie, to either side, in rad; pi: the whole ring.
        has_halves: train goals have x > 0 and test goals x < 0, whatever the reach; else both splits draw alike.
    """

    near: float
    far: float
    reach: float = math.pi
    has_halves: bool = False

    @property
    def parameters(self) -> tuple[Parameter, Parameter]:
        """The two numbers in which tasks differ."""
        return (
            Parameter(name=GOAL_X, doc="x of the goal, m", low=-self.far, high=self.far),
            Parameter(name=GOAL_Y, doc="y of the goal, m", low=-self.far, high=self.far),
        )

    def draw(self, family: str, num_tasks: int, rng: np.random.Generator, split: Split) -> list[Task]:
        """Draw goals; all randomness comes from `rng`, and its split shows in the angles alone."""
        radius = np.sqrt(rng.uniform(self.near**2, self.far**2, num_tasks))
        reach = math.pi / 2 if self.has_halves else self.reach
        angle = rng.uniform(-reach, reach, num_tasks)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        if self.has_halves and split == "test":
            x = -x
        return [
            Task(family=family, params=((GOAL_X, goal_x), (GOAL_Y, goal_y))) for goal_x, goal_y in zip(x.tolist(), y.tolist())
        ]
