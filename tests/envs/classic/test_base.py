"""The guarantees of the numpy base class: next-step resets, tasks at resets, seeds, save and restore, and no Python per slot."""

from __future__ import annotations

import json
import time

import gymnasium
import numpy as np
import pytest

from envs.batched import BatchedEnv
from envs.classic.families import CLASSIC_FAMILIES
from envs.classic.family import NumpyFamily
from envs.errors import InvalidInputError
from envs.registry import resolve
from envs.task import Task
from tests.envs import windy


def made(name: str, num_envs: int, seed: int = 0) -> BatchedEnv:
    family = resolve(name)
    return family.make(family.sample(num_envs, np.random.default_rng(seed)))


def random_actions(env: BatchedEnv, rng: np.random.Generator) -> np.ndarray:
    if isinstance(env.single_action_space, gymnasium.spaces.Discrete):
        return rng.integers(env.single_action_space.n, size=env.num_envs)
    return rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)


def test_a_finished_slot_is_reset_on_the_next_step_and_its_action_ignored() -> None:
    env, twin = made("cartpole", 8), made("cartpole", 8)
    rng = np.random.default_rng(0)
    env.reset(seed=1), twin.reset(seed=1)
    resets, is_over = 0, np.zeros(8, bool)
    for _ in range(200):
        actions = random_actions(env, rng)
        obs, reward, terminated, truncated, info = env.step(actions)
        other, *_ = twin.step(np.where(is_over, 1 - actions, actions))
        np.testing.assert_array_equal(obs, other)
        np.testing.assert_array_equal(info["is_first"], is_over)
        assert (np.abs(obs[is_over]) <= 0.05).all() and (reward[is_over] == 0).all() and (reward[~is_over] == 1).all()
        assert not (terminated | truncated)[is_over].any()
        final = obs[terminated]
        assert ((np.abs(final[:, 0]) > 2.4) | (np.abs(final[:, 2]) > 0.2094)).all()  # the final observation, not the next first
        is_over = terminated | truncated
        resets += is_over.sum()
    assert resets > 20


def test_a_slot_takes_up_its_task_at_its_next_reset_and_not_before() -> None:
    env = made("cartpole-physics", 3)
    first, *_ = old = list(env.tasks)
    new = resolve("cartpole-physics").sample(1, np.random.default_rng(9))[0]
    env.reset(seed=0)
    env.assign(0, new)
    while True:
        assert env.tasks == old
        _, _, terminated, truncated, _ = env.step(np.zeros(3, np.int64))
        if (terminated | truncated)[0]:
            break
    assert env.tasks[0] == first and env.param("force")[0] == first.number("force")
    env.step(np.zeros(3, np.int64))
    assert env.tasks[0] == new and env.tasks[1:] == old[1:]
    assert env.param("force")[0] == new.number("force")


def test_an_assigned_task_is_taken_up_by_reset_too() -> None:
    env = made("cartpole-physics", 2)
    new = resolve("cartpole-physics").sample(1, np.random.default_rng(9))[0]
    env.assign(1, new)
    env.reset(seed=0)
    assert env.tasks[1] == new


def test_a_parameter_that_the_dynamics_do_not_read_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="did you mean gravity"):
        resolve("cartpole").make([Task(family="cartpole", params=(("gravty", 1.0),))])


@pytest.mark.parametrize("name", [*CLASSIC_FAMILIES, windy.NAME])
def test_saved_and_restored_it_continues_bit_for_bit(name: str) -> None:
    env, rng = made(name, 6), np.random.default_rng(0)
    env.reset(seed=2)
    for _ in range(203):  # past a limit, and in the middle of episodes
        env.step(random_actions(env, rng))
    env.assign(2, resolve(name).sample(1, np.random.default_rng(5))[0])
    saved = env.save()
    later = [random_actions(env, rng) for _ in range(300)]
    want = [env.step(actions) for actions in later]

    other = made(name, 6, seed=77)
    other.reset(seed=99)
    plain = {key: value if isinstance(value, np.ndarray) else json.loads(json.dumps(value)) for key, value in saved.items()}
    other.restore(plain)
    for actions, (obs, *flags, info) in zip(later, want, strict=True):
        got_obs, *got_flags, got_info = other.step(actions)
        np.testing.assert_array_equal(got_obs, obs)
        for got, wanted in zip(got_flags, flags, strict=True):
            np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(got_info["is_first"], info["is_first"])
    assert other.tasks == env.tasks


def test_what_a_step_returned_is_the_callers_own() -> None:
    env, rng = made("cartpole", 4), np.random.default_rng(0)
    kept = [(array, array.copy()) for array in env.reset(seed=0)[:1]]
    for _ in range(60):
        obs, reward, terminated, truncated, info = env.step(random_actions(env, rng))
        kept += [(array, array.copy()) for array in (obs, reward, terminated, truncated, info["is_first"])]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        made("cartpole", 1).step(np.zeros(1, np.int64))


def test_seeds_determine_everything_and_without_a_seed_generators_continue() -> None:
    env = made("cartpole", 4)
    first, _ = env.reset(seed=5)
    second, _ = env.reset()
    again, _ = env.reset(seed=5)
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, second).any()


def test_train_and_test_tasks_differ_for_the_same_seed_and_lie_in_range() -> None:
    family = resolve("cartpole-physics")
    assert isinstance(family, NumpyFamily)
    train, test = (family.sample(200, np.random.default_rng(0), split) for split in ("train", "test"))
    assert not set(train) & set(test)
    for parameter in family.parameters:
        values = np.array([task.number(parameter.name) for task in train])
        assert parameter.low is not None and parameter.high is not None
        assert parameter.low <= values.min() and values.max() <= parameter.high
        assert np.ptp(values) > 0.9 * (parameter.high - parameter.low)


def test_a_step_of_many_slots_makes_no_python_call_per_slot() -> None:
    def seconds_a_step(num_envs: int) -> float:
        env = made("cartpole", num_envs)
        env.reset(seed=0)
        actions = np.zeros(num_envs, np.int64)
        times = []
        for _ in range(200):
            start = time.perf_counter()
            env.step(actions)
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    assert seconds_a_step(1024) < 30 * seconds_a_step(1)  # 1,024 times the work; 3 to 6 times the time
