"""Each numpy environment equals gymnasium's, step for step, over episodes, ends and limits."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.classic.base import NumpyEnv
from envs.registry import resolve

PAIRS = [
    ("cartpole", "CartPole-v1"),
    ("pendulum", "Pendulum-v1"),
    ("acrobot", "Acrobot-v1"),
    ("mountain-car", "MountainCar-v0"),
    ("mountain-car-continuous", "MountainCarContinuous-v0"),
]
# gymnasium starts MountainCarContinuous in double precision and goes on in single, which this one does from the start.
TOLERANCE = {"mountain-car-continuous": 1e-5}


def made(name: str, num_envs: int) -> NumpyEnv:
    family = resolve(name)
    env = family.make(family.sample(num_envs, np.random.default_rng(0)))
    assert isinstance(env, NumpyEnv)
    return env


def actions_that_end_episodes(name: str, env: NumpyEnv, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random actions, with enough purpose that goals are reached as well as limits."""
    if name == "mountain-car":
        return np.where(rng.random(env.num_envs) < 0.2, rng.integers(3, size=env.num_envs), np.where(obs[:, 1] < 0, 0, 2))
    if name == "mountain-car-continuous":
        return (np.sign(obs[:, 1:]) * rng.uniform(0.5, 1.7, (env.num_envs, 1))).astype(np.float32)
    if name == "pendulum":
        return rng.uniform(-3.0, 3.0, (env.num_envs, 1)).astype(np.float32)
    if name == "acrobot":
        return np.where(rng.random(env.num_envs) < 0.2, rng.integers(3, size=env.num_envs), np.where(obs[:, 4] < 0, 0, 2))
    return rng.integers(2, size=env.num_envs)


@pytest.mark.parametrize(("name", "env_id"), PAIRS)
def test_spaces_are_gymnasiums(name: str, env_id: str) -> None:
    env, single = made(name, 1), gymnasium.make(env_id)
    assert env.single_observation_space == single.observation_space
    assert env.single_action_space == single.action_space


@pytest.mark.parametrize(("name", "env_id"), PAIRS)
def test_one_slot_has_the_episodes_of_the_same_seed(name: str, env_id: str) -> None:
    env, single, rng = made(name, 1), gymnasium.make(env_id), np.random.default_rng(1)
    obs, _ = env.reset(seed=7)
    want, _ = single.reset(seed=7)
    tolerance = TOLERANCE.get(name, 1e-6)
    ends, is_over = 0, False
    for _ in range(2200):
        actions = actions_that_end_episodes(name, env, obs, rng)
        obs, reward, terminated, truncated, info = env.step(actions)
        if is_over:
            want, _ = single.reset()
            want_reward, want_ends = 0.0, (False, False)
        else:
            want, want_reward, *want_flags, _ = single.step(actions[0])
            want_ends = (bool(want_flags[0]), bool(want_flags[1]))
        assert info["is_first"].tolist() == [is_over]
        np.testing.assert_allclose(obs[0], want, rtol=0, atol=tolerance)
        np.testing.assert_allclose(reward[0], want_reward, rtol=0, atol=1e-9)
        assert (terminated[0], truncated[0]) == want_ends
        is_over = any(want_ends)
        ends += is_over
    assert ends >= 2


@pytest.mark.parametrize(("name", "env_id"), PAIRS)
def test_every_slot_of_a_batch_moves_as_gymnasium_moves_from_its_state(name: str, env_id: str) -> None:
    env, single, rng = made(name, 16), gymnasium.make(env_id).unwrapped, np.random.default_rng(2)
    obs, _ = env.reset(seed=3)
    single.reset(seed=0)
    seen = 0
    for t in range(60):
        before = np.array(env.save()["state"])
        actions = actions_that_end_episodes(name, env, obs, rng)
        obs, reward, terminated, _, info = env.step(actions)
        for slot in range(t % 4, 16, 4):
            if info["is_first"][slot]:
                continue
            single.state = before[slot].copy()
            if hasattr(single, "steps_beyond_terminated"):
                single.steps_beyond_terminated = None
            want, want_reward, want_terminated, *_ = single.step(actions[slot])
            np.testing.assert_allclose(obs[slot], want, rtol=0, atol=1e-6)
            np.testing.assert_allclose(reward[slot], want_reward, rtol=0, atol=1e-9)
            assert terminated[slot] == want_terminated
            seen += 1
    assert seen > 200


def test_a_balanced_cartpole_is_truncated_at_500() -> None:
    env = made("cartpole", 2)
    obs, _ = env.reset(seed=0)
    for _ in range(500):
        push = obs @ np.array([0.1, 0.5, 10.0, 1.5]) > 0
        obs, reward, terminated, truncated, info = env.step(push.astype(np.int64))
        assert reward.tolist() == [1.0, 1.0] and not terminated.any() and not info["is_first"].any()
    assert truncated.all()
    *_, truncated, info = env.step(np.zeros(2, np.int64))
    assert info["is_first"].all() and not truncated.any()


def test_physics_of_a_task_are_gymnasiums_with_those_numbers() -> None:
    family = resolve("cartpole-physics")
    tasks = family.sample(5, np.random.default_rng(4))
    env = family.make(tasks)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for slot, task in enumerate(tasks):
        single = gymnasium.make("CartPole-v1").unwrapped
        single.reset(seed=0)
        single.gravity, single.length, single.force_mag = (task.number(key) for key in ("gravity", "half_length", "force"))
        single.masspole, single.masscart = task.number("pole_mass"), task.number("cart_mass")
        single.total_mass = single.masspole + single.masscart
        single.polemass_length = single.masspole * single.length
        env.reset(seed=slot)
        for _ in range(8):
            single.state = np.array(env.save()["state"])[slot]
            actions = rng.integers(2, size=5)
            obs, *_, info = env.step(actions)
            if not info["is_first"][slot]:
                np.testing.assert_allclose(obs[slot], single.step(actions[slot])[0], rtol=0, atol=1e-6)
