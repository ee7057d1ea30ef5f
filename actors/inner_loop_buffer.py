"""What the inner loop records of its lifetimes: the steps between two updates, finished episodes, and whether rewards were finite."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from learners.learned_loss.buffer import Steps
from learners.learned_loss.inner_loop import Lifetimes

Quantity = Literal["observation", "reward", "action", "parameters", "gradient", "fitness"]
"""What can be NaN or infinite in a lifetime, from the environment inwards; the first of them explains the others. The fitness is named
where an older version recorded nothing else."""


@dataclass(frozen=True, kw_only=True)
class InnerEpisode:
    """An episode that ended while a lifetime learned.

    Attributes:
        lifetime: its index.
        end_step: steps that the lifetime had taken at the episode's end.
        episode_return: undiscounted.
        length: in steps.
    """

    lifetime: int
    end_step: int
    episode_return: float
    length: int


class InnerLoopBuffer:
    """The steps of one update, and the episodes that ended.

    Attributes:
        episodes: that ended, in order of their ends.
    """

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._dtype = lifetimes.dtype
        self.episodes: list[InnerEpisode] = []
        self._steps: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        self._returns, self._lengths = np.zeros(lifetimes.num_lifetimes), np.zeros(lifetimes.num_lifetimes, np.int64)
        self._are_returns_finite = np.ones(lifetimes.num_lifetimes, np.bool_)

    def tensor(self, obs: np.ndarray) -> torch.Tensor:
        """Observations as the policies read them."""
        return torch.from_numpy(obs).to(self._dtype)

    def write(self, *, reward: np.ndarray, **fields: np.ndarray) -> None:
        """Record a step of every lifetime: the fields of `Steps`, [L, ...] each, which are kept as they are."""
        for name, rows in (("reward", reward), *fields.items()):
            self._steps[name].append(rows)
        self._returns += reward
        self._lengths += 1

    def end_episodes(self, slots: np.ndarray, end_step: int) -> None:
        """Record that the episodes of these lifetimes ended."""
        for slot in slots.tolist():
            value, length = float(self._returns[slot]), int(self._lengths[slot])
            self.episodes.append(InnerEpisode(lifetime=slot, end_step=end_step, episode_return=value, length=length))
        self._are_returns_finite[slots] &= np.isfinite(self._returns[slots])
        self._returns[slots], self._lengths[slots] = 0.0, 0

    def steps(self) -> Steps:
        """The steps since the last call, with the lifetimes along the first axis."""
        stacked = {name: torch.from_numpy(np.stack(rows, axis=1)) for name, rows in self._steps.items()}
        self._steps.clear()
        return Steps(**{name: rows if rows.dtype == torch.bool else rows.to(self._dtype) for name, rows in stacked.items()})

    @property
    def are_rewards_finite(self) -> np.ndarray:
        """Whether all rewards of each lifetime were finite, [L]: a sum keeps what is not, so the returns tell."""
        return self._are_returns_finite & np.isfinite(self._returns)
