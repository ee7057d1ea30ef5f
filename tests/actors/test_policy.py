"""The acting side of a network: what the environment and the learner get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actors.messages import Work
from actors.policy import Policy
from actors.rollout import RolloutActor, RolloutSpec
from envs.registry import resolve
from learners import actor_critic, impala
from learners.networks.agent import NetworkConfig, NetworkInputs, SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Snapshot

NETWORK = NetworkConfig(hidden_sizes=(8,), initial_log_std=1.0, bounded_mean=True)


def policy(space: Any) -> Policy:
    spec = (
        SpaceSpec((3,), "float32", num_actions=int(space.n))
        if isinstance(space, Discrete)
        else SpaceSpec((3,), "float32", action_size=2)
    )
    return Policy(spec, NETWORK, space)


def test_actions_are_clipped_and_stretched_to_the_space() -> None:
    space = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
    given = policy(space).bounded(np.array([[0.5, 0.0], [3.0, -7.0], [-1.0, 1.0]], np.float32))
    np.testing.assert_allclose(given, [[1.0, 0.5], [2.0, 0.0], [-2.0, 1.0]])
    assert given.dtype == np.float32


@pytest.mark.parametrize("space", [Discrete(4), Box(-np.inf, np.inf, (2,), np.float32)])
def test_actions_without_bounds_are_passed_on(space: Any) -> None:
    action = np.array([3, 1]) if isinstance(space, Discrete) else np.array([[9.0, -9.0]], np.float32)
    np.testing.assert_array_equal(policy(space).bounded(action), action)


def test_the_environment_gets_the_clipped_action_and_the_learner_the_sampled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    family = resolve("pendulum")
    spec = RolloutSpec(num_envs=16, unroll_length=10, env_threads=1, run_seed=0)
    actor = RolloutActor(family, NETWORK, spec, 0)
    given: list[np.ndarray] = []
    step = actor._env.step
    monkeypatch.setattr(actor._env, "step", lambda action: (given.append(action.copy()), step(action))[1])
    env = family.make(family.sample(1, np.random.default_rng(0)))
    _, state = actor_critic.init(SpaceSpec.of(env), NETWORK, OptimiserConfig(), 1, torch.device("cpu"))
    snapshot = Snapshot(version=0, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))
    _, trajectory = actor.collect(Work(round=0, index=0, actor=0), snapshot)
    np.testing.assert_allclose(np.stack(given), 2.0 * np.clip(trajectory.action, -1, 1))  # a pendulum's torque lies in [-2, 2]
    assert np.abs(trajectory.action).max() > 1.0


def test_a_bounded_mean_stays_in_the_actors_range() -> None:
    agent = impala.Agent(SpaceSpec((3,), "float32", action_size=2), NETWORK)
    with torch.no_grad():
        agent.policy_head.weight.mul_(1e4)
        inputs = NetworkInputs(
            obs=torch.randn(1, 50, 3),
            is_first=torch.zeros(1, 50, dtype=torch.bool),
            previous_action=torch.zeros(1, 50, 2),
            previous_reward=torch.zeros(1, 50),
            initial_state=(),
        )
        params, _ = agent.policy(inputs)
    mean, log_std = params.tensor_split(2, dim=-1)
    assert 0.99 < float(mean.abs().max()) <= 1.0
    assert torch.equal(log_std, torch.ones_like(log_std))


def test_weights_are_taken_up_once_per_version() -> None:
    acting = policy(Box(-1, 1, (2,), np.float32))
    arrays = {name: tensor.detach().numpy().copy() for name, tensor in acting.agent.named_parameters()}
    acting.load(Snapshot(version=3, arrays=arrays))
    acting.load(Snapshot(version=3, arrays={}))  # already at hand: not looked into
    assert acting.version == 3
    arrays["value_head.bias"] = arrays["value_head.bias"] + 1
    acting.load(Snapshot(version=4, arrays=arrays))
    np.testing.assert_array_equal(acting.agent.value_head.bias.detach().numpy(), arrays["value_head.bias"])
