"""What lives go through: the steps of an update, the episodes that end on the way, and what of it was not a finite number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from learners.learned_loss.buffer import Steps
from learners.learned_loss.inner_loop import Lives

What = Literal["observation", "reward", "action", "parameters", "gradient", "fitness"]
"""What was NaN or infinite in a life, from the environment inwards; the first of them explains the others. The fitness is named where an
older version noted nothing else."""


@dataclass(frozen=True, kw_only=True)
class LivedEpisode:
    """An episode that ended during a life.

    Attributes:
        life: index of the life.
        end_step: steps of the life behind its end.
        episode_return: undiscounted.
        length: in steps.
    """

    life: int
    end_step: int
    episode_return: float
    length: int


class Experience:
    """The steps of one update, and the episodes that ended, as they come; time-major while they are written."""

    def __init__(self, lives: Lives, num_steps: int) -> None:
        spec, num_lives = lives.spec, lives.num_lives
        self.episodes: list[LivedEpisode] = []
        self._dtype = lives.dtype
        kind = torch.empty((), dtype=lives.dtype).numpy().dtype
        size = (num_steps, num_lives)
        self._obs, self._next_obs = (np.empty((*size, spec.obs_shape[0]), kind) for _ in range(2))
        self._action = np.empty((*size, spec.num_actions or spec.action_size), kind)
        self._reward, self._terminated, self._truncated = np.empty(size, kind), np.empty(size, np.bool_), np.empty(size, np.bool_)
        self._returns, self._lengths = np.zeros(num_lives), np.zeros(num_lives, np.int64)
        self._are_returns_finite = np.ones(num_lives, np.bool_)

    def tensor(self, obs: np.ndarray) -> torch.Tensor:
        """Observations as the policies take them."""
        return torch.from_numpy(obs).to(self._dtype)

    def write(
        self,
        step: int,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        next_obs: np.ndarray,
    ) -> None:
        """Note one step of every life."""
        self._obs[step], self._action[step], self._reward[step] = obs, action, reward
        self._terminated[step], self._truncated[step], self._next_obs[step] = terminated, truncated, next_obs
        self._returns += reward
        self._lengths += 1

    def end_episodes(self, slots: np.ndarray, end_step: int) -> None:
        """Note that the episodes of these lives ended."""
        for life in slots.tolist():
            episode_return, length = float(self._returns[life]), int(self._lengths[life])
            self.episodes.append(LivedEpisode(life=life, end_step=end_step, episode_return=episode_return, length=length))
        self._are_returns_finite[slots] &= np.isfinite(self._returns[slots])
        self._returns[slots], self._lengths[slots] = 0.0, 0

    def steps(self) -> Steps:
        """The steps, life-major."""

        def turned(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array).transpose(0, 1).contiguous()

        return Steps(
            obs=turned(self._obs),
            action=turned(self._action),
            reward=turned(self._reward),
            is_terminated=turned(self._terminated),
            is_truncated=turned(self._truncated),
            next_obs=turned(self._next_obs),
        )

    @property
    def are_rewards_finite(self) -> np.ndarray:
        """Whether all rewards of each life were, [L]: a sum keeps what is not finite, so the returns say it."""
        return self._are_returns_finite & np.isfinite(self._returns)
