"""The counters of a run, when its mean return is settled, and its progress."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.episodes import SettledReturns
from actors.messages import Report, Work
from cluster.backends.base import LearnReport
from cluster.config import EpgRunConfig, RunConfig
from cluster.run.counters import WINDOW
from cluster.run.schedule import Call, Done, RoundOver
from cluster.run.statistics import Statistics
from envs.task import Task
from learners.trajectory import Episode
from tests.cluster.run.playing import PROGRESS

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


def report_of(returns: Sequence[float] = (), settled: Sequence[float] = (), **fields: Any) -> Report:
    episodes = tuple(Episode(task=TASK, episode_return=value, length=1) for value in returns)
    return Report(**({"env_steps": 10, "busy_s": 0.0} | fields), episodes=episodes, settled=tuple(settled))


def call_of(*reports: Report, lags: Sequence[int] = (), score: float | None = None) -> Call:
    done = tuple(Done(work=Work(round=0, index=i), version=0, report=report) for i, report in enumerate(reports))
    return Call(done=done, lags=tuple(lags) or (0,) * len(done), progress=PROGRESS, score=score)


def take_in(statistics: Statistics, returns: Sequence[float], settled: Sequence[float]) -> None:
    statistics.called(call_of(report_of(returns, settled)))


def schedule_at(part: str = "", done: int = 0, total: int = 0) -> Any:
    return SimpleNamespace(dropped=3, reissued=2, round_progress=lambda: (part, done, total))


BACKEND: Any = SimpleNamespace(num_alive=lambda: 3, num_actors=4)


@pytest.mark.parametrize("num_slots", [1, 16, 256])
def test_the_short_episodes_that_end_first_reach_no_goal(num_slots: int) -> None:
    """The mean of the first 100 to end is 1.0, later ones swing between 0.0 and 0.9; no policy reaches 0.8, and 0.5 is what it is."""
    for seed in range(10):
        statistics = Statistics(RunConfig(stop_return=0.8), None)
        slots = TwoLengths(num_slots, seed)
        for _ in range(300):
            take_in(statistics, *slots.unroll(10))
            assert statistics.goal_reached() is None
            statistics.interval(schedule_at(), alive=1)
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
    assert "return/best_100" not in statistics.interval(schedule_at(), alive=1)[0]
    take_in(statistics, [5.0] * WINDOW, [5.0] * WINDOW)
    assert statistics.interval(schedule_at(), alive=1)[0]["return/best_100"] == 5.0


def test_the_best_return_in_a_checkpoint_does_not_depend_on_when_metrics_are_logged() -> None:
    often, never = Statistics(RunConfig(), None), Statistics(RunConfig(), None)
    for value in (1.0, 7.0, 3.0):
        for statistics in (often, never):
            take_in(statistics, [value] * WINDOW, [value] * WINDOW)
        often.interval(schedule_at(), alive=1)
    assert often.state()["best"] == never.state()["best"] == 7.0


def test_a_row_over_a_fraction_of_an_interval_has_no_shares_of_wall_time() -> None:
    statistics = Statistics(RunConfig(), None)
    assert "utilisation/actors" in statistics.interval(schedule_at(), alive=1)[0]
    assert "utilisation/actors" not in statistics.interval(schedule_at(), alive=1, has_shares=False)[0]


def test_a_checkpoint_keeps_what_is_settled() -> None:
    before = Statistics(RunConfig(stop_return=0.8), None)
    take_in(before, [1.0] * WINDOW, [1.0] * (WINDOW - 1))
    after = Statistics(RunConfig(stop_return=0.8), before.state())
    take_in(after, [1.0], [1.0])
    assert after.goal_reached() == "return reached"


def test_a_checkpoint_keeps_every_counter() -> None:
    before = Statistics(RunConfig(), None)
    before.called(call_of(report_of([1.0, 3.0], [1.0], counts={"lives": 4, "lives/not_finite": 1}), lags=(5,)))
    before.lost(None, is_wanted=False)
    before.round_over(RoundOver(round=7, report=LearnReport(version=7, num_updates=1, busy_s=0.0), score=2.5))
    before.interval(schedule_at(), alive=1)
    saved = before.state() | {"train_s": 600.0}
    after = Statistics(RunConfig(), saved, version=7)
    assert {**after.state(), "train_s": 600.0} == saved
    result = after.result("total steps", {}, schedule_at())
    assert (result.env_steps, result.learner_updates, result.rounds, result.num_episodes) == (10, 7, 7, 2)
    assert result.counts == {"lives": 4, "lives/not_finite": 1}
    assert (result.mean_lag, result.max_lag, result.mean_return, result.lost_actors) == (5.0, 5, 2.0, 1)
    assert after.interval(schedule_at(), alive=1)[0]["evaluation/best"] == 2.5
    assert result.train_s == pytest.approx(600, abs=1)


def test_an_interval_has_the_means_of_what_was_reported_in_it_and_the_counts_since() -> None:
    statistics = Statistics(RunConfig(), None)
    for value in (1.0, 3.0):
        report = report_of(
            [value], figures={"life/length": value}, samples={"fitness/histogram": (value,)}, counts={"lives/cut": 2}
        )
        statistics.collected(report)
        statistics.called(call_of(report, lags=(int(value),)))
    for version in (1, 2):
        statistics.learned(LearnReport(version=version, num_updates=1, busy_s=0.0, scalars={"loss/policy": float(version)}))
    scalars, histograms = statistics.interval(schedule_at(), alive=3)
    want = {"life/length": 2.0, "loss/policy": 1.5, "lives/cut": 4.0, "lag/mean": 2.0, "lag/max": 3.0, "return/mean_100": 2.0}
    want |= {"episodes/length": 1.0, "episodes/total": 2.0, "throughput/updates": 2.0, "actors/alive": 3.0}
    want |= {"trajectories/dropped": 3.0, "work/reissued": 2.0, "actors/lost": 0.0}
    assert {name: scalars[name] for name in want} == want
    assert {name: values.tolist() for name, values in histograms.items()} == {
        "fitness/histogram": [1, 3],
        "lag/histogram": [1, 3],
    }
    scalars, histograms = statistics.interval(schedule_at(), alive=3)
    assert not {"life/length", "loss/policy", "lag/mean", "episodes/length"} & scalars.keys()
    assert (scalars["lives/cut"], scalars["return/mean_100"], histograms) == (0.0, 2.0, {})
    assert statistics.figures["loss/policy"] == 1.5  # the newest there is


def test_an_evaluation_counts_its_steps_and_has_no_lag() -> None:
    statistics = Statistics(RunConfig(), None)
    statistics.called(call_of(report_of(samples={"fitness/histogram": (1.0,)}), score=1.0))
    scalars, histograms = statistics.interval(schedule_at(), alive=1)
    assert statistics.env_steps == 10
    assert "lag/mean" not in scalars and histograms == {}


def test_a_call_that_made_no_update_takes_its_steps_back() -> None:
    statistics = Statistics(RunConfig(), None)
    lost = call_of(report_of([1.0]), report_of())
    statistics.called(call_of(report_of()))
    statistics.called(lost)
    statistics.call_lost(lost)
    assert (statistics.env_steps, statistics.mean_return) == (10, 1.0)


def test_rates_are_over_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    statistics = Statistics(RunConfig(), {"env_steps": 10**9, "counts": {"lives": 10**6}})
    rates = []
    for steps in [10] * 30 + [20] * 60:
        statistics.collected(report_of(env_steps=steps, counts={"lives": 2, "lives/cut": 1}))
        now += 1.0
        rates.append(statistics.interval(schedule_at(), alive=1)[0])
    assert [rates[i]["throughput/env_steps_per_s"] for i in (0, 29, 89)] == [10, 10, 20]
    assert rates[-1]["throughput/lives_per_s"] == 2.0
    assert "throughput/lives/cut_per_s" not in rates[-1]


def test_a_run_that_ends_by_the_clock_is_measured_by_the_clock() -> None:
    config = RunConfig(total_env_steps=10**9, max_train_seconds=1000.0)
    saved = Statistics(config, None).state() | {"train_s": 600.0}
    status = Statistics(config, saved).status(schedule_at(), BACKEND, last_event="")
    assert status.share == pytest.approx(0.6, abs=0.01)
    assert status.eta_s == pytest.approx(400, abs=5)
    endless = Statistics(RunConfig(), None).status(schedule_at(), BACKEND, last_event="")
    assert (endless.share, endless.eta_s) == (0.0, None)


def test_the_time_limit_is_a_goal_and_counts_what_was_before() -> None:
    config = RunConfig(max_train_seconds=1000.0)
    assert Statistics(config, {"train_s": 999.0}).goal_reached() is None
    assert Statistics(config, {"train_s": 1000.0}).goal_reached() == "time limit"


def test_a_run_of_steps_says_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    statistics = Statistics(RunConfig(total_env_steps=1000), None)
    report = report_of(env_steps=250)
    statistics.collected(report)
    statistics.called(call_of(report))
    now += 10.0
    status = statistics.status(schedule_at(), BACKEND, last_event="")
    assert (status.share, status.eta_s, status.env_steps) == (0.25, 30.0, 250)
    assert status.figures["throughput/env_steps_per_s"] == 25.0
    assert (status.actors_alive, status.num_actors) == (3, 4)


@pytest.mark.parametrize(
    ("part", "rounds", "train_s", "share"),
    [
        ("train", 12, 0.0, (12 + 5 / 8) / 200),
        ("train", 12, 500.0, 0.5),
        ("evaluate", 12, 0.0, 0.06),
        ("train", 200, 0.0, 1.0),
    ],
)
def test_the_share_of_a_run_of_rounds_counts_units_and_the_clock(part: str, rounds: int, train_s: float, share: float) -> None:
    config = EpgRunConfig(num_epochs=200, max_train_seconds=1000.0 if train_s else None)
    statistics = Statistics(config, {"rounds": rounds, "env_steps": 10, "train_s": train_s})
    status = statistics.status(schedule_at(part, 5, 8), BACKEND, last_event="")
    assert status.share == pytest.approx(share, abs=1e-4)
    assert (status.part, status.done, status.total, status.rounds, status.total_rounds) == (part, 5, 8, rounds, 200)


def test_a_score_that_is_not_finite_is_never_the_best() -> None:
    statistics = Statistics(EpgRunConfig(), None)
    for round_, score in enumerate((math.nan, 1.0, math.inf, 0.5)):
        statistics.round_over(RoundOver(round=round_, report=LearnReport(version=1, num_updates=1, busy_s=0.0), score=score))
    assert statistics.interval(schedule_at(), alive=1)[0]["evaluation/best"] == 1.0
