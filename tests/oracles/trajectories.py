"""Random experience for tests of learners, with every type of episode border in it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from torch import Tensor

from envs.task import Task
from learners.batch import Batch
from learners.networks.agent import NetworkConfig
from learners.networks.spaces import SpaceSpec
from learners.trajectory import Trajectory

NUM_STATES = {"none": 0, "gru": 1, "lstm": 2}


def trajectory(spec: SpaceSpec, network: NetworkConfig, seed: int = 0, length: int = 9, num_envs: int = 5) -> Trajectory:
    """An unroll with a termination (and its reset row) in environment 1, a truncation in 2, both in 3."""
    rng = np.random.default_rng(seed)
    is_first, terminated = np.zeros((length + 1, num_envs), bool), np.zeros((length, num_envs), bool)
    truncated = terminated.copy()
    for t, b, flag in [(2, 1, terminated), (5, 2, truncated), (1, 3, truncated), (6, 3, terminated)]:
        flag[t, b], is_first[t + 2, b] = True, True
    shape = (length, num_envs)
    action = rng.integers(spec.num_actions, size=shape) if spec.is_discrete else rng.normal(size=(*shape, spec.action_size))
    states = [rng.normal(size=(num_envs, network.core_size)).astype(np.float32) for _ in range(NUM_STATES[network.core])]
    rows = (length + 1, num_envs, *spec.obs_shape)
    sizes = np.array(spec.index_sizes).reshape(spec.obs_shape) if spec.index_sizes else None
    obs = rng.normal(size=rows) if sizes is None else rng.integers(sizes, size=rows)
    return Trajectory(
        obs=obs.astype(spec.sent_dtype),
        frame_history=np.empty((0, num_envs, *spec.obs_shape), np.float32),
        is_first=is_first,
        action=action if spec.is_discrete else action.astype(np.float32),
        reward=rng.normal(scale=2.0, size=shape).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        behaviour_log_prob=(rng.normal(scale=0.7, size=shape) - 1.5).astype(np.float32),
        previous_action=action[0] * 0 if spec.is_discrete else np.zeros((num_envs, spec.action_size), np.float32),
        previous_reward=np.zeros(num_envs, np.float32),
        initial_state=tuple(states),
        policy_version=0,
        tasks=tuple(Task(family="none") for _ in range(num_envs)),
    )


def double(batch: Batch) -> Batch:
    """The same batch in float64, for differences below float32's rounding."""
    changed: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor) and value.is_floating_point():
            changed[field.name] = value.double()
    return replace(batch, **changed, initial_state=tuple(state.double() for state in batch.initial_state))


def check_shapes(it: Trajectory) -> None:
    """Hold the shapes of a trajectory's fields against each other."""
    length, num_envs = it.reward.shape
    rows = {"obs": length + 1, "is_first": length + 1, "behaviour_log_prob": length}
    for name in (*rows, "action", "terminated", "truncated"):
        assert getattr(it, name).shape[:2] == (rows.get(name, length), num_envs), name
    for state in (*it.initial_state, it.previous_reward, it.previous_action):
        assert len(state) == num_envs
