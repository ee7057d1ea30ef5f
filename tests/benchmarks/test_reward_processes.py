"""The reward processes follow their rules, walk by walk, with the reset rows of next-step autoreset between episodes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reward_processes import MRP_GAMMA, MRP_LAMBDA, RewardProcess


def generators(num_walks: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(num_walks)]


@pytest.mark.parametrize("process", [MRP_GAMMA, MRP_LAMBDA], ids=lambda process: process.name)
def test_an_episode_passes_through_every_state_and_terminates_with_resets_between_episodes(process: RewardProcess) -> None:
    walk = process.walk(generators(3), num_episodes=2)
    length = process.num_states
    episode = [*range(length + 1)]
    for n in range(3):
        assert walk.state[:, n].tolist() == episode * 2
        assert np.flatnonzero(walk.terminated[:, n]).tolist() == [length - 1, 2 * length]
        assert np.flatnonzero(walk.is_first[:, n]).tolist() == [0, length + 1]
    assert walk.reward.shape == walk.terminated.shape == (2 * length + 1, 3)
    assert not walk.reward[length].any()  # the reset


def test_mrp_gamma_pays_a_signal_on_odd_states_and_noise_on_even_ones() -> None:
    walk = MRP_GAMMA.walk(generators(500))
    assert (walk.reward[::2] == 0.1).all()
    noise = walk.reward[1::2]
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1.0) < 0.05


def test_mrp_lambda_pays_back_what_it_paid_and_not_the_last_reward() -> None:
    walk = MRP_LAMBDA.walk(generators(500))
    np.testing.assert_array_equal(walk.reward[1::2], -walk.reward[0:-1:2])
    paid = walk.reward[::2]
    assert abs(paid.mean()) < 0.05 and abs(paid.std() - 1.0) < 0.05 and len(paid) == 5


def test_a_walk_does_not_depend_on_the_walks_beside_it() -> None:
    many, one = MRP_GAMMA.walk(generators(4), 3), MRP_GAMMA.walk([np.random.default_rng(2)], 3)
    np.testing.assert_array_equal(many.reward[:, 2:3], one.reward)
