"""A small run for all tests of the Ray wiring."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from cluster.config import RolloutConfig, RunConfig
from cluster.run.observer import LoopResult
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


@pytest.fixture(scope="session")
def digest() -> Callable[[LoopResult], str]:
    def sha256(result: LoopResult) -> str:
        return hashlib.sha256(b"".join(result.parameters[name].tobytes() for name in sorted(result.parameters))).hexdigest()

    return sha256
