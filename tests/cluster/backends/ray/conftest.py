"""A small run for all tests of Ray's backend."""

from __future__ import annotations

import pytest

from cluster.config import RolloutConfig, RunConfig
from learners.impala import ImpalaConfig
from learners.networks.agent import NetworkConfig


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return RunConfig(
        family="cartpole-physics",
        num_actors=1,
        total_env_steps=1600,
        batch_unrolls=8,
        deterministic=True,
        lag=1,
        rollout=RolloutConfig(envs_per_actor=8, unroll_length=10),
        network=NetworkConfig(hidden_sizes=(16,), core="lstm", core_size=8, use_previous_action=True),
        learner=ImpalaConfig(learning_rate=1e-3),
        learner_device="cpu",
    )
