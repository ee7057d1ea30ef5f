"""An update stays on the learner's device: on torch's `meta`, as on a GPU, a tensor that was made on the CPU does not mix with it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from envs.task import Task
from learners import actor_critic, ppo, vtrace_loss
from learners.algorithm import Progress, Setup
from learners.batch import batch_of
from learners.networks.agent import NetworkConfig
from learners.networks.spaces import SpaceSpec
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Trajectory
from learners.vtrace_loss import ImpalaConfig

T, B = 5, 3
META = torch.device("meta")

VECTORS, FRAMES = SpaceSpec((4,), "float32", action_size=2), SpaceSpec((4, 84, 84), "uint8", num_actions=6, frame_stack=4)
INDICES = SpaceSpec((2,), "int64", num_actions=3, index_sizes=(4, 3))
CASES = {
    "indices": (INDICES, NetworkConfig(separate_value=True), "adam"),
    "indices without torso": (INDICES, NetworkConfig(hidden_sizes=(), use_previous_action=True), "adam"),
    "integers": (SpaceSpec((2,), "int32", 3, obs_bounds=((0.0, -1.0), (1.0, 1.0))), NetworkConfig(), "adam"),
    "vectors": (VECTORS, NetworkConfig(normalise_observations=True, bounded_mean=True, separate_value=True), "adam"),
    "lstm": (VECTORS, NetworkConfig(core="lstm", core_size=8, use_previous_action=True, use_previous_reward=True), "adam"),
    "shallow": (FRAMES, NetworkConfig(torso="shallow"), "rmsprop_inside_sqrt"),
    "deep": (FRAMES, NetworkConfig(torso="deep", core="gru", core_size=8, use_previous_action=True), "rmsprop_outside_sqrt"),
}


def trajectory(spec: SpaceSpec, num_states: int) -> Trajectory:
    shape, dtype = spec.frame_shape, np.dtype(spec.sent_dtype)
    action = np.zeros((T + 1, B), np.int64) if spec.is_discrete else np.zeros((T + 1, B, spec.action_size), np.float32)
    return Trajectory(
        obs=np.zeros((T + 1, B, *shape), dtype),
        frame_history=np.zeros((spec.frame_stack - 1 if spec.frame_stack > 1 else 0, B, *shape), dtype),
        is_first=np.zeros((T + 1, B), bool),
        action=action[1:],
        reward=np.zeros((T, B), np.float32),
        terminated=np.zeros((T, B), bool),
        truncated=np.zeros((T, B), bool),
        behaviour_log_prob=np.zeros((T, B), np.float32),
        previous_action=action[0],
        previous_reward=np.zeros(B, np.float32),
        initial_state=tuple(np.zeros((B, 8), np.float32) for _ in range(num_states)),
        policy_version=0,
        tasks=(Task(family="none"),) * B,
    )


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` has no lower precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


@pytest.mark.parametrize("name", CASES)
def test_an_update_makes_nothing_on_the_cpu(name: str) -> None:
    spec, network, kind = CASES[name]
    config = ImpalaConfig(reward_clip=1.0, optimiser=OptimiserConfig(kind=kind, momentum=0.5))
    agent, state = actor_critic.init(spec, network, config.optimiser, 0, META)
    batch = batch_of([trajectory(spec, agent.core.num_states if agent.core else 0)], slice(None), META)
    state, scalars = vtrace_loss.update(agent, config, state, batch, total_env_steps=100)
    moments = [] if state.moments is None else [state.moments.mean, state.moments.m2, state.moments.count]
    optimiser = (*state.optimiser.first_moment.values(), *state.optimiser.second_moment.values())
    tensors = [*state.params.values(), *optimiser, *moments, *actor_critic.network_arrays(state).values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {metric.device.type for key, metric in scalars.items() if key != "learning_rate"} == {"meta"}


@pytest.mark.parametrize("name", CASES)
def test_a_round_of_ppo_makes_nothing_on_the_cpu(name: str) -> None:
    spec, network, _ = CASES[name]
    config = ppo.Config(learner=ppo.LearnerConfig(passes=2, num_minibatches=2))
    agent, state = ppo.init(config, Setup(spec=spec, network=network, run_seed=0, device=META))
    its = [trajectory(spec, agent.core.num_states if agent.core else 0)]
    state, scalars = ppo.update(agent, config, state, its, Progress(round=0, total=100, run_seed=0))
    assert state.rewards is not None and state.rewards.running is not None
    optimiser = (*state.learner.optimiser.first_moment.values(), *state.learner.optimiser.second_moment.values())
    tensors = [*state.learner.params.values(), *optimiser, state.rewards.running, state.rewards.moments.m2]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {one.device.type for one in scalars.values() if isinstance(one, torch.Tensor)} == {"meta"}
