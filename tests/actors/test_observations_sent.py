"""The size of observations on their way from an environment to the learner, and that they arrive."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from actors.chunks import spaces_of
from actors.lifetimes import LifetimeEnvs
from actors.messages import Work
from actors.policy import Policy
from actors.rollout import RolloutActor, RolloutSpec
from envs.registry import resolve
from learners import actor_critic, vtrace_loss
from learners.batch import batch_of
from learners.impala import ImpalaConfig
from learners.networks.agent import NetworkConfig, SpaceSpec
from learners.networks.snapshot import parameters_to_arrays
from learners.ops.optimisers import OptimiserConfig
from learners.trajectory import Snapshot, Trajectory

T, B = 6, 3
SPACES = {
    "states": Discrete(20_000, start=7),
    "flags": MultiBinary(5),
    "grid": Box(0, 10, (5,), np.int64),
    "camera": Box(0, 255, (24, 22, 3), np.uint8),
}
NUM_BYTES = {"states": 4, "flags": 5, "grid": 20, "camera": 24 * 22 * 3}


class Sampling(gymnasium.Env[np.ndarray, np.int64]):
    """Observes samples of a space."""

    action_space = Discrete(2)

    def __init__(self, name: str) -> None:
        self.observation_space = SPACES[name]

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None) -> tuple[np.ndarray, dict[str, object]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.fixture(autouse=True)
def _registered() -> None:
    for name in SPACES:
        gymnasium.registry.pop(f"Sampling{name}-v0", None)
        gymnasium.register(f"Sampling{name}-v0", entry_point=Sampling, kwargs={"name": name}, max_episode_steps=4)


def unrolled(name: str, network: NetworkConfig) -> tuple[SpaceSpec, Trajectory]:
    family = resolve(f"gym:Sampling{name}-v0")
    actor = RolloutActor(family, network, RolloutSpec(num_envs=B, unroll_length=T, env_threads=1, run_seed=0), 0)
    spec = SpaceSpec.of(family.make(family.sample(1, np.random.default_rng(0))))
    _, state = actor_critic.init(spec, network, OptimiserConfig(), 1, torch.device("cpu"))
    snapshot = Snapshot(version=0, arrays=parameters_to_arrays(actor_critic.network_arrays(state)))
    return spec, actor.collect(Work(round=0, index=0, actor=0), snapshot)[1]


@pytest.mark.parametrize("name", SPACES)
def test_an_observation_is_sent_in_few_bytes_and_learned_from(name: str) -> None:
    network = NetworkConfig(torso="deep") if name == "camera" else NetworkConfig(hidden_sizes=(8,))
    spec, trajectory = unrolled(name, network)
    assert trajectory.obs.nbytes == (T + 1) * B * NUM_BYTES[name]
    assert trajectory.obs.dtype == spec.sent_dtype
    config, device = ImpalaConfig(), torch.device("cpu")
    agent, state = actor_critic.init(spec, network, config.optimiser, 1, device)
    batch = batch_of([trajectory], slice(None), device)
    _, scalars = vtrace_loss.update(agent, config, state, batch, 1000)
    assert float(scalars["gradient/norm"]) > 0
    # the learner's network says of every action what the actor's said, so both read the same observations
    output = agent(batch)
    log_prob = agent.distribution(output.distribution_params[:-1]).log_prob(batch.action)
    torch.testing.assert_close(log_prob, batch.behaviour_log_prob, rtol=1e-4, atol=1e-5)


def test_stacked_frames_of_any_type_keep_that_of_the_frames_they_are_joined_to() -> None:
    spec = SpaceSpec((3, 2, 2), "float64", num_actions=2, frame_stack=3)
    policy = Policy(spec, NetworkConfig(), Discrete(2))
    history = policy.frame_history(np.zeros((B, 3, 2, 2)))
    assert history.shape == (2, B, 2, 2) and history.dtype == np.float32


def test_a_lifetime_sees_one_hot_vectors_of_indices() -> None:
    assert spaces_of("gym:FrozenLake-v1") == SpaceSpec((16,), "float32", num_actions=4)
    envs = LifetimeEnvs(resolve("gym:FrozenLake-v1"), 2, 1)
    obs = envs.begin(envs.training, envs.training.tasks, [np.random.SeedSequence(k) for k in range(2)])
    assert obs.tolist() == np.eye(16)[[0, 0]].tolist()
    envs.close()
