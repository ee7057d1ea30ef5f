"""The point on a plane: its steps, rewards and goals, and that it takes learning."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from envs.registry import resolve
from envs.task import Split, Task

NAMES = ["point-goal", "point-goal-circle", "point-goal-halves"]


def positions(name: str, num_tasks: int, split: Split) -> np.ndarray:
    tasks = resolve(name).sample(num_tasks, np.random.default_rng(0), split)
    return np.array([[task.number("goal_x"), task.number("goal_y")] for task in tasks])


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}-visible" for name in NAMES)])
def test_goals_lie_on_the_circle_and_halves_apart(name: str) -> None:
    train, test = positions(name, 2000, "train"), positions(name, 2000, "test")
    for goals in (train, test):
        np.testing.assert_allclose(np.hypot(*goals.T), 1.0, rtol=1e-12)
        assert abs(np.mean(goals[:, 1])) < 0.1
    assert not {tuple(goal) for goal in train} & {tuple(goal) for goal in test}
    assert not {tuple(goal) for goal in train} & {(-x, y) for x, y in test.tolist()}  # no mirror images either
    if "halves" in name:
        assert (train[:, 0] > 0).all() and (test[:, 0] < 0).all()
        assert np.mean(np.abs(train[:, 0])) == pytest.approx(2 / math.pi, abs=0.03)  # uniform in the angle
    elif "circle" not in name:
        for goals in (train, test):
            angles = np.arctan2(goals[:, 1], goals[:, 0])
            assert np.abs(angles).max() == pytest.approx(math.pi / 4, abs=0.01)
            assert np.std(angles) == pytest.approx(math.pi / 2 / math.sqrt(12), rel=0.05)  # uniform in the angle
    else:
        assert np.abs(np.mean(train, axis=0)).max() < 0.1 and np.abs(np.mean(test, axis=0)).max() < 0.1


def test_equals_one_point_moved_by_hand() -> None:
    family = resolve("point-goal")
    tasks = family.sample(3, np.random.default_rng(1))
    env = family.make(tasks)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32 and (np.abs(obs) <= 0.05).all()
    env.restore(env.save() | {"state": np.array([[0.0, 0.0], [1.95, 0.0], [0.0, -1.95]])})
    points = [[0.0, 0.0], [1.95, 0.0], [0.0, -1.95]]
    rng = np.random.default_rng(2)
    for t in range(1, 33):
        actions = rng.uniform(-2, 2, (3, 2))  # also beyond what is allowed
        obs, reward, terminated, truncated, info = env.step(actions)
        for slot, (task, action) in enumerate(zip(tasks, actions.tolist(), strict=True)):
            points[slot] = [
                max(-2.0, min(2.0, p + 0.1 * max(-1.0, min(1.0, a)))) for p, a in zip(points[slot], action, strict=True)
            ]
            x, y = points[slot]
            assert obs[slot].tolist() == pytest.approx([x, y], abs=1e-6)
            assert reward[slot] == pytest.approx(-math.dist((x, y), (task.number("goal_x"), task.number("goal_y"))), abs=1e-12)
        assert not terminated.any() and not info["is_first"].any()
        assert truncated.all() == truncated.any() == (t == 32)
    assert env.step(actions)[4]["is_first"].all()


def test_the_visible_variant_appends_the_goal() -> None:
    tasks = resolve("point-goal").sample(4, np.random.default_rng(0))
    hidden = resolve("point-goal").make(tasks)
    visible = resolve("point-goal-visible").make([Task(family="point-goal-visible", params=task.params) for task in tasks])
    unseen, seen = hidden.reset(seed=1)[0], visible.reset(seed=1)[0]
    for _ in range(5):
        np.testing.assert_array_equal(seen[:, :2], unseen)
        np.testing.assert_array_equal(seen[:, 2:], np.array([[value for _, value in task.params] for task in tasks], np.float32))
        actions = np.full((4, 2), 0.5)
        unseen, seen = hidden.step(actions)[0], visible.step(actions)[0]


def test_the_hidden_goal_decides_who_is_paid() -> None:
    """Walking to the goal returns -3 to -5, standing still -32, and walking to another task's goal less than standing still on average."""
    family = resolve("point-goal-circle")
    tasks = family.sample(64, np.random.default_rng(5))
    goals = np.array([[task.number("goal_x"), task.number("goal_y")] for task in tasks])

    def play(aims: np.ndarray) -> np.ndarray:
        env = family.make(tasks)
        obs, _ = env.reset(seed=0)
        total = np.zeros(64)
        for _ in range(32):
            obs, reward, *_ = env.step((aims - obs) / 0.1)
            total += reward
        return total

    knows, stands, guesses = play(goals), play(np.zeros((64, 2))), play(np.roll(goals, 1, axis=0))
    assert (knows > -5.2).all() and (knows < -2.5).all()
    assert stands == pytest.approx(-32, abs=1.5)
    assert guesses.mean() < stands.mean()


def test_a_step_costs_microseconds() -> None:
    family = resolve("point-goal")
    env = family.make(family.sample(64, np.random.default_rng(0)))
    env.reset(seed=0)
    actions, seconds = np.zeros((64, 2), np.float32), []
    for _ in range(200):
        start = time.perf_counter()
        env.step(actions)
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 1e-3  # 50 microseconds on an idle machine
