"""Environments that break what a lifetime relies on, as `gym:tests.cluster.commands.lifetimes.broken:Endless-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class Endless(gymnasium.Env[np.ndarray, int]):
    """An episode that nothing ends."""

    observation_space = Box(-1.0, 1.0, (4,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32), float(action), False, False, {}


class SometimesNan(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point in the plane whose twentieth observation is NaN now and then: later than any trial before a run.

    Args:
        chance: that it is, in an episode.
    """

    observation_space = Box(-10, 10, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, chance: float) -> None:
        self._chance = chance

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._place, self._time = np.zeros(2, np.float32), 0
        return self._place.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._place = np.clip(self._place + 0.1 * action, -5, 5).astype(np.float32)
        self._time += 1
        is_bad = self._time == 20 and self.np_random.random() < self._chance
        reward = -float(np.abs(self._place - 1).sum())
        return self._place * np.float32(np.nan if is_bad else 1), reward, False, self._time >= 32, {}


gymnasium.register("Endless-v0", entry_point=Endless)
gymnasium.register("SometimesNan-v0", entry_point=SometimesNan, kwargs={"chance": 0.05})
gymnasium.register("OftenNan-v0", entry_point=SometimesNan, kwargs={"chance": 0.5})
