"""`fetch-reach`: its tasks always, its arm where gymnasium-robotics is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.errors import InvalidInputError
from envs.registry import resolve
from envs.task import Task

NAMES = ["fetch-reach", "fetch-reach-visible"]
HAS_ROBOTICS = importlib.util.find_spec("gymnasium_robotics") is not None
needs_robotics = pytest.mark.skipif(not HAS_ROBOTICS, reason="needs gymnasium-robotics: pip install 'metaray[fetch]'")


@pytest.mark.parametrize("name", NAMES)
def test_targets_lie_in_range_and_apart_for_train_and_test(name: str) -> None:
    family = resolve(name)
    train, test = (family.sample(300, np.random.default_rng(0), split) for split in ("train", "test"))  # type: ignore[arg-type]
    assert not set(train) & set(test)
    offsets = np.array([[value for _, value in task.params] for task in train + test], float)
    assert offsets.shape == (600, 3) and (np.abs(offsets) <= 0.15).all() and (np.ptp(offsets, axis=0) > 0.28).all()


@pytest.mark.skipif(HAS_ROBOTICS, reason="needs an environment without gymnasium-robotics")
@pytest.mark.parametrize("name", NAMES)
def test_without_the_package_one_line_says_what_to_install(name: str) -> None:
    family = resolve(name)
    with pytest.raises(InvalidInputError) as caught:
        family.make(family.sample(1, np.random.default_rng(0)))
    assert "pip install 'metaray[fetch]'" in str(caught.value) and "\n" not in str(caught.value)


@needs_robotics
def test_equals_the_arm_stepped_by_hand_with_its_goal_moved() -> None:
    family = resolve("fetch-reach")
    rng = np.random.default_rng(0)
    tasks, later = family.sample(2, rng), family.sample(2, rng, "test")
    env = family.make(tasks)
    obs, _ = env.reset(seed=3)
    assert obs.shape == (2, 10)
    for slot, task in enumerate(later):
        env.assign(slot, task)
    arm: Any = gymnasium.make("FetchReachDense-v4")
    for played in (tasks, later):
        actions = rng.uniform(-1, 1, (50, 2, 4)).astype(np.float32)
        got = [env.step(row) for row in actions]
        for slot, task in enumerate(played):
            offset = [value for _, value in task.params]
            first, _ = arm.reset()
            np.testing.assert_array_equal(obs[slot], first["observation"].astype(np.float32))
            target = arm.unwrapped.initial_gripper_xpos + np.array(offset)
            for t, action in enumerate(actions[:, slot]):
                want, _, _, is_last, _ = arm.step(action)
                np.testing.assert_array_equal(got[t][0][slot], want["observation"].astype(np.float32))
                assert got[t][1][slot] == pytest.approx(-np.linalg.norm(want["achieved_goal"] - target), abs=1e-12)
                assert (got[t][2][slot], got[t][3][slot]) == (False, is_last)
        obs, *_, info = env.step(actions[0])
        assert info["is_first"].all() and env.tasks == later
    env.close(), arm.close()


@needs_robotics
def test_the_visible_variant_appends_the_offsets_and_slots_restart() -> None:
    family = resolve("fetch-reach-visible")
    tasks = family.sample(2, np.random.default_rng(0))
    env = family.make(tasks)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs[:, 10:], np.array([[value for _, value in task.params] for task in tasks], np.float32))
    task = family.sample(1, np.random.default_rng(1))[0]
    env.assign(1, task)
    first = env.restart(np.array([1]))
    assert first[0, 10:].tolist() == [np.float32(value) for _, value in task.params] and env.tasks == [tasks[0], task]
    env.close()


@needs_robotics
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ((("offset_x", 0.1),), "lacks the parameter offset_y"),
        ((("offset_w", 0.1),), "unknown parameter of fetch-reach 'offset_w'; did you mean"),
        ((("offset_x", float("inf")), ("offset_y", 0.0), ("offset_z", 0.0)), "offset_x = inf is out of range"),
    ],
)
def test_a_wrong_task_is_one_clear_line(params: tuple[tuple[str, float], ...], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        resolve("fetch-reach").make([Task(family="fetch-reach", params=params)])
