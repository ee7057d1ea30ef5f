"""Evaluation of episodes that do not end: cut at a limit, each slot its share, in environments with and without single resets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actors.evaluate import evaluate
from envs.batched import BatchedEnv
from envs.family import TaskFamily
from envs.task import Mode, Split, Task
from learners import actor_critic
from learners.networks.agent import NetworkConfig
from learners.networks.snapshot import parameters_to_arrays
from learners.networks.spaces import SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Episode, Snapshot

NETWORK = NetworkConfig(hidden_sizes=(4,))


class Lengths(BatchedEnv):
    """Episodes of slot i end after `lengths[i]` steps, or never; every step pays 1, so that a return is a count of steps."""

    def __init__(self, tasks: Sequence[Task], lengths: Sequence[float]) -> None:
        super().__init__(tasks, Box(-1.0, 1.0, (1,), np.float32), Discrete(2))
        self._limit = np.array(lengths)
        self.num_resets = 0

    def assign(self, slot: int, task: Task) -> None:
        raise AssertionError("nobody assigns tasks here")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.num_resets += 1
        self._t, self._is_over = np.zeros(self.num_envs), np.zeros(self.num_envs, np.bool_)
        return np.zeros((self.num_envs, 1), np.float32), {"is_first": np.ones(self.num_envs, np.bool_)}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        is_first = self._is_over
        self._t = np.where(is_first, 0, self._t + 1)
        self._is_over = self._t >= self._limit
        none = np.zeros(self.num_envs, np.bool_)
        return np.zeros((self.num_envs, 1), np.float32), (~is_first).astype(float), self._is_over, none, {"is_first": is_first}


class Family(TaskFamily):
    name, doc = "lengths", "ends when it is told to"

    def __init__(self, *lengths: float) -> None:
        self._lengths = lengths

    def sample(self, num_tasks: int, rng: np.random.Generator, split: Split = "train") -> list[Task]:
        return [Task(family="lengths")] * num_tasks

    def make(self, tasks: Sequence[Task], *, num_threads: int = 1, mode: Mode = "train") -> BatchedEnv:
        self.env = Lengths(tasks, self._lengths[: len(tasks)])
        return self.env


def played(family: Family, num_tasks: int, limit: int | None, per_task: int) -> list[list[Episode]]:
    env = family.make([Task(family="lengths")])
    _, state = actor_critic.init(SpaceSpec.of(env), NETWORK, OptimiserConfig(), 1, torch.device("cpu"))
    snapshot = Snapshot(version=0, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))
    tasks = family.sample(num_tasks, np.random.default_rng(0))
    episodes = evaluate(family, tasks, NETWORK, snapshot, seed=0, episodes_per_task=per_task, max_episode_steps=limit)
    return [episodes[i * per_task : (i + 1) * per_task] for i in range(num_tasks)]


def seen(episodes: Sequence[Episode]) -> list[tuple[int, bool]]:
    assert all(episode.episode_return == episode.length for episode in episodes)
    return [(episode.length, episode.is_cut) for episode in episodes]


def test_episodes_that_never_end_are_cut_and_count_with_their_return_so_far() -> None:
    family = Family(np.inf, np.inf)
    assert [seen(of_task) for of_task in played(family, 2, limit=20, per_task=3)] == [[(20, True)] * 3] * 2
    assert family.env.num_resets == 3  # nobody goes on in an episode that was cut


def test_slots_that_end_and_slots_that_do_not_have_each_their_share() -> None:
    family = Family(5, np.inf, 20, 21, 50)
    lengths = [seen(of_task) for of_task in played(family, 5, limit=20, per_task=4)]
    assert lengths[0] == [(5, False)] * 4
    assert lengths[1] == [(20, True)] * 4
    assert lengths[2] == [(20, False)] * 4  # ends with its last step
    assert lengths[3] == [(20, True)] * 4  # and here the next one would have been the last: the slot waits for that alone
    assert lengths[4] == [(20, True)] * 4


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_limit_that_is_not_reached_changes_nothing(limit: int | None) -> None:
    family = Family(5, 9)
    assert [seen(of_task) for of_task in played(family, 2, limit=limit, per_task=4)] == [[(5, False)] * 4, [(9, False)] * 4]
    assert family.env.num_resets == 1
