"""Presets of PPO."""

from __future__ import annotations

from cluster.presets import Preset, by_name

_LOCOMOTION = {
    "num_actors": 2,
    "rollout.envs_per_actor": 32,
    "rollout.unroll_length": 64,
    "network.hidden_sizes": (64, 64),
    "network.separate_value": True,
    "network.normalise_observations": True,
    "learner.passes": 2,
    "learner.num_minibatches": 4,
    "learner.value_clip": 0.0,
    "learner.learning_rate": 3e-3,
    "learner.anneal": False,
}
"""Shared by the MuJoCo presets: many environments and short unrolls, so that the policy is renewed often; large steps, few passes."""

PRESETS = by_name(
    Preset(
        name="cartpole",
        shows="CartPole-v1 solved (mean return 475 over 100 episodes) and stopped there; use --local",
        time="2 s",
        settings={
            "family": "cartpole",
            "num_actors": 1,
            "total_env_steps": 500_000,
            "stop_return": 475.0,
            "rollout.envs_per_actor": 16,
            "rollout.unroll_length": 64,
            "network.hidden_sizes": (64, 64),
            "network.separate_value": True,
            "learner.passes": 10,
            "learner.num_minibatches": 4,
            "learner.learning_rate": 1e-3,
            "learner.gamma": 0.98,
            "learner.lambda_": 0.8,
            "learner.normalise_rewards": False,
            "learner.anneal": True,
        },
    ),
    Preset(
        name="halfcheetah",
        shows="HalfCheetah-v5: a million steps",
        time="1 min",
        settings={**_LOCOMOTION, "family": "halfcheetah", "total_env_steps": 1_000_000},
    ),
    Preset(
        name="hopper",
        shows="Hopper-v5: a million steps",
        time="1 min",
        settings={**_LOCOMOTION, "family": "hopper", "total_env_steps": 1_000_000},
    ),
    Preset(
        name="walker2d",
        shows="Walker2d-v5: a million steps",
        time="1 min",
        settings={**_LOCOMOTION, "family": "walker2d", "total_env_steps": 1_000_000},
    ),
)
