"""Index observations as one-hot vectors, for learners that read nothing but vectors.

A vector is as long as the indices have values, and every observation is one: for a hundred states that is nothing, for 20,000 it is 80 kB
an observation. The networks of `learners.networks.agent` look indices up instead.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box

from envs.batched import BatchedEnv
from envs.observations import index_sizes


def as_vectors(env: BatchedEnv) -> BatchedEnv:
    """Return `env`, its indices turned into one-hot vectors where it observes any."""
    return cast(BatchedEnv, OneHotEnv(env)) if index_sizes(env.single_observation_space) else env


class OneHotEnv:
    """An environment whose observations are indices, seen as one-hot vectors, those of several indices side by side."""

    def __init__(self, env: BatchedEnv) -> None:
        sizes = index_sizes(env.single_observation_space)
        self.single_observation_space = Box(0.0, 1.0, (sum(sizes),), np.float32)
        self._env, self._num_values = env, sum(sizes)
        self._offsets = np.cumsum([0, *sizes[:-1]])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """See `BatchedEnv.reset`."""
        obs, info = self._env.reset(**options)
        return self._one_hot(obs), info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """See `BatchedEnv.step`."""
        obs, reward, terminated, truncated, info = self._env.step(actions)
        return self._one_hot(obs), reward, terminated, truncated, info

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """See `BatchedEnv.restart`."""
        return self._one_hot(self._env.restart(slots))

    def _one_hot(self, obs: np.ndarray) -> np.ndarray:
        """Vectors [B, n] of indices [B, *K]."""
        rows = obs.reshape(len(obs), -1) + self._offsets
        vectors = np.zeros((len(obs), self._num_values), np.float32)
        np.put_along_axis(vectors, rows, 1.0, axis=1)
        return vectors
