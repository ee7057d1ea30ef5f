"""Index observations as one-hot vectors, for learners that read nothing but vectors.

A vector is as long as the indices have values, and every observation is one: for a hundred states that is nothing, for 20,000 it is 80 kB
an observation. The networks of `learners.networks.agent` look indices up instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from envs.batched import BatchedEnv, Saved
from envs.observations import index_sizes
from envs.slots import SlotSeed
from envs.task import Task


def as_vectors(env: BatchedEnv) -> BatchedEnv:
    """Return `env`, its indices turned into one-hot vectors where it observes any."""
    return OneHotEnv(env) if index_sizes(env.single_observation_space) else env


class OneHotEnv(BatchedEnv):
    """An environment whose observations are indices, seen as one-hot vectors, those of several indices side by side."""

    def __init__(self, env: BatchedEnv) -> None:
        sizes = index_sizes(env.single_observation_space)
        super().__init__(env.tasks, Box(0.0, 1.0, (sum(sizes),), np.float32), env.single_action_space)
        self.can_save, self.can_restart = env.can_save, env.can_restart
        self.tasks = env.tasks  # the very list that the environment keeps up to date
        self._env, self._num_values = env, sum(sizes)
        self._offsets = np.cumsum([0, *sizes[:-1]])

    def assign(self, slot: int, task: Task) -> None:
        """Give `slot` the task that it plays from its next reset on."""
        self._env.assign(slot, task)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """See `BatchedEnv.reset`."""
        obs, info = self._env.reset(seed=seed, options=options)
        return self._one_hot(obs), info

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """See `BatchedEnv.step`."""
        obs, reward, terminated, truncated, info = self._env.step(actions)
        return self._one_hot(obs), reward, terminated, truncated, info

    def seed_slots(self, seeds: Sequence[SlotSeed]) -> None:
        """See `BatchedEnv.seed_slots`."""
        self._env.seed_slots(seeds)

    def restart(self, slots: np.ndarray) -> np.ndarray:
        """See `BatchedEnv.restart`."""
        return self._one_hot(self._env.restart(slots))

    def rest(self, slots: np.ndarray) -> None:
        """See `BatchedEnv.rest`."""
        self._env.rest(slots)

    def save(self) -> Saved:
        """See `BatchedEnv.save`."""
        return self._env.save()

    def restore(self, saved: Saved) -> None:
        """See `BatchedEnv.restore`."""
        self._env.restore(saved)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environment."""
        self._env.close()

    def _one_hot(self, obs: np.ndarray) -> np.ndarray:
        """Vectors [B, n] of indices [B, *K]."""
        rows = obs.reshape(len(obs), -1) + self._offsets
        vectors = np.zeros((len(obs), self._num_values), np.float32)
        np.put_along_axis(vectors, rows, 1.0, axis=1)
        return vectors
