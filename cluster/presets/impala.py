"""Presets of IMPALA."""

from __future__ import annotations

from cluster.presets import Preset, by_name

_ADAM = {"learner.optimiser.kind": "adam", "learner.optimiser.epsilon": 1e-5}

_LOCOMOTION = {
    **_ADAM,
    "num_actors": 2,
    "rollout.envs_per_actor": 128,
    "rollout.unroll_length": 16,
    "batch_unrolls": 32,
    # with two actors one acts while the other's unroll is learned from, and nothing older waits in a queue
    "lag": 0,
    "max_lag": 1000,
    "network.hidden_sizes": (64, 64),
    "network.separate_value": True,
    "network.normalise_observations": True,
    "network.bounded_mean": True,
    "learner.lambda_": 0.95,
    "learner.entropy_cost": 0.0,
    "learner.reward_scale": 0.1,
    "learner.learning_rate": 4e-4,
    "learner.anneal": False,
    "learner.max_gradient_norm": 100.0,
}
"""Shared by the MuJoCo presets: a small tanh network, normalised observations, many environments, small batches.

The gradient clip lies below the usual norm (200 to 500), so that it is active almost always: each update then has the same length, and the
rare batch with a norm of thousands cannot throw the policy off. Without it Hopper collapses on some seeds.
"""

_ATARI = {
    "family": "atari:breakout",
    "num_actors": 2,
    "total_env_steps": 50_000_000,
    "rollout.envs_per_actor": 32,
    "rollout.unroll_length": 20,
    "batch_unrolls": 32,
    "network.torso": "deep",
    "learner.gamma": 0.99,
    "learner.baseline_cost": 0.5,
    "learner.entropy_cost": 0.01,
    "learner.reward_clip": 1.0,
    "learner.learning_rate": 6e-4,
    "learner.anneal": True,
    "learner.max_gradient_norm": 40.0,
    "learner.optimiser.kind": "rmsprop_inside_sqrt",
    "learner.optimiser.decay": 0.99,
    "learner.optimiser.epsilon": 0.01,
    "learner.optimiser.momentum": 0.0,
    "checkpoint_every_s": 300.0,
    "actor_deadline_s": 180.0,
}
"""IMPALA on Atari as published (table G.1), spelled out although most are defaults: 50 M steps of 4 frames, epsilon inside of the root."""

_ATARI_METAGRADIENT = {**_ATARI, "learner.optimiser.epsilon": 0.1, "meta.outer_gamma": 0.99, "meta.outer_lambda": 1.0}
"""The meta-gradient's Atari agent: IMPALA's with a larger epsilon; gamma and lambda start from those of the outer objective. What `meta.*`
leaves to its defaults is published: Adam at 1e-3, a meta-batch of 8, an embedding of 16, no trace."""

_WHOLE_EPISODES = {
    **_ADAM,
    "num_actors": 1,
    "rollout.envs_per_actor": 32,
    # 100 steps and the reset: every unroll is an episode, and returns need no bootstrap
    "rollout.unroll_length": 101,
    "network.hidden_sizes": (64, 64),
    "network.separate_value": True,
    "learner.anneal": False,
    "learner.max_gradient_norm": 1e9,
}
"""Shared by the worlds for the meta-gradient on gamma, whose episodes have 100 steps."""

