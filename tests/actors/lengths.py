"""A family whose tasks are lengths of episodes, so that ends are known; each step has reward 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.classic.family import NumpyFamily
from envs.slots import RowRandom
from envs.task import Parameter, Task

PARAMETERS = (Parameter(name="length", doc="steps of an episode", low=2.0, high=9.0),)


class Lengths(NumpyEnv):
    """Terminates after `length` steps."""

    observation = Box(0.0, 1000.0, (1,), np.float32)
    action = Discrete(2)
    defaults: ClassVar[Mapping[str, float]] = {"length": 3.0}

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.zeros((len(slots), 1))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        after = state + 1
        return after, np.ones(self.num_envs), after[:, 0] >= np.floor(self.param("length"))

    def observe(self, state: np.ndarray) -> np.ndarray:
        return state.astype(np.float32)


class Truncated(Lengths):
    """The same with a limit in place of an end: every episode is truncated at 4 steps."""

    max_steps = 4

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        after, reward, terminated = super().advance(state, actions, rng)
        return after, reward, np.zeros_like(terminated)


TERMINATING = NumpyFamily(name="lengths", doc="episodes of known lengths", env=Lengths, parameters=PARAMETERS)
TRUNCATING = NumpyFamily(name="truncated-lengths", doc="episodes cut at 4 steps", env=Truncated, parameters=PARAMETERS)


def task(length: float) -> Task:
    """The task whose episodes have this length."""
    return Task(family=TERMINATING.name, params=(("length", length),))
