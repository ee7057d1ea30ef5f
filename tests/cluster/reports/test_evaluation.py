"""The episodes and output of `metaray evaluate`: episodes are spread over tasks, and intervals are over tasks."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.reports.bootstrap import mean_estimate
from cluster.reports.evaluation import MAX_SLOTS, figures, plan_for
from envs.errors import InvalidInputError
from envs.task import Task
from learners.trajectory import Episode

FAMILY = "halfcheetah-velocity"


def episodes_of(returns: list[float]) -> list[Episode]:
    return [Episode(task=Task(family="x"), episode_return=one, length=1) for one in returns]


@pytest.mark.parametrize(
    ("family", "num_episodes", "num_tasks", "plan"),
    [
        (FAMILY, 64, None, (64, 1, 1)),
        (FAMILY, 70, None, (35, 1, 2)),
        (FAMILY, 64, 8, (8, 8, 1)),
        (FAMILY, 60, 4, (4, 15, 1)),
        (FAMILY, 500, 2, (2, 25, 10)),
        (FAMILY, 200, 100, (100, 1, 2)),
        (FAMILY, 65, 64, (64, 1, 2)),
        (FAMILY, 64, 1, (1, 64, 1)),
        ("cartpole", 200, None, (50, 1, 4)),
    ],
)
def test_episodes_are_spread_over_tasks_and_slots(
    family: str, num_episodes: int, num_tasks: int | None, plan: tuple[int, int, int]
) -> None:
    found = plan_for(family, num_episodes, num_tasks)
    assert (found.num_draws, found.slots_per_draw, found.per_slot) == plan
    assert found.num_tasks == (1 if family == "cartpole" else plan[0])
    assert found.num_episodes >= num_episodes


def test_an_interval_over_episodes_of_a_task_each() -> None:
    returns = [1.0, 4.0, 2.0, 9.0]
    found, estimate = figures(episodes_of(returns), plan_for(FAMILY, 4, None)), mean_estimate(returns)
    assert found["mean_return"] == 4.0
    assert found["standard_error"] == pytest.approx(np.std(returns, ddof=1) / 2)
    assert found["interval_95"] == [estimate.low, estimate.high]


@pytest.mark.parametrize("num_tasks", [None, MAX_SLOTS, 8])
def test_episodes_of_one_task_are_not_taken_for_as_many_tasks(num_tasks: int | None) -> None:
    """Some episodes of each task, all alike: they say no more than one of each would."""
    plan = plan_for(FAMILY, 3 * MAX_SLOTS, num_tasks)
    of_tasks = np.random.default_rng(0).normal(size=plan.num_tasks)
    found = figures(episodes_of(np.repeat(of_tasks, plan.num_episodes // plan.num_tasks).tolist()), plan)
    estimate = mean_estimate(of_tasks.tolist())
    assert found["mean_return"] == pytest.approx(of_tasks.mean())
    assert found["standard_error"] == pytest.approx(of_tasks.std(ddof=1) / np.sqrt(plan.num_tasks))
    assert found["interval_95"] == pytest.approx([estimate.low, estimate.high])


def test_where_a_family_has_one_task_each_episode_stands_for_itself() -> None:
    returns, plan = np.random.default_rng(0).normal(size=200).tolist(), plan_for("cartpole", 200, None)
    assert figures(episodes_of(returns), plan)["standard_error"] == pytest.approx(np.std(returns, ddof=1) / np.sqrt(200))
    with pytest.raises(InvalidInputError, match="--num-tasks 8: cartpole has a single task, so leave it out"):
        plan_for("cartpole", 200, 8)


@pytest.mark.parametrize("returns", [[5.0], [5.0, 5.0]])
def test_no_interval_where_nothing_says_how_far_others_would_lie(returns: list[float]) -> None:
    assert figures(episodes_of(returns), plan_for(FAMILY, len(returns), None))["interval_95"] is None
