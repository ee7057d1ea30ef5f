"""A rollout actor: its trajectories are what happened, and its future depends on its state alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call

from actors.messages import Work
from actors.rollout import RolloutActor, RolloutSpec
from envs.registry import resolve
from learners import actor_critic, impala
from learners.batch import batch_of
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Snapshot, Trajectory
from tests.envs import windy
from tests.oracles.trajectories import check_shapes

RECURRENT = NetworkConfig(hidden_sizes=(16,), core="lstm", core_size=8, use_previous_action=True, use_previous_reward=True)
SPEC = RolloutSpec(num_envs=6, unroll_length=40, env_threads=1, run_seed=3)


def snapshot_for(family: str, network: NetworkConfig) -> tuple[impala.Agent, Snapshot]:
    env = resolve(family).make(resolve(family).sample(1, np.random.default_rng(0)))
    spec = SpaceSpec.of(env)
    env.close()
    agent, state = actor_critic.init(spec, network, OptimiserConfig(), 1, torch.device("cpu"))
    return agent, Snapshot(version=5, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))


def unrolls(actor: RolloutActor, snapshot: Snapshot, num: int, first: int = 0) -> list[Trajectory]:
    requests = [Work(round=first + i, index=0, actor=0) for i in range(num)]
    return [actor.collect(request, snapshot)[1] for request in requests]


@pytest.mark.parametrize("family", ["cartpole-physics", "hopper-dynamics", "gym:MountainCarContinuous-v0"])
@pytest.mark.parametrize("network", [NetworkConfig(hidden_sizes=(16,)), RECURRENT], ids=["mlp", "lstm"])
def test_the_learner_sees_the_policy_that_acted(family: str, network: NetworkConfig) -> None:
    """With the same weights, pi / mu is one on every step: across episode borders, and across unrolls."""
    agent, snapshot = snapshot_for(family, network)
    arrays = {name: torch.from_numpy(array.copy()) for name, array in snapshot.arrays.items()}
    trajectories = unrolls(RolloutActor(resolve(family), network, SPEC, 0), snapshot, 3)
    for trajectory in trajectories:
        check_shapes(trajectory)
        batch = batch_of([trajectory], slice(None), torch.device("cpu"))
        output = functional_call(agent, arrays, (batch,))
        log_prob = agent.distribution(output.distribution_params[:-1]).log_prob(batch.action)
        np.testing.assert_allclose(log_prob.detach().numpy(), trajectory.behaviour_log_prob, atol=2e-5)
    if family != "gym:MountainCarContinuous-v0":
        assert any(trajectory.is_first[1:].any() for trajectory in trajectories)  # the borders were there to be crossed


def test_unrolls_continue_where_the_last_one_stopped() -> None:
    _, snapshot = snapshot_for("cartpole-physics", RECURRENT)
    first, second = unrolls(RolloutActor(resolve("cartpole-physics"), RECURRENT, SPEC, 0), snapshot, 2)
    np.testing.assert_array_equal(first.obs[-1], second.obs[0])
    np.testing.assert_array_equal(first.is_first[-1], second.is_first[0])
    np.testing.assert_array_equal(first.action[-1], second.previous_action)
    np.testing.assert_array_equal(first.reward[-1], second.previous_reward)
    assert first.is_first[0].all()


def test_steps_and_episodes_are_counted_once() -> None:
    """CartPole pays 1 for each step, so returns, lengths and steps must tally."""
    actor = RolloutActor(resolve("cartpole"), RECURRENT, SPEC, 0)
    _, snapshot = snapshot_for("cartpole", RECURRENT)
    reports, trajectories = zip(*(actor.collect(Work(round=i, index=0, actor=0), snapshot) for i in range(5)), strict=True)
    episodes = [episode for report in reports for episode in report.episodes]
    assert episodes
    assert all(episode.episode_return == episode.length for episode in episodes)
    resets = sum(int(trajectory.is_first[1:].sum()) for trajectory in trajectories)
    assert sum(report.env_steps for report in reports) == 5 * 40 * 6 - resets
    ends = sum(int((trajectory.terminated | trajectory.truncated).sum()) for trajectory in trajectories)
    assert ends == len(episodes)
    rewards = sum(float(trajectory.reward.sum()) for trajectory in trajectories)
    assert rewards == sum(report.env_steps for report in reports)  # a reset pays nothing


def test_each_episode_has_a_new_task_and_is_reported_with_it() -> None:
    actor = RolloutActor(resolve("cartpole-physics"), RECURRENT, SPEC, 0)
    _, snapshot = snapshot_for("cartpole-physics", RECURRENT)
    episodes = [episode for i in range(6) for episode in actor.collect(Work(round=i, index=0, actor=0), snapshot)[0].episodes]
    assert len({episode.task for episode in episodes}) == len(episodes) > 10


@pytest.mark.parametrize("family", ["cartpole-physics", "hopper-dynamics", "gym:CartPole-v1", windy.NAME])
def test_a_replacement_continues_bit_for_bit(family: str) -> None:
    _, snapshot = snapshot_for(family, RECURRENT)
    spec = RolloutSpec(num_envs=4, unroll_length=25, env_threads=1, run_seed=3, anchored=True)

    def fresh() -> RolloutActor:
        return RolloutActor(resolve(family), RECURRENT, spec, 0)

    calm = fresh()
    unrolls(calm, snapshot, 3)
    state = calm.state()
    want = calm.collect(Work(round=3, index=0, actor=0), snapshot)
    got = fresh().collect(Work(round=3, index=0, actor=0, state=state), snapshot)
    assert got[0].episodes == want[0].episodes
    for name in ("obs", "is_first", "action", "reward", "behaviour_log_prob", "previous_action"):
        np.testing.assert_array_equal(getattr(got[1], name), getattr(want[1], name), err_msg=name)
    np.testing.assert_array_equal(got[1].initial_state[0], want[1].initial_state[0])


def test_actors_and_rounds_draw_apart() -> None:
    _, snapshot = snapshot_for("cartpole", RECURRENT)
    zero = unrolls(RolloutActor(resolve("cartpole"), RECURRENT, SPEC, 0), snapshot, 2)
    one = unrolls(RolloutActor(resolve("cartpole"), RECURRENT, SPEC, 1), snapshot, 1)
    assert not np.array_equal(zero[0].obs[0], one[0].obs[0])
    assert not np.array_equal(zero[0].action, zero[1].action)
