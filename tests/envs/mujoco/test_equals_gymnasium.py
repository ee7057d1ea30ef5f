"""Every robot against gymnasium's version 5 environment, from the same state and under the same actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.mujoco import MUJOCO_FAMILIES
from envs.mujoco.engine import MujocoBatchedEnv
from envs.mujoco.robot import Robot

PLAIN = ["hopper", "walker2d", "halfcheetah", "ant", "reacher", "swimmer", "inverted-pendulum"]
NUM_ENVS = 3
STEPS = 1000
TOLERANCE = 1e-9


def make(name: str, num_envs: int = NUM_ENVS, num_threads: int = 1) -> MujocoBatchedEnv:
    family = MUJOCO_FAMILIES[name]()
    env = family.make(family.sample(num_envs, np.random.default_rng(0)), num_threads=num_threads)
    assert isinstance(env, MujocoBatchedEnv)
    return env


def robot_of(name: str) -> type[Robot]:
    robot: type[Robot] = MUJOCO_FAMILIES[name]().robot  # type: ignore[attr-defined]
    return robot


def put(peer: gymnasium.Env[Any, Any], qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Reset gymnasium's environment (its time limit too) to a state of ours."""
    peer.reset()
    core: Any = peer.unwrapped
    mujoco.mj_resetData(core.model, core.data)
    core.set_state(qpos.copy(), qvel.copy())
    return np.array(core._get_obs())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PLAIN)
def test_equals_gymnasium_step_for_step(name: str, dtype: type[np.floating[Any]]) -> None:
    env = make(name)
    peers = [gymnasium.make(robot_of(name).gymnasium_id) for _ in range(NUM_ENVS)]
    assert env.single_observation_space == peers[0].observation_space
    assert env.single_action_space == peers[0].action_space
    rng = np.random.default_rng(1)
    obs, info = env.reset(seed=2)
    qpos, qvel = env.batch.bind("qpos"), env.batch.bind("qvel")
    num_ends = 0
    limit = np.abs(env.single_action_space.high).max()  # type: ignore[attr-defined]
    for _ in range(STEPS + 1):
        for slot in map(int, np.flatnonzero(info["is_first"])):
            np.testing.assert_allclose(obs[slot], put(peers[slot], qpos[slot], qvel[slot]), rtol=0, atol=TOLERANCE)
        # half the drive, so that the upright robots live long enough, and now and then beyond the limits of the motors
        action = (rng.normal(size=env.action_space.shape) * 0.5 * limit).astype(dtype)
        obs, reward, terminated, truncated, info = env.step(action)
        for slot, peer in enumerate(peers):
            if info["is_first"][slot]:
                assert (reward[slot], terminated[slot], truncated[slot]) == (0.0, False, False)
                continue
            want_obs, want_reward, want_terminated, want_truncated, _ = peer.step(action[slot])
            np.testing.assert_allclose(obs[slot], want_obs, rtol=0, atol=TOLERANCE)
            assert reward[slot] == pytest.approx(float(want_reward), rel=0, abs=TOLERANCE)
            assert (terminated[slot], truncated[slot]) == (want_terminated, want_truncated)
            num_ends += bool(want_terminated or want_truncated)
    assert num_ends >= NUM_ENVS  # an end of an episode was among them


@pytest.mark.parametrize("name", PLAIN)
def test_starts_are_drawn_from_gymnasiums_distribution(name: str) -> None:
    num_draws = 2000
    env = make(name, num_draws)
    env.reset(seed=0)
    ours = np.concatenate([env.batch.bind("qpos"), env.batch.bind("qvel")], axis=1)
    peer = gymnasium.make(robot_of(name).gymnasium_id)
    theirs = []
    for draw in range(num_draws // 4):
        peer.reset(seed=draw)
        theirs.append(np.concatenate([peer.unwrapped.data.qpos, peer.unwrapped.data.qvel]))  # type: ignore[attr-defined]
    want = np.array(theirs)
    spread = want.std(axis=0)
    error = 6 * spread * np.sqrt(1 / num_draws + 4 / num_draws)  # six standard errors of a difference of means
    assert (np.abs(ours.mean(axis=0) - want.mean(axis=0)) <= error + 1e-12).all()
    np.testing.assert_allclose(ours.std(axis=0), spread, rtol=0.2, atol=1e-12)


@pytest.mark.parametrize("name", [*PLAIN, "hopper-dynamics", "ant-velocity"])
def test_is_bit_identical_at_one_and_two_threads(name: str) -> None:
    envs = [make(name, 16, num_threads) for num_threads in (1, 2)]
    rng = np.random.default_rng(0)
    first = [env.reset(seed=5)[0] for env in envs]
    np.testing.assert_array_equal(first[0], first[1])
    for _ in range(150):
        action = rng.uniform(-1, 1, size=envs[0].action_space.shape)
        one, two = (env.step(action) for env in envs)
        for left, right in zip(one[:4], two[:4]):
            np.testing.assert_array_equal(left, right)
        np.testing.assert_array_equal(one[4]["is_first"], two[4]["is_first"])
    np.testing.assert_array_equal(envs[0].batch.state, envs[1].batch.state)
