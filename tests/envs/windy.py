"""A family that draws in its steps: wind of a task's strength, rewards with noise, and ends by chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box

from envs.classic.base import NumpyEnv
from envs.classic.family import NumpyFamily
from envs.slots import RowRandom
from envs.task import Parameter

NAME = "tests.envs.windy:FAMILY"


class Windy(NumpyEnv):
    """A point on a line."""

    observation, action, max_steps = Box(-100.0, 100.0, (1,), np.float32), Box(-1.0, 1.0, (1,), np.float32), 60
    defaults: ClassVar[Mapping[str, float]] = {"wind": 1.0}

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, (len(slots), 1))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        after = state + 0.1 * actions + rng.normal(0.0, self.param("wind")[:, None])
        return after, rng.uniform(size=len(state)) - np.abs(after[:, 0]), rng.random(len(state)) < 0.02

    def observe(self, state: np.ndarray) -> np.ndarray:
        return state.astype(np.float32)


FAMILY = NumpyFamily(
    name="windy", doc="walk in the wind", env=Windy, parameters=(Parameter(name="wind", doc="its strength", low=0.1, high=1.0),)
)
