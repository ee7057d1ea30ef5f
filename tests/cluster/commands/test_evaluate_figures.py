"""What `metaray evaluate` says of its episodes: the interval is over tasks, of which several episodes may have one in common."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cluster.commands.evaluate import MAX_SLOTS, _figures
from cluster.reports.bootstrap import mean_estimate
from envs.task import Task
from learners.trajectory import Episode


def episodes_of(returns: list[float]) -> list[Episode]:
    return [Episode(task=Task(family="x"), episode_return=one, length=1) for one in returns]


def test_an_interval_over_episodes_of_a_task_each() -> None:
    returns = [1.0, 4.0, 2.0, 9.0]
    figures, estimate = _figures(episodes_of(returns)), mean_estimate(returns)
    assert figures["mean_return"] == 4.0
    assert figures["standard_error"] == pytest.approx(np.std(returns, ddof=1) / 2)
    assert figures["interval_95"] == [estimate.low, estimate.high]


def test_episodes_of_one_task_are_not_taken_for_as_many_tasks() -> None:
    """Three episodes of each of 64 tasks, all three alike: they say no more than one of each would."""
    of_tasks = np.random.default_rng(0).normal(size=MAX_SLOTS)
    figures, estimate = _figures(episodes_of(np.repeat(of_tasks, 3).tolist())), mean_estimate(of_tasks.tolist())
    assert figures["num_episodes"] == 3 * MAX_SLOTS
    assert figures["standard_error"] == pytest.approx(of_tasks.std(ddof=1) / math.sqrt(MAX_SLOTS))
    assert figures["interval_95"] == pytest.approx([estimate.low, estimate.high])


@pytest.mark.parametrize("returns", [[3.0], [3.0, 3.0, 3.0]], ids=["single", "same"])
def test_episodes_that_do_not_say_how_far_others_would_lie_have_no_interval(returns: list[float]) -> None:
    assert _figures(episodes_of(returns))["interval_95"] is None
