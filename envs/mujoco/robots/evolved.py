"""The robots of Evolved Policy Gradients that are rewarded for speed alone: Hopper, Walker2d and HalfCheetah, of random build or direction.

    r = (x' - x) / dt          random-hopper, random-walker: forward, on a body of the task's
    r = d (x' - x) / dt        directional-hopper, directional-halfcheetah: d = 1 forward or -1 backward, by the task

No bonus for being alive and no cost of control, so a return is the distance covered over dt. Hopper and Walker2d take two steps of the
physics to one of the environment (dt = 0.004 s), and an episode is 1,000 steps. A hopper's episode ends where it is no higher than 0.7 m,
has a state of 100 or more, or, except in directional-hopper, leans by 0.5 rad. Observations and starts are gymnasium's.

Reference: Houthooft et al. (2018), arXiv 1802.04821; its released hopper.py and random_robots.py. Of the paper's walker and cheetah no code
was released. Deviations:

1. The random bodies are those of `envs/mujoco/robots/dynamics.py`, whose deviations 1 to 4 hold here too. Its 5 does not: reward, end and
   frame skip are as released.
2. The models are gymnasium's conversions of the released XML files, whose global coordinates MuJoCo no longer reads.
3. directional-hopper has two tasks. In the released code the direction was drawn so that it never varied: always backward.
4. random-walker, not released, is random-hopper applied to Walker2d: the same ranges, reward and frame skip, and gymnasium's end of an
   episode (not between 0.8 m and 2 m high, or leaning by 1 rad).
5. directional-halfcheetah, not released, has the hopper's reward, without a cost of control, and gymnasium's frame skip (dt = 0.05 s). It
   never terminates.
"""

from __future__ import annotations

import math

from envs.mujoco.robots.dynamics import RandomisedHopper, RandomisedWalker2d
from envs.mujoco.robots.goals import DirectionGoal
from envs.mujoco.robots.walkers import HalfCheetah, Hopper, UprightRobot


class PaidBySpeed(UprightRobot):
    """An upright robot without a reward for being upright and a cost of control."""

    frame_skip = 2
    ctrl_cost_weight = 0.0
    healthy_reward = 0.0


class RandomHopper(PaidBySpeed, RandomisedHopper):
    """Hopper with its task's masses, friction, thickness and gravity, that runs forward."""

    max_angle = 0.5


class RandomWalker(PaidBySpeed, RandomisedWalker2d):
    """Walker2d with its task's masses, friction, thickness and gravity, that runs forward."""


class DirectionalHopper(DirectionGoal, PaidBySpeed, Hopper):
    """Hopper that runs in its task's direction, at any inclination."""

    max_angle = math.inf


class DirectionalHalfCheetah(DirectionGoal, HalfCheetah):
    """HalfCheetah that runs in its task's direction, at no cost."""

    ctrl_cost_weight = 0.0
