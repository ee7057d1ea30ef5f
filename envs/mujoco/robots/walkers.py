"""Planar runners: Hopper, Walker2d and HalfCheetah, whose observation is the state without the root's x position.

    r = x_velocity + 1 [healthy] - w * sum a^2,        x_velocity = (x' - x) / dt

HalfCheetah has no healthy term and no terminal state. Reference: gymnasium's hopper_v5.py, walker2d_v5.py, half_cheetah_v5.py.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from mujoco.batch import Batch

from envs.mujoco.robot import Robot, squared_sum

MAX_OBSERVED_SPEED = 10.0
"""Hopper and Walker2d see velocities clipped to this (m/s, rad/s)."""


class Runner(Robot):
    """A robot whose first coordinate is x, rewarded for its speed along x at a cost of control; it never terminates by itself.

    Attributes:
        ctrl_cost_weight: w.
        healthy_reward: of each step on which it is healthy.
    """

    ctrl_cost_weight: ClassVar[float]
    healthy_reward: ClassVar[float] = 0.0
    is_endless = True
    hidden_positions = 1

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._x = self.qpos[:, 0]
        self._x_before = np.zeros(batch.nsim)

    def keep(self) -> None:
        """Keep the position before a step."""
        self._x_before[:] = self._x

    def x_velocity(self) -> Float[np.ndarray, " B"]:
        """Return the mean velocity of the root along x over the step, in m/s."""
        velocity: Float[np.ndarray, " B"] = self._x - self._x_before
        velocity /= self.dt
        return velocity

    def outcome(self, action: Float[np.ndarray, "B A"]) -> tuple[Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return reward and terminated; see `Robot.outcome`."""
        healthy = self.healthy()
        reward = self.progress(self.x_velocity()) + self.healthy_reward * healthy
        return reward - self.ctrl_cost_weight * squared_sum(action), ~healthy

    def healthy(self) -> Bool[np.ndarray, " B"]:
        """Return which robots are upright and whole: all."""
        return np.ones(len(self._x), dtype=np.bool_)


class HalfCheetah(Runner):
    """A two-legged cheetah that runs along x and never falls out of its episode."""

    xml_file = "half_cheetah.xml"
    frame_skip = 5
    gymnasium_id = "HalfCheetah-v5"
    reset_noise = 0.1
    has_gaussian_velocity = True
    ctrl_cost_weight = 0.1


class UprightRobot(Runner):
    """A planar robot that is rewarded for staying upright; its episode ends when it does not."""

    ctrl_cost_weight = 1e-3
    healthy_reward = 1.0
    is_endless = False
    reset_noise = 5e-3

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self._z = self.qpos[:, 1]
        self._angle = self.qpos[:, 2]

    def observe(self, out: Float[np.ndarray, "B O"]) -> None:
        """Write every observation to `out`."""
        super().observe(out)
        velocity = out[:, self.qpos.shape[1] - self.hidden_positions :]
        np.clip(velocity, -MAX_OBSERVED_SPEED, MAX_OBSERVED_SPEED, out=velocity)


class Hopper(UprightRobot):
    """A one-legged hopper: healthy above 0.7 m, within 0.2 rad of upright and with no state beyond 100."""

    xml_file = "hopper.xml"
    frame_skip = 4
    gymnasium_id = "Hopper-v5"
    max_angle: ClassVar[float] = 0.2

    def healthy(self) -> Bool[np.ndarray, " B"]:
        """Return which robots are upright and whole."""
        is_bounded = (np.abs(self.qpos[:, 2:]) < 100.0).all(axis=1) & (np.abs(self.qvel) < 100.0).all(axis=1)
        healthy: Bool[np.ndarray, " B"] = is_bounded & (self._z > 0.7) & (np.abs(self._angle) < self.max_angle)
        return healthy


class Walker2d(UprightRobot):
    """A two-legged walker: healthy between 0.8 m and 2 m and within 1 rad of upright."""

    xml_file = "walker2d_v5.xml"
    frame_skip = 4
    gymnasium_id = "Walker2d-v5"

    def healthy(self) -> Bool[np.ndarray, " B"]:
        """Return which robots are upright and whole."""
        healthy: Bool[np.ndarray, " B"] = (self._z > 0.8) & (self._z < 2.0) & (np.abs(self._angle) < 1.0)
        return healthy
