"""When a collapsed policy is reported, and when not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cluster.run.collapse import CollapseWatch, Reading


def lines(returns: list[float], entropies: list[float], spread: float = 1.0, updates: int = 20) -> list[int]:
    """Readings, 10,000 steps and `updates` updates apart; at which of them something was said."""
    watch, best, said = CollapseWatch(), -math.inf, []
    for index, (value, entropy) in enumerate(zip(returns, entropies, strict=True)):
        best = max(best, value)
        reading = Reading(
            env_steps=10_000 * (index + 1),
            updates=updates * (index + 1),
            mean_return=value,
            best_return=best,
            spread=spread,
            entropy=entropy,
        )
        if watch.look(reading) is not None:
            said.append(index)
    return said


def test_a_policy_that_fell_to_the_bottom_for_good_is_mentioned_once() -> None:
    rising = np.linspace(20, 200, 10).tolist()
    assert lines(rising + [9.3] * 40, [0.5] * 10 + [0.001] * 40) == [15]


def test_a_policy_without_entropy_that_never_rose_is_mentioned() -> None:
    assert lines([22.0, 15.0] + [9.3] * 20, [0.69, 0.3] + [0.001] * 20) == [6]


@pytest.mark.parametrize("entropy", [0.69, -1.5])
def test_a_fall_is_one_with_entropy_left(entropy: float) -> None:
    assert lines([20.0, 300.0, 900.0, 1500.0] + [40.0] * 20, [entropy] * 24, spread=60.0)


def test_continuous_actions_without_noise_have_no_entropy_left() -> None:
    assert lines([10.0, 11.0] + [9.9] * 20, [4.2, 1.0] + [-8.0] * 20, spread=5.0)
    assert not lines([10.0, 11.0] + [9.9] * 20, [4.2, 1.0] + [-2.0] * 20, spread=5.0)


def test_a_run_that_has_not_begun_to_learn_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    assert not lines((-20.5 + 0.1 * rng.standard_normal(200)).tolist(), [1.79] * 200, spread=0.7)


def test_a_dip_that_ends_is_left_alone() -> None:
    course = [20.0, 300.0, 900.0, 1500.0] * 4 + [40.0, 40.0, 600.0, 1500.0]
    assert not lines(course, [1.0] * len(course), spread=60.0)


def test_a_policy_that_came_back_and_collapsed_again_is_mentioned_again() -> None:
    course = [20.0, 900.0] + [9.0] * 10 + [800.0] + [9.0] * 20
    assert len(lines(course, [0.5] * len(course), spread=10.0)) == 2


def test_what_helps_is_named() -> None:
    watch, line = CollapseWatch(), None
    for step in range(1, 30):
        value = 90.0 if step < 3 else 9.0
        reading = Reading(
            env_steps=step * 1000,
            updates=step * 50,
            mean_return=value,
            best_return=90.0,
            spread=1.0,
            entropy=0.0 if step > 3 else 0.6,
        )
        line = watch.look(reading) or line
    assert line is not None
    for part in ("9", "90", "entropy", "learner.learning_rate", "lag = 0", "learner.entropy_cost", "learner.max_gradient_norm"):
        assert part in line
    assert "\n" not in line
