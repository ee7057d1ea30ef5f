"""Ant that goes to a position: GoalAnt of Evolved Policy Gradients (Houthooft et al., 2018).

    r = (|p - g| - |p' - g|) / dt,        p = (x, y) of the torso, g the task's goal

The released code has no Ant. Known is that goals for training lie in the right half of the arena and goals for testing in the left half;
the rest is chosen:

1. Goals are uniform over the area of half a ring from 2 m to 5 m around the start: farther than a random policy gets, and within a few
   seconds for an ant that runs.
2. The reward is the speed towards the goal, with no cost and no bonus: the undiscounted return is how much nearer the episode came, over
   dt, and already the first steps distinguish the directions. A negative distance would reward an ant for falling, which ends the episode.
3. The observation has 29 numbers: the state with x and y in it, which a goal that is a position asks for, without the contact forces.
4. Physics, starts, end (torso not between 0.2 m and 1 m high), dt = 0.05 s and 1,000 steps are gymnasium's Ant-v5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from mujoco.batch import Batch

from envs.goals import GOAL_X, GOAL_Y, GoalRing
from envs.mujoco.robot import Slots
from envs.mujoco.robots.ant import AntBody
from envs.task import Task

GOALS = GoalRing(near=2.0, far=5.0, has_halves=True)


class GoalAnt(AntBody):
    """Ant that is rewarded for approaching its task's goal."""

    parameters = GOALS.parameters
    goals = GOALS

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._goal = np.zeros((batch.nsim, 2))
        self._distance_before = np.zeros(batch.nsim)

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; see `Robot.take_up`."""
        self._goal[slots] = [(task.number(GOAL_X), task.number(GOAL_Y)) for task in tasks]

    def distance(self) -> Float[np.ndarray, " B"]:
        """Return how far every torso is from its goal, in m."""
        x, y = (self.qpos[:, :2] - self._goal).T
        far: Float[np.ndarray, " B"] = np.hypot(x, y)
        return far

    def keep(self) -> None:
        """Keep the distance before a step."""
        self._distance_before = self.distance()

    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated; see `Robot.outcome`."""
        return (self._distance_before - self.distance()) / self.dt, ~self.healthy()
