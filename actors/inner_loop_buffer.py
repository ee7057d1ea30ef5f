"""What the inner loop records of its lifetimes: the steps between two updates, finished episodes, and whether rewards were finite."""

from __future__ import annotations

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
    """The steps of one update, time-major while they are written, and the episodes that ended.

    Attributes:
        episodes: that ended, in order of their ends.
    """

    def __init__(self, lifetimes: Lifetimes, num_steps: int) -> None:
        spec, self._dtype, size = lifetimes.spec, lifetimes.dtype, (num_steps, lifetimes.num_lifetimes)
        self.episodes: list[InnerEpisode] = []
        floats = torch.empty((), dtype=lifetimes.dtype).numpy().dtype
        self._steps = {name: np.empty((*size, spec.obs_shape[0]), floats) for name in ("obs", "next_obs")} | {
            "action": np.empty((*size, spec.num_actions or spec.action_size), floats),
            "reward": np.empty(size, floats),
            "is_terminated": np.empty(size, np.bool_),
            "is_truncated": np.empty(size, np.bool_),
        }
        self._returns, self._lengths = np.zeros(lifetimes.num_lifetimes), np.zeros(lifetimes.num_lifetimes, np.int64)
        self._are_returns_finite = np.ones(lifetimes.num_lifetimes, np.bool_)

    def tensor(self, obs: np.ndarray) -> torch.Tensor:
        """Observations as the policies read them."""
        return torch.from_numpy(obs).to(self._dtype)

    def write(self, t: int, *, reward: np.ndarray, **fields: np.ndarray) -> None:
        """Record step t of every lifetime: the fields of `Steps`, [L, ...] each."""
        for name, rows in (("reward", reward), *fields.items()):
            self._steps[name][t] = rows
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
        """The steps with the lifetimes along the first axis."""
        return Steps(**{name: torch.from_numpy(rows).transpose(0, 1).contiguous() for name, rows in self._steps.items()})

    @property
    def are_rewards_finite(self) -> np.ndarray:
        """Whether all rewards of each lifetime were finite, [L]: a sum keeps what is not, so the returns tell."""
        return self._are_returns_finite & np.isfinite(self._returns)
