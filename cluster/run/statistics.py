"""The counters of a run and its figures: one mapping by metric name, shared by metrics, display, summary, plot and Prometheus.

Steps, episodes and lags are counted when the learner gets the experience, so that a synchronous run has the same numbers for a seed,
whatever finishes first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from actors.messages import Report, Work
from cluster.backends.base import Backend, LearnReport
from cluster.run.clocks import Clocks
from cluster.run.collapse import Reading
from cluster.run.counters import Counters
from cluster.run.observer import LoopResult, Status, StopReason, WallShares
from cluster.run.rates import Rates
from cluster.run.schedule import Call, RoundOver, Schedule


class Statistics(Counters):
    """The counters of a run, and its figures in intervals.

    Args:
        config: of the run; its `goals` say when it ends.
        saved: the counters of a checkpoint.
        version: of the learner's weights.

    Attributes:
        figures: the newest value of every metric, by name.
    """

    def __init__(self, config: Any, saved: Mapping[str, Any] | None, version: int = 0) -> None:
        # a checkpoint of an older version may have others
        super().__init__(**{one.name: saved[one.name] for one in fields(Counters) if saved and one.name in saved})
        self._goals, self._updates, self._train_s_before = config.goals, version, self.train_s
        self._whole, self._interval = Clocks(), Clocks()
        self._scalars: list[Mapping[str, float]] = []
        self._reported: list[Mapping[str, float]] = []
        self._lags: list[int] = []
        self._lengths: list[int] = []
        self._counts_before = Counter(self.counts)
        self._rates = Rates(self.counts, self.env_steps)
        self._samples: dict[str, list[float]] = {}
        self.figures: dict[str, float] = {}
        self._shares = WallShares()

    @property
    def interval_s(self) -> float:
        """Seconds since the last interval ended."""
        return self._interval.elapsed_s

    def goal_reached(self) -> StopReason | None:
        """Which of the run's goals is reached, if any."""
        goals, judged = self._goals, self.judged_return
        if goals.env_steps is not None and self.env_steps >= goals.env_steps:
            return "total steps"
        if goals.rounds is not None and self.rounds >= goals.rounds:
            return "total epochs"
        if goals.stop_return is not None and judged is not None and judged >= goals.stop_return:
            return "return reached"
        if goals.seconds is not None and self._train_s_before + self._whole.elapsed_s >= goals.seconds:
            return "time limit"
        return None

    def tick(self, alive: int) -> None:
        """Add the time since the last tick, with this many actors from now on."""
        for clocks in (self._whole, self._interval):
            clocks.tick(alive)

    def submitted(self, work: Work) -> None:
        """A unit of work was started."""
        for clocks in (self._whole, self._interval):
            clocks.submitted(work.key)

    def returned(self, work: Work, report: Report | None) -> None:
        """A unit of work ended; without a result where there is no report."""
        for clocks in (self._whole, self._interval):
            clocks.returned(work.key, 0.0 if report is None else report.busy_s)

    def lost(self, work: Work | None, *, is_wanted: bool) -> None:
        """An actor was lost, or removed on request."""
        self.lost_actors += not is_wanted
        if work is not None:
            self.returned(work, None)

    def collected(self, report: Report) -> None:
        """Add a result to the rates; steps and episodes are counted when it is learned from."""
        self._rates.add(report)
        if report.figures:
            self._reported.append(report.figures)

    def called(self, call: Call) -> None:
        """Count the experience of a learner call."""
        for done, lag in zip(call.done, call.lags, strict=True):
            report = done.report
            self.env_steps += report.env_steps
            self.counts.update(report.counts)
            self.num_episodes += len(report.episodes)
            self.returns.extend(episode.episode_return for episode in report.episodes)
            self._lengths.extend(episode.length for episode in report.episodes)
            self.settled.extend(report.settled)
            if call.score is None:
                self.lag_sum, self.lag_count, self.max_lag = self.lag_sum + lag, self.lag_count + 1, max(self.max_lag, lag)
                self._lags.append(lag)
                for name, values in report.samples.items():
                    self._samples.setdefault(name, []).extend(values)
        # here and not by the clock: a checkpoint of a deterministic run keeps it
        if (judged := self.judged_return) is not None:
            self.best = judged if self.best is None else max(self.best, judged)

    def call_lost(self, call: Call) -> None:
        """Subtract the steps of a call that made no update. Its episodes ended all the same and stay counted."""
        self.env_steps -= sum(done.report.env_steps for done in call.done)

    def learned(self, report: LearnReport) -> None:
        """Count the time of a learner call, and keep its scalars."""
        self._updates, self.train_s = report.version, self._train_s_before + self._whole.elapsed_s
        for clocks in (self._whole, self._interval):
            clocks.learned(report.busy_s)
        if report.scalars:
            self._scalars.append(report.scalars)

    def round_over(self, over: RoundOver) -> None:
        """Count a round, and keep the score of its evaluation."""
        self.rounds = over.round
        if over.score is not None:
            self._scalars.append({"evaluation/score": over.score})
            if math.isfinite(over.score):
                self.best_score = over.score if self.best_score is None else max(self.best_score, over.score)

    def interval(
        self, schedule: Schedule, *, alive: int, has_shares: bool = True
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """End the interval; return its metrics and its histograms by name, without shares of wall time where it is too short for them."""
        self.tick(alive)
        clocks, lags = self._interval, np.array(self._lags)
        self._interval = clocks.restarted()
        scalars = _means(self._scalars) | _means(self._reported) | self._rates.per_second()
        scalars |= {name: float(self.counts[name] - self._counts_before[name]) for name in self.counts if "/" in name}
        if has_shares:
            self._shares = clocks.shares()
            scalars |= {f"utilisation/{name}": value for name, value in vars(self._shares).items()}
        scalars |= {
            "throughput/updates": float(self._updates),
            "episodes/total": float(self.num_episodes),
            "trajectories/dropped": float(schedule.dropped),
            "work/reissued": float(schedule.reissued),
            "actors/alive": float(alive),
            "actors/lost": float(self.lost_actors),
        }
        if self.returns:
            low, high = np.percentile(self.returns, (10, 90))
            scalars |= {
                "return/mean_100": float(np.mean(self.returns)),
                "return/p10_100": float(low),
                "return/p90_100": float(high),
            }
        if self.best is not None:
            scalars["return/best_100"] = self.best
        if self.best_score is not None:
            scalars["evaluation/best"] = self.best_score
        if self._lengths:
            scalars["episodes/length"] = float(np.mean(self._lengths))
        if lags.size:
            scalars |= {"lag/mean": float(lags.mean()), "lag/max": float(lags.max())}
        if self.rounds:
            scalars["round"] = float(self.rounds)
        self._counts_before = Counter(self.counts)
        histograms = {name: np.array(values) for name, values in self._samples.items()} | (
            {"lag/histogram": lags} if lags.size else {}
        )
        self._scalars, self._reported, self._lags, self._lengths, self._samples = [], [], [], [], {}
        self.figures |= scalars
        return scalars, histograms

    def reading(self) -> Reading | None:
        """Input of the collapse check, from the newest interval; None before 100 episodes are settled."""
        mean_return = self.judged_return
        if mean_return is None or self.best is None:
            return None
        return Reading(
            env_steps=self.env_steps,
            updates=self._updates,
            mean_return=mean_return,
            best_return=self.best,
            spread=float(np.std(self.returns)),
            entropy=self.figures.get("policy/entropy"),
        )

    def status(self, schedule: Schedule, backend: Backend, *, last_event: str) -> Status:
        """The status of the run."""
        part, done, total = schedule.round_progress()
        share, left = self._share_and_seconds_left(done / total if total and part == "train" else 0.0)
        return Status(
            env_steps=self.env_steps,
            share=share,
            rounds=self.rounds,
            total_rounds=self._goals.rounds or 0,
            part=part,
            done=done,
            total=total,
            figures=self.figures | self._rates.per_second(),
            actors_alive=backend.num_alive(),
            num_actors=backend.num_actors,
            lost_actors=self.lost_actors,
            waiting=self._shares,
            elapsed_s=self._whole.elapsed_s,
            eta_s=left,
            last_event=last_event,
        )

    def _share_and_seconds_left(self, of_round: float) -> tuple[float, float | None]:
        """Share of the run that is done, and seconds left at the present rate, by the limit that ends it first."""
        goals, seconds = self._goals, self._train_s_before + self._whole.elapsed_s
        done: list[tuple[float, float]] = []
        rate = self._rates.per_second()["throughput/env_steps_per_s"]
        if goals.env_steps is not None:
            left = (goals.env_steps - self.env_steps) / rate if rate > 0 else math.inf
            done.append((self.env_steps / goals.env_steps, left))
        if goals.rounds is not None:
            rounds = self.rounds + of_round
            per_round = self.env_steps / self.rounds if self.rounds else math.inf
            left = (goals.rounds - rounds) * per_round / rate if rate > 0 and rounds else math.inf
            done.append((rounds / goals.rounds, left))
        if goals.seconds is not None:
            done.append((seconds / goals.seconds, goals.seconds - seconds))
        left = min((one[1] for one in done), default=math.inf)
        return min(1.0, max((one[0] for one in done), default=0.0)), max(0.0, left) if math.isfinite(left) else None

    def result(self, reason: StopReason, parameters: dict[str, np.ndarray], schedule: Schedule) -> LoopResult:
        """The figures of the whole run."""
        return LoopResult(
            **self.state(),
            reason=reason,
            learner_updates=self._updates,
            shares=self._whole.shares(),
            dropped=schedule.dropped,
            reissued=schedule.reissued,
            figures=self.figures,
            parameters=parameters,
        )


def _means(reported: list[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure over the reports that have it."""
    names = dict.fromkeys(name for one in reported for name in one)
    return {name: float(np.mean([one[name] for one in reported if name in one])) for name in names}
