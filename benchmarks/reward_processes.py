"""Markov reward processes on which the best discount, or the best trace parameter, differs from state to state.

There are no actions: an episode passes through the states 1 .. K in order and terminates, and the value of each state is learned.

    MRP-gamma   K = 10. The reward of leaving an odd state is 0.1 (signal), of leaving an even one N(0, 1) (noise).
                A discount near 0 on entering even states and near 1 on entering odd ones keeps the noise out of the return.
    MRP-lambda  K = 9. The reward of leaving an odd state is x ~ N(0, 1), of leaving the next one -x; the state does not show x.
                After a pair, on entering an odd state, the value is known: bootstrap (lambda near 0). Within one, on entering an even
                state, only the return knows x: do not (lambda near 1). The reward of state 9 is N(0, 1), and nothing follows.

Reference: Xu, van Hasselt, Silver (2018), "Meta-Gradient Reinforcement Learning", arXiv 1805.09801, the illustrative examples.
Letters: T time, N walks, K states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SIGNAL = 0.1
"""Reward of leaving an odd state of MRP-gamma."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Episodes of N processes, one after the other, with the reset rows of next-step autoreset between them.

    Attributes:
        state: [T+1, N], counted from zero: state k of the text is k - 1 here, and K is the terminal state.
        reward: [T, N], on leaving step t.
        terminated: [T, N], the episode ended at step t.
        is_first: [T+1, N], the state is the first of its episode; the step that led to it is no experience.
    """

    state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    is_first: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RewardProcess:
    """A process that passes through its states in order.

    Attributes:
        name: as users type it.
        num_states: K, the terminal state not among them.
        draw_rewards: the rewards [K] of one episode, all randomness from the generator.
    """

    name: str
    num_states: int
    draw_rewards: Callable[[np.random.Generator], np.ndarray]

    def walk(self, generators: Sequence[np.random.Generator], num_episodes: int = 1) -> Walk:
        """Draw `num_episodes` episodes of N walks, walk n by its own generator, so that it does not depend on the others."""
        length = self.num_states + 1  # rows of an episode: its steps and the reset after it
        rewards = [
            np.concatenate([np.append(self.draw_rewards(rng), 0.0) for _ in range(num_episodes)])[:-1] for rng in generators
        ]
        rows = np.arange(num_episodes * length) % length

        def columns(row: np.ndarray) -> np.ndarray:
            return np.tile(row[:, None], (1, len(generators)))

        return Walk(
            state=columns(rows),
            reward=np.stack(rewards, axis=1),
            terminated=columns(rows[1:] == self.num_states),
            is_first=columns(rows == 0),
        )


def _signal_and_noise(rng: np.random.Generator) -> np.ndarray:
    rewards = np.full(10, SIGNAL)
    rewards[1::2] = rng.standard_normal(5)
    return rewards


def _cancelling_rewards(rng: np.random.Generator) -> np.ndarray:
    rewards = np.repeat(rng.standard_normal(5), 2)[:9]
    rewards[1::2] *= -1.0
    return rewards


MRP_GAMMA = RewardProcess(name="mrp-gamma", num_states=10, draw_rewards=_signal_and_noise)
MRP_LAMBDA = RewardProcess(name="mrp-lambda", num_states=9, draw_rewards=_cancelling_rewards)
