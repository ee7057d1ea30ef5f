"""`is_endless` of each family against what happens in its episodes."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.batched import BatchedEnv
from envs.family import TaskFamily
from envs.registry import listed_families, resolve

FAMILIES = [family for family in listed_families() if not family.name.startswith("atari")]

ENDLESS = {
    "pendulum",
    "reacher",
    "swimmer",
    "halfcheetah",
    "halfcheetah-velocity",
    "halfcheetah-velocity-visible",
    "halfcheetah-direction",
    "halfcheetah-direction-visible",
    "directional-halfcheetah",
    "directional-halfcheetah-visible",
    "random-reacher",
    "random-reacher-visible",
    "point-goal",
    "point-goal-visible",
    "point-goal-circle",
    "point-goal-circle-visible",
    "point-goal-halves",
    "point-goal-halves-visible",
    "fetch-reach",
    "fetch-reach-visible",
}

NEAR_GOAL = {
    "mountain-car": (0.49, 0.05),
    "mountain-car-continuous": (0.44, 0.05),
    "acrobot": (1.9, 0.0, 3.0, 0.0),
}
"""States a few steps from the goal, which random actions from the start seldom reach."""


def terminations(family: TaskFamily, num_envs: int = 4, steps: int = 1100) -> tuple[int, int]:
    """How many episodes of random actions terminate, and how many meet a limit; the first termination is enough."""
    env = family.make(family.sample(num_envs, np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    env.reset(seed=2)
    if family.name in NEAR_GOAL:
        env.restore(env.save() | {"state": np.tile(NEAR_GOAL[family.name], (num_envs, 1))})
    num_terminated = num_truncated = 0
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(random_actions(env, rng))
        num_terminated += int(terminated.sum())
        num_truncated += int(truncated.sum())
        if num_terminated:
            break
    env.close()
    return num_terminated, num_truncated


def random_actions(env: BatchedEnv, rng: np.random.Generator) -> np.ndarray:
    space = env.single_action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=env.num_envs)
    return rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_flag_says_what_happens(family: TaskFamily) -> None:
    if family.name.startswith("fetch"):
        pytest.importorskip("gymnasium_robotics", reason="needs gymnasium-robotics: pip install 'metaray[fetch]'")
    num_terminated, num_truncated = terminations(family)
    assert (num_terminated == 0) == family.is_endless
    assert num_truncated > 0 or not family.is_endless  # episodes ended, and none by termination


def test_the_endless_families_are_these() -> None:
    assert {family.name for family in FAMILIES if family.is_endless} == ENDLESS


def test_families_of_unknown_endings_are_not_called_endless() -> None:
    assert not resolve("gym:Pendulum-v1").is_endless
    assert not resolve("atari:pong").is_endless
