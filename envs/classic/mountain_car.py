"""Mountain car: rock an underpowered car out of a valley, with three pushes or with a continuous one.

Equal to gymnasium's MountainCar-v0 (200 steps) and MountainCarContinuous-v0 (999 steps).

Reference: Moore (1990), "Efficient memory-based learning for robot control".
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.slots import RowRandom

_MIN_POSITION, _MAX_POSITION, _MAX_SPEED = -1.2, 0.6, 0.07


def _roll(position: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bound the speed, move, and stop at the left wall."""
    speed = np.clip(speed, -_MAX_SPEED, _MAX_SPEED)
    position = np.clip(position + speed, _MIN_POSITION, _MAX_POSITION)
    return position, np.where((position == position.dtype.type(_MIN_POSITION)) & (speed < 0), 0, speed)


class MountainCar(NumpyEnv):
    """State (position, speed); actions 0, 1, 2 push left, not, right; reward -1 a step until position 0.5."""

    observation = Box(np.array([_MIN_POSITION, -_MAX_SPEED], np.float32), np.array([_MAX_POSITION, _MAX_SPEED], np.float32))
    action: ClassVar[Space[Any]] = Discrete(3)
    max_steps = 200

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """At rest, anywhere in [-0.6, -0.4]."""
        return np.array([rng.uniform(-0.6, -0.4, len(slots)), np.zeros(len(slots))]).T

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of unit time."""
        position, speed = state.T
        position, speed = _roll(position, speed + (actions - 1) * 0.001 - 0.0025 * np.cos(3 * position))
        return np.array([position, speed]).T, np.full(self.num_envs, -1.0), (position >= 0.5) & (speed >= 0)


class MountainCarContinuous(MountainCar):
    """State (position, speed); the action is the push, clipped to [-1, 1]; reward 100 at position 0.45, less 0.1 push^2 before clipping."""

    action = Box(-1.0, 1.0, (1,), np.float32)
    max_steps = 999

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The same in single precision."""
        return super().initial_state(slots, rng).astype(np.float32)

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step of unit time, in single precision as gymnasium keeps its state."""
        position, speed = state.T
        push = np.clip(actions[:, 0], -1.0, 1.0)
        pull = 0.0025 * np.cos((3 * position).astype(np.float64))
        position, speed = _roll(position, speed + (push * 0.0015 - pull.astype(np.float32)).astype(np.float32))
        terminated = (position >= 0.45) & (speed >= 0)
        reward = np.where(terminated, 100.0, 0.0) - 0.1 * np.square(actions[:, 0], dtype=np.float64)
        return np.array([position, speed]).T, reward, terminated
