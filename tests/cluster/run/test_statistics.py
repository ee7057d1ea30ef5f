"""When the mean return may be judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from actors.messages import UnrollReport
from actors.settled import SettledReturns
from cluster.config import RunConfig
from cluster.run.schedule import Call, Ready
from cluster.run.statistics import WINDOW, Statistics
from envs.task import Task
from learners.trajectory import Episode

TASK = Task(family="of two lengths")


class TwoLengths:
    """Slots whose episodes last 2 steps and return 1, or 50 steps and return 0, each as likely: the mean return is 0.5."""

    def __init__(self, num_slots: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._left = self._draw(num_slots)
        self._short = self._left == 2
        self._settled = SettledReturns(num_slots)

    def _draw(self, count: int) -> np.ndarray:
        return np.where(self._rng.random(count) < 0.5, 2, 50)

    def unroll(self, length: int) -> tuple[list[float], tuple[float, ...]]:
        returns = []
        for _ in range(length):
            self._left -= 1
            self._settled.tick()
            done = np.flatnonzero(self._left == 0)
            for slot in done.tolist():
                returns.append(float(self._short[slot]))
                self._settled.end(slot, returns[-1])
            self._left[done] = self._draw(done.size)
            self._short[done] = self._left[done] == 2
        return returns, self._settled.take()


def take_in(statistics: Statistics, returns: Sequence[float], settled: Sequence[float]) -> None:
    report = UnrollReport(
        actor=0,
        round=0,
        policy_version=0,
        env_steps=10,
        episodes=tuple(Episode(task=TASK, episode_return=value, length=1) for value in returns),
        busy_s=0.0,
        where="",
        settled=tuple(settled),
    )
    statistics.call_made(Call(ready=(Ready(report=report, trajectory=None),), lags=(0,)))


@pytest.mark.parametrize("num_slots", [1, 16, 256])
def test_the_short_episodes_that_end_first_reach_no_goal(num_slots: int) -> None:
    """The mean of the first 100 to end is 1.0, later ones swing between 0.0 and 0.9; no policy reaches 0.8, and 0.5 is what it is."""
    for seed in range(10):
        statistics = Statistics(RunConfig(stop_return=0.8), None)
        slots = TwoLengths(num_slots, seed)
        for _ in range(300):
            take_in(statistics, *slots.unroll(10))
            assert statistics.goal_reached() is None
            statistics.interval(alive=1, dropped=0, last_event="")
        best = statistics.state()["best"]
        assert best is None or best < 0.75


def test_a_goal_counts_once_its_episodes_are_settled() -> None:
    statistics = Statistics(RunConfig(stop_return=0.8), None)
    take_in(statistics, [1.0] * WINDOW, [1.0] * (WINDOW - 1))
    assert statistics.goal_reached() is None
    take_in(statistics, [], [1.0])
    assert statistics.goal_reached() == "return reached"


def test_a_goal_that_the_newest_episodes_miss_is_not_reached() -> None:
    statistics = Statistics(RunConfig(stop_return=0.8), None)
    take_in(statistics, [0.1] * WINDOW, [1.0] * WINDOW)
    assert statistics.goal_reached() is None


def test_the_best_return_is_one_that_may_be_judged() -> None:
    statistics = Statistics(RunConfig(), None)
    take_in(statistics, [9.0] * WINDOW, [])
    assert statistics.interval(alive=1, dropped=0, last_event="")[0].best_return is None
    take_in(statistics, [5.0] * WINDOW, [5.0] * WINDOW)
    assert statistics.interval(alive=1, dropped=0, last_event="")[0].best_return == 5.0


def test_a_checkpoint_keeps_what_is_settled() -> None:
    before = Statistics(RunConfig(stop_return=0.8), None)
    take_in(before, [1.0] * WINDOW, [1.0] * (WINDOW - 1))
    after = Statistics(RunConfig(stop_return=0.8), before.state())
    take_in(after, [1.0], [1.0])
    assert after.goal_reached() == "return reached"
