"""Take or invest: a small reward now, or a large one some steps later; which has the higher value depends on the discount.

    take    (action 0)  0.3 on this step
    invest  (action 1)  1 on the step `delay` steps later, nothing now; lost if the episode has ended by then

An episode terminates after 100 steps. With discount gamma an investment is worth gamma^delay, so a learner invests where gamma^delay > 0.3:

    gamma     0.8    0.9     0.95   0.99   1
    invests   never  to 11   all    all    all      for delays of 6 to 15 steps

Always taking returns 30; investing while there is time, then taking, returns 100 - 0.7 delay, which is the optimum. The environment is
deterministic and the observation holds all pending rewards, so the only noise of a return is the policy's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.errors import out_of_range
from envs.slots import RowRandom
from envs.task import Parameter, Task

EPISODE_STEPS = 100
TAKE, INVEST = 0, 1
TAKEN, INVESTED = 0.3, 1.0
"""Rewards of the two actions, the second one `delay` steps later."""

MAX_DELAY = 15

DELAY = Parameter(name="delay", doc="steps until an investment pays, rounded to a whole number", low=6.0, high=float(MAX_DELAY))
"""From the shortest delay at which a discount of 0.8 still takes, by some margin: 0.8^6 = 0.26."""


class DelayedReward(NumpyEnv):
    """State (t, rewards due in 1 .. 15 steps); observation (t / 100, delay / 15, rewards due in 1 .. 15 steps)."""

    observation = Box(0.0, 1.0, (2 + MAX_DELAY,), np.float32)
    action = Discrete(2)
    defaults: ClassVar[Mapping[str, float]] = {"delay": 10.0}

    def assign(self, slot: int, task: Task) -> None:
        """Set the task of `slot` from its next reset on.

        Raises:
            InvalidInputError: its delay is none that the observation has room for.
        """
        delay = dict(task.params).get("delay")
        if delay is not None and not 1 <= np.rint(float(delay)) <= MAX_DELAY:
            raise out_of_range("delay", delay, f"[1, {MAX_DELAY}]")
        super().assign(slot, task)

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Nothing pending, t = 0."""
        return np.zeros((len(slots), 1 + MAX_DELAY))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step: take or invest; pending rewards move one step nearer."""
        t = state[:, 0] + 1
        after = np.zeros_like(state)
        after[:, 0] = t
        after[:, 1:-1] = state[:, 2:]
        delay = np.rint(self.param("delay")).astype(np.int64)
        is_invested = np.flatnonzero(actions == INVEST)
        after[is_invested, delay[is_invested]] = INVESTED
        return after, state[:, 1] + np.where(actions == TAKE, TAKEN, 0.0), t >= EPISODE_STEPS

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(t / 100, delay / 15, rewards due in 1 .. 15 steps)."""
        delay = np.rint(self.param("delay")) / MAX_DELAY
        return np.column_stack([state[:, 0] / EPISODE_STEPS, delay, state[:, 1:]]).astype(np.float32)
