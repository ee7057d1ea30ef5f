"""Goal velocity and goal direction for HalfCheetah and Ant, the benchmark of MAML and the papers after it.

    velocity:   r = -|v - v*| - c(a)  (cheetah),     r = 1 - |v - v*| + 0.05 - c(a) - c(f)  (ant)
    direction:  r = d * v - c(a)      (cheetah),     r = d * v + 0.05 - c(a) - c(f)         (ant)

with c(a) = 0.05 sum a^2 for the cheetah, c(a) = 0.005 sum a^2 and c(f) = 0.0005 sum clip(f, -1, 1)^2 for the ant, actions in [-1, 1],
and d = 1 forward or -1 backward. The goal is not in the observation, and an episode is 200 steps. Reference: Finn et al. (2017), A.2, with
the constants of its released code (maml_rl: half_cheetah_env_rand.py, half_cheetah_env_rand_direc.py, ant_env_rand.py,
ant_env_rand_direc.py). Deviations:

1. The physics, observations and resets are those of gymnasium's version 5 (a step of 0.05 s against 0.01 s or 0.02 s), and v is the
   root's mean speed over the step, as in ProMP, against the speed of the centre of mass.
2. Goal velocities are from U(0, 3) m/s for both robots, as in ProMP; MAML has U(0, 2) for the cheetah.
3. Ant is rewarded 0.05 for surviving while it is healthy, so not on the step on which it falls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from mujoco.batch import Batch

from envs.mujoco.robot import Robot, Slots
from envs.mujoco.robots.ant import Ant
from envs.mujoco.robots.walkers import HalfCheetah
from envs.task import Parameter, Task

EPISODE_STEPS = 200
"""Steps of an episode (MAML, A.2)."""

FORWARD, BACKWARD = "forward", "backward"

VELOCITY = Parameter(name="velocity", doc="speed along x to run at, m/s", low=0.0, high=3.0)
DIRECTION = Parameter(name="direction", doc="way along x to run", choices=(FORWARD, BACKWARD))


class VelocityGoal(Robot):
    """A robot whose progress is `bonus - |v - v*|`."""

    parameters = (VELOCITY,)
    max_episode_steps = EPISODE_STEPS
    bonus: float = 0.0

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._goal = np.zeros(batch.nsim)

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; see `Robot.take_up`."""
        self._goal[slots] = [task.number(VELOCITY.name) for task in tasks]

    def progress(self, x_velocity: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        """Return the reward of moving at `x_velocity` (m/s)."""
        worth: Float[np.ndarray, " B"] = self.bonus - np.abs(x_velocity - self._goal)
        return worth


class DirectionGoal(Robot):
    """A robot whose progress is its speed in its task's direction."""

    parameters = (DIRECTION,)

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._sign = np.ones(batch.nsim)

    def take_up(self, slots: Slots, tasks: Sequence[Task]) -> None:
        """Set the tasks of `slots`; see `Robot.take_up`."""
        self._sign[slots] = [1.0 if task[DIRECTION.name] == FORWARD else -1.0 for task in tasks]

    def progress(self, x_velocity: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        """Return what moving at `x_velocity` (m/s) is worth."""
        worth: Float[np.ndarray, " B"] = self._sign * x_velocity
        return worth


class HalfCheetahVelocity(VelocityGoal, HalfCheetah):
    """HalfCheetah that runs at its task's speed."""

    ctrl_cost_weight = 0.05


class HalfCheetahDirection(DirectionGoal, HalfCheetah):
    """HalfCheetah that runs in its task's direction."""

    max_episode_steps = EPISODE_STEPS
    ctrl_cost_weight = 0.05


class AntVelocity(VelocityGoal, Ant):
    """Ant that runs at its task's speed; a bonus of 1 keeps it from ending the episode to escape its costs."""

    bonus = 1.0
    ctrl_cost_weight = 0.005
    healthy_reward = 0.05


class AntDirection(DirectionGoal, Ant):
    """Ant that runs in its task's direction."""

    max_episode_steps = EPISODE_STEPS
    ctrl_cost_weight = 0.005
    healthy_reward = 0.05