PRESETS = by_name(
    Preset(
        name="quickstart",
        shows="one policy for many bodies: a hopper with other masses, friction, gravity and thickness each episode",
        time="3 min",
        settings={
            **_LOCOMOTION,
            "family": "hopper-dynamics",
            "total_env_steps": 3_000_000,
            "max_train_seconds": 170.0,
            "learner.gamma": 0.995,
            # the gradient shrinks tenfold once the hopper stands, Adam's steps do not, and at 2.7M steps they threw a policy off
            "learner.anneal": True,
        },
    ),
    Preset(
        name="cartpole",
        shows="CartPole-v1 solved (mean return 475 over 100 episodes) and stopped there; use --local",
        time="2 s",
        settings={
            **_ADAM,
            "family": "cartpole",
            "num_actors": 1,
            "total_env_steps": 2_000_000,
            "stop_return": 475.0,
            # an unroll makes several updates, so a round of lag would be as many of them, and seeds would collapse
            "lag": 0,
            "rollout.envs_per_actor": 32,
            "rollout.unroll_length": 64,
            "batch_unrolls": 8,
            "network.hidden_sizes": (64, 64),
            "network.separate_value": True,
            "learner.gamma": 0.98,
            # values reach 1 / (1 - gamma) = 50, which a network that starts at zero learns late
            "learner.reward_scale": 0.1,
            "learner.entropy_cost": 0.002,
            "learner.learning_rate": 2e-3,
            "learner.anneal": False,
            "learner.max_gradient_norm": 1e9,
        },
    ),
    Preset(
        name="halfcheetah",
        shows="HalfCheetah-v5: throughput of the whole system while it learns to run",
        time="5 min",
        settings={
            **_LOCOMOTION,
            "family": "halfcheetah",
            "total_env_steps": 10_000_000,
            # its speed is what this preset shows: 5 % more steps than without lag, each of them twice as old
            "lag": 1,
            # without these two its noise dies out at 5M steps, and steps of constant length then throw the policy off
            "learner.anneal": True,
            "learner.entropy_cost": 1e-3,
        },
    ),
    Preset(
        name="hopper",
        shows="Hopper-v5 to a return of 1,500 and beyond",
        time="5 min",
        settings={**_LOCOMOTION, "family": "hopper", "total_env_steps": 5_000_000},
    ),
    Preset(
        name="hopper-dynamics",
        shows="generalisation: train on sampled bodies, then `metaray evaluate RUN` on held-out ones",
        time="10 min",
        settings={**_LOCOMOTION, "family": "hopper-dynamics", "total_env_steps": 10_000_000},
    ),
    Preset(
        name="delayed-reward",
        shows="take now or invest: gamma 0.99 returns 89, gamma 0.8 returns 40; a world for the meta-gradient on gamma",
        time="30 s",
        settings={
            **_WHOLE_EPISODES,
            "family": "delayed-reward",
            "total_env_steps": 1_000_000,
            "batch_unrolls": 16,
            "learner.gamma": 0.99,
            "learner.entropy_cost": 0.01,
            "learner.reward_scale": 0.1,
            "learner.learning_rate": 2e-3,
        },
    ),
    Preset(
        name="discounting-chain",
        shows="bsuite's Discounting Chain, its optimum 1.1 reached; with gamma 0.95 it takes the nearest chain and 1.0",
        time="45 s",
        settings={
            **_WHOLE_EPISODES,
            "family": "discounting-chain",
            "total_env_steps": 1_500_000,
            "batch_unrolls": 32,
            "network.activation": "relu",
            "learner.gamma": 1.0,
            "learner.entropy_cost": 0.005,
            "learner.learning_rate": 5e-4,
        },
    ),
    Preset(
        name="discounting-chain-tabular",
        shows="the same with a linear network over the states, whose critic is exact",
        time="30 s",
        settings={
            **_WHOLE_EPISODES,
            "family": "discounting-chain-tabular",
            "total_env_steps": 1_500_000,
            "batch_unrolls": 32,
            "network.hidden_sizes": (),
            "network.separate_value": False,
            "learner.gamma": 1.0,
            "learner.entropy_cost": 0.005,
            "learner.learning_rate": 2e-2,
        },
    ),
    Preset(
        name="pong",
        shows="Atari Pong with IMPALA's shallow network and the paper's settings",
        time="2 h",
        settings={
            "family": "atari:pong",
            "num_actors": 2,
            "total_env_steps": 10_000_000,
            "rollout.envs_per_actor": 32,
            "rollout.unroll_length": 20,
            "batch_unrolls": 32,
            "network.torso": "shallow",
            "learner.reward_clip": 1.0,
            "learner.learning_rate": 6e-4,
            "learner.entropy_cost": 0.01,
            "learner.optimiser.epsilon": 0.01,
            "checkpoint_every_s": 300.0,
            "actor_deadline_s": 180.0,
        },
    ),
    Preset(
        name="atari-impala",
        shows="IMPALA's published Atari agent for 200 M frames: deep network, one game; any other by --family atari:<game>",
        time="6 days",
        settings=_ATARI,
    ),
    Preset(
        name="atari-metagradient-gamma",
        shows="the same agent while it tunes its discount; gamma-bar 0.995: --set meta.outer_gamma=0.995 learner.gamma=0.995",
        time="2 weeks",
        settings={**_ATARI_METAGRADIENT, "eta": ("gamma",)},
    ),
    Preset(
        name="atari-metagradient-lambda",
        shows="the same while it tunes V-trace's lambda",
        time="2 weeks",
        settings={**_ATARI_METAGRADIENT, "eta": ("lambda",)},
    ),
    Preset(
        name="atari-metagradient-gamma-lambda",
        shows="the same while it tunes both",
        time="2 weeks",
        settings={**_ATARI_METAGRADIENT, "eta": ("gamma", "lambda")},
    ),
)
