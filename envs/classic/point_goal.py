"""A point on a plane and a hidden goal that only rewards reveal: the smallest family in which meta-learning helps.

    p' = clip(p + 0.1 clip(a, -1, 1), -2, 2),        r = -|p' - g|

p starts within 0.05 m of the origin in x and y; g is the task's goal, 1 m away, and not in the observation, which is p. An episode is 32
steps and never terminates. Standing still returns about -32, walking straight to the goal -3 to -5. Three families by where goals lie:

    point-goal           within 45 degrees of the x axis: moving ahead is right in every task, and can be learned across tasks; the
                         direction within the sector only the rewards of the current task reveal
    point-goal-circle    anywhere on the circle: only the rewards of the current task reveal the direction
    point-goal-halves    within 90 degrees of it for training, behind the start for testing: the halves of GoalAnt (`envs/goals.py`)

A policy's return is smooth in what it does and every step is rewarded, so a gradient of two episodes points roughly the right way.

Reference: the 2-D navigation of Finn et al. (2017), arXiv 1703.03400, 5.3, whose actions are also clipped to steps of 0.1. Deviations:
goals at one distance, against the unit square, so that no start is near to one; the distance, against its square, whose slope vanishes
at the goal; 32 steps, against 100 that end within 0.01 m of the goal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box

from envs.classic.base import NumpyEnv
from envs.goals import GOAL_X, GOAL_Y, GoalRing
from envs.slots import RowRandom

EPISODE_STEPS = 32
STEP_LENGTH = 0.1  # m along each axis, at most: ten steps or fewer from the start to the goal
START_SPREAD = 0.05  # m along each axis: episodes differ, goals stay as far
ARENA = 2.0  # m from the origin to each wall, so that what a policy sees stays of the order of one

AHEAD = GoalRing(near=1.0, far=1.0, reach=math.pi / 4)
CIRCLE = GoalRing(near=1.0, far=1.0)
HALVES = GoalRing(near=1.0, far=1.0, has_halves=True)


class PointGoal(NumpyEnv):
    """State and observation (x, y); the action is a step, in tenths of a metre along each axis."""

    observation = Box(-ARENA, ARENA, (2,), np.float32)
    action = Box(-1.0, 1.0, (2,), np.float32)
    max_steps = EPISODE_STEPS
    defaults: ClassVar[Mapping[str, float]] = {GOAL_X: 1.0, GOAL_Y: 0.0}

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Near the origin."""
        return rng.uniform(-START_SPREAD, START_SPREAD, (len(slots), 2))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step; reward minus the distance from the goal that it ends at."""
        after = np.clip(state + STEP_LENGTH * np.clip(actions, -1.0, 1.0), -ARENA, ARENA)
        distance = np.hypot(after[:, 0] - self.param(GOAL_X), after[:, 1] - self.param(GOAL_Y))
        return after, -distance, np.zeros(self.num_envs, np.bool_)


class VisiblePointGoal(PointGoal):
    """The same, observed as (x, y, goal x, goal y)."""

    observation = Box(-ARENA, ARENA, (4,), np.float32)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Where the point is, and where the goal."""
        return np.column_stack([state, self.param(GOAL_X), self.param(GOAL_Y)]).astype(np.float32)
