"""The Discounting Chain: five delayed rewards, one of which is a little larger; a discount below one prefers the wrong one.

    t = 0   the action chooses one of five chains, with one reward each: on step 1, 3, 10, 30 or 100
    later   actions change nothing; the episode terminates on step 100
    reward  1, and 1.1 on the better chain (by default that of 30 steps)

The return of the best policy is 1.1 whatever the discount that trained it; but a learner with discount gamma values chain k at
gamma^(k - 1), so it takes the first chain for every gamma below 0.9967 = (1 / 1.1)^(1 / 29). A method that tunes gamma must discover that.

Equal to bsuite's `DiscountingChain` (`mapping_seed` 3 is the default here).

Reference: Osband et al. (2020), "Behaviour suite for reinforcement learning", arXiv 1908.03568.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.classic.base import NumpyEnv
from envs.errors import out_of_range
from envs.slots import RowRandom
from envs.task import Task

EPISODE_STEPS = 100

PAYS_ON_STEP = np.array([1, 3, 10, 30, 100])
"""The step, counted from one, on which a chain is rewarded."""

_BETTER_BY = 0.1
_NO_CHAIN = -1.0


class DiscountingChain(NumpyEnv):
    """State (chain, t), chain -1 at the start; observation (chain, t / 100); task parameter `better`: the better chain, by its step."""

    observation = Box(
        np.array([_NO_CHAIN, 0.0], np.float32), np.array([len(PAYS_ON_STEP) - 1, 1.0], np.float32), dtype=np.float32
    )
    action = Discrete(len(PAYS_ON_STEP))
    defaults: ClassVar[Mapping[str, float]] = {"better": 30.0}

    def assign(self, slot: int, task: Task) -> None:
        """Set the task of `slot` from its next reset on.

        Raises:
            InvalidInputError: no chain is rewarded on the step that the task calls better.
        """
        better = dict(task.params).get("better")
        if better is not None and float(better) not in PAYS_ON_STEP:
            raise out_of_range("better", better, ", ".join(map(str, PAYS_ON_STEP.tolist())))
        super().assign(slot, task)

    def initial_state(self, slots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """No chain chosen, t = 0; deterministic."""
        return np.tile([_NO_CHAIN, 0.0], (len(slots), 1))

    def advance(self, state: np.ndarray, actions: np.ndarray, rng: RowRandom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One step along the chain, which the first action chooses."""
        chain = np.where(state[:, 0] == _NO_CHAIN, actions, state[:, 0])
        t = state[:, 1] + 1
        pays_on_step = PAYS_ON_STEP[chain.astype(np.int64)]
        reward = np.where(t == pays_on_step, np.where(pays_on_step == self.param("better"), 1.0 + _BETTER_BY, 1.0), 0.0)
        return np.array([chain, t]).T, reward, t >= EPISODE_STEPS

    def observe(self, state: np.ndarray) -> np.ndarray:
        """(chain, t / 100)."""
        return (state / [1.0, EPISODE_STEPS]).astype(np.float32)


class TabularDiscountingChain(DiscountingChain):
    """The same; observation one-hot over the start and every (chain, t), so that a linear network can hold any value and policy."""

    observation = Box(0.0, 1.0, (1 + len(PAYS_ON_STEP) * EPISODE_STEPS,), np.float32)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Entry 0 at the start, entry 100 chain + t afterwards."""
        chain, t = state.astype(np.int64).T
        one_hot = np.zeros((len(state), 1 + len(PAYS_ON_STEP) * EPISODE_STEPS), np.float32)
        one_hot[np.arange(len(state)), np.where(t == 0, 0, chain * EPISODE_STEPS + t)] = 1.0
        return one_hot
