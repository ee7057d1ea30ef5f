"""Presets of MAML."""

from __future__ import annotations

from cluster.presets import Preset, by_name

_LOCOMOTION = {
    "num_actors": 2,
    "tasks_per_round": 40,
    "envs_per_task": 20,
    "rollout.envs_per_actor": 200,
    "rollout.unroll_length": 200,
    "network.hidden_sizes": (100, 100),
    "network.activation": "relu",
    "learner.gamma": 0.99,
    "learner.lambda_": 1.0,
    "learner.inner_learning_rate": 0.1,
    "learner.num_inner_steps": 1,
    "learner.learning_rate": 1e-3,
    "actor_deadline_s": 600.0,
}
"""The paper's for locomotion (5.3, A.2): 40 tasks, 20 episodes of 200 steps before and after one inner step of 0.1, 100-100 ReLU,
gamma 0.99, the linear baseline. Not the paper's: the outer step, which is Adam's (there TRPO's), and the surrogate (`log_prob` there)."""

PRESETS = by_name(
    Preset(
        name="point-goal",
        shows="a point that turns to a goal it cannot see after one inner step",
        time="2 min",
        settings={
            "family": "point-goal",
            "num_actors": 2,
            "total_env_steps": 1_536_000,
            "tasks_per_round": 20,
            "envs_per_task": 20,
            "rollout.envs_per_actor": 200,
            "rollout.unroll_length": 32,
            "network.hidden_sizes": (64, 64),
            "learner.inner_learning_rate": 0.1,
            "learner.learning_rate": 1e-2,
        },
    ),
    Preset(
        name="halfcheetah-direction",
        shows="forward or backward after one inner step: the paper's settings, but for the outer step",
        time="12 h",
        settings={**_LOCOMOTION, "family": "halfcheetah-direction", "total_env_steps": 32_000_000},
    ),
    Preset(
        name="halfcheetah-velocity",
        shows="a goal speed after one inner step: the paper's settings, but for the outer step",
        time="1 day",
        settings={**_LOCOMOTION, "family": "halfcheetah-velocity", "total_env_steps": 152_000_000},
    ),
)
