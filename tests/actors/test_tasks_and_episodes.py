"""Which tasks an actor assigns, and which episodes an evaluation counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actors.evaluate import evaluate
from actors.messages import Work
from actors.rollout import RolloutActor, RolloutSpec
from envs.classic.family import NumpyFamily
from learners import actor_critic
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Snapshot
from tests.actors.lengths import TERMINATING, TRUNCATING, task

NETWORK = NetworkConfig(hidden_sizes=(4,))


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    spec = SpaceSpec((1,), "float32", num_actions=2)
    _, state = actor_critic.init(spec, NETWORK, OptimiserConfig(), 0, torch.device("cpu"))
    return Snapshot(version=0, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))


@pytest.mark.parametrize("family", [TERMINATING, TRUNCATING], ids=["terminated", "truncated"])
def test_every_episode_has_a_task_of_its_own_however_the_last_one_ended(family: NumpyFamily, snapshot: Snapshot) -> None:
    actor = RolloutActor(family, NETWORK, RolloutSpec(num_envs=5, unroll_length=60, env_threads=1, run_seed=2), 0)
    report, trajectory = actor.collect(Work(round=0, index=0, actor=0), snapshot)
    num_ends = (trajectory.truncated if family is TRUNCATING else trajectory.terminated).sum()
    assert len(report.episodes) == num_ends > 40
    lengths = [dict(episode.task.params)["length"] for episode in report.episodes]
    assert len(set(lengths)) == len(lengths)  # drawn from a range: none comes twice


def test_the_task_of_an_episode_is_the_one_that_it_was_acted_on(snapshot: Snapshot) -> None:
    actor = RolloutActor(TERMINATING, NETWORK, RolloutSpec(num_envs=5, unroll_length=60, env_threads=1, run_seed=2), 0)
    report, _ = actor.collect(Work(round=0, index=0, actor=0), snapshot)
    for episode in report.episodes:
        assert episode.length == np.floor(dict(episode.task.params)["length"]) == episode.episode_return


@pytest.mark.parametrize("per_task", [1, 3])
def test_an_evaluation_counts_as_many_episodes_of_the_long_tasks_as_of_the_short(per_task: int, snapshot: Snapshot) -> None:
    tasks = [task(length) for length in (2, 50, 3, 7)]
    episodes = evaluate(TERMINATING, tasks, NETWORK, snapshot, seed=0, episodes_per_task=per_task)
    assert [episode.length for episode in episodes] == [length for length in (2, 50, 3, 7) for _ in range(per_task)]
    assert [episode.task for episode in episodes] == [one for one in tasks for _ in range(per_task)]
    assert [episode.episode_return for episode in episodes] == [float(episode.length) for episode in episodes]
