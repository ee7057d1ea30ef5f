"""Pendulum: swing a pendulum up and hold it there with little torque.

Equal to gymnasium's Pendulum-v1: 200 steps, never terminates.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box

from envs.classic.base import NumpyEnv
from envs.slots import RowRandom

_TIME_STEP = 0.05  # s
_GRAVITY = 10.0  # m/s^2
_MAX_SPEED = 8.0  # rad/s
_MAX_TORQUE = 2.0  # N m
_HIGH = np.array([1.0, 1.0, _MAX_SPEED], np.float32)


class Pendulum(NumpyEnv):
    """State (theta, theta'), zero upright; action is the torque, clipped to 2 N m; mass 1 kg, length 1 m."""

    observation = Box(-_HIGH, _HIGH, dtype=np.float32)
    action = Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32)
    max_steps = 200

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Any angle, at most 1 rad/s."""
        high = np.array([np.pi, 1.0])
        return rng.uniform(-high, high, (len(slots), 2))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One semi-implicit Euler step; reward -(theta^2 + 0.1 theta'^2 + 0.001 torque^2) of the state before it."""
        theta, speed = state.T
        torque = np.clip(actions[:, 0], -_MAX_TORQUE, _MAX_TORQUE)
        angle = ((theta + np.pi) % (2 * np.pi)) - np.pi
        cost = angle**2 + 0.1 * speed**2 + 0.001 * torque**2
        speed = np.clip(speed + (3 * _GRAVITY / 2 * np.sin(theta) + 3.0 * torque) * _TIME_STEP, -_MAX_SPEED, _MAX_SPEED)
        return np.array([theta + speed * _TIME_STEP, speed]).T, -cost, np.zeros(self.num_envs, np.bool_)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(cos theta, sin theta, theta')."""
        theta, speed = state.T
        return np.stack([np.cos(theta), np.sin(theta), speed], axis=1, dtype=np.float32, casting="same_kind")
