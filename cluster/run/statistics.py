"""The counters of a run and its figures: one mapping by metric name, shared by metrics, display, summary, plot and Prometheus.

Steps, episodes and lags are counted when the learner gets the experience, so that a synchronous run has the same numbers for a seed,
whatever finishes first.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.messages import Report, Work
from cluster.backends.base import Backend, LearnReport
from cluster.run.clocks import Clocks
from cluster.run.collapse import Reading
from cluster.run.observer import LoopResult, Status, StopReason, WallShares
from cluster.run.rates import Rates
from cluster.run.schedule import Call, RoundOver, Schedule

WINDOW = 100
"""Episodes in the return that is reported, as in the papers."""


class Statistics:
    """The counters of a run.

    Args:
        config: of the run; its `goals` say when it ends.
        saved: the counters of a checkpoint.
        version: of the learner's weights.

    Attributes:
        env_steps: environment steps learned from, those before a resume included.
        rounds: complete ones.
        counts: sums over all reports, by metric name.
    """

    def __init__(self, config: Any, saved: Mapping[str, Any] | None, version: int = 0) -> None:
        saved = saved or {}
        self._goals = config.goals
        self.env_steps, self.rounds = int(saved.get("env_steps", 0)), int(saved.get("rounds", 0))
        self.counts = Counter({name: int(count) for name, count in saved.get("counts", {}).items()})
        self._updates, self._lost_actors = version, int(saved.get("lost_actors", 0))
        self._num_episodes = int(saved.get("num_episodes", 0))
        self._settled: deque[float] = deque(saved.get("settled", ()), maxlen=WINDOW)
        self._returns: deque[float] = deque(saved.get("returns", ()), maxlen=WINDOW)
        self._best: float | None = saved.get("best")
        self._best_score: float | None = saved.get("best_score")
        self._lag_sum, self._lag_count = int(saved.get("lag_sum", 0)), int(saved.get("lag_count", 0))
        self._max_lag = int(saved.get("max_lag", 0))
        self._train_s_before = float(saved.get("train_s", 0.0))
        self._whole, self._interval = Clocks(), Clocks()
        self._last_call = self._whole.started
        self._scalars: list[Mapping[str, float]] = []
        self._reported: list[Mapping[str, float]] = []
        self._lags: list[int] = []
        self._lengths: list[int] = []
        self._counts_before = Counter(self.counts)
        self._rates = Rates(self.counts, self.env_steps)
        self._samples: dict[str, list[float]] = {}
        self.figures: dict[str, float] = {}
        self._shares = WallShares()

    def state(self) -> dict[str, Any]:
        """The counters, for a checkpoint."""
        return {
            "env_steps": self.env_steps,
            "rounds": self.rounds,
            "counts": dict(self.counts),
            "lost_actors": self._lost_actors,
            "num_episodes": self._num_episodes,
            "returns": list(self._returns),
            "settled": list(self._settled),
            "best": self._best,
            "best_score": self._best_score,
            "lag_sum": self._lag_sum,
            "lag_count": self._lag_count,
            "max_lag": self._max_lag,
            "train_s": self.train_s,
        }

    @property
    def train_s(self) -> float:
        """Seconds of training: from the first unit of work of each process to its last learner call."""
        return self._train_s_before + self._last_call - self._whole.started

    @property
    def interval_s(self) -> float:
        """Seconds since the last interval ended."""
        return self._interval.elapsed_s

    @property
    def mean_return(self) -> float | None:
        """Mean over the last 100 episodes; None before the first one ended."""
        return float(np.mean(self._returns)) if self._returns else None

    @property
    def judged_return(self) -> float | None:
        """The return that goals are compared with: the mean return, or that of the last 100 settled episodes if it is lower.

        The first episodes that end are the short ones, and their mean is biased (see `actors.episodes`). None before 100 are settled.
        """
        if len(self._settled) < WINDOW or self.mean_return is None:
            return None
        return min(float(np.mean(self._settled)), self.mean_return)

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
        self._lost_actors += not is_wanted
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
            self._num_episodes += len(report.episodes)
            self._returns.extend(episode.episode_return for episode in report.episodes)
            self._lengths.extend(episode.length for episode in report.episodes)
            self._settled.extend(report.settled)
            if call.score is None:
                self._lag_sum, self._lag_count, self._max_lag = self._lag_sum + lag, self._lag_count + 1, max(self._max_lag, lag)
                self._lags.append(lag)
                for name, values in report.samples.items():
                    self._samples.setdefault(name, []).extend(values)
        # here and not by the clock: a checkpoint of a deterministic run keeps it
        if (judged := self.judged_return) is not None:
            self._best = judged if self._best is None else max(self._best, judged)

    def call_lost(self, call: Call) -> None:
        """Subtract the steps of a call that made no update. Its episodes ended all the same and stay counted."""
        self.env_steps -= sum(done.report.env_steps for done in call.done)

    def learned(self, report: LearnReport) -> None:
        """Count the time of a learner call, and keep its scalars."""
        self._updates, self._last_call = report.version, time.perf_counter()
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
                self._best_score = over.score if self._best_score is None else max(self._best_score, over.score)

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
            "episodes/total": float(self._num_episodes),
            "trajectories/dropped": float(schedule.dropped),
            "work/reissued": float(schedule.reissued),
            "actors/alive": float(alive),
            "actors/lost": float(self._lost_actors),
        }
        if self._returns:
            low, high = np.percentile(self._returns, (10, 90))
            scalars |= {
                "return/mean_100": float(np.mean(self._returns)),
                "return/p10_100": float(low),
                "return/p90_100": float(high),
            }
        if self._best is not None:
            scalars["return/best_100"] = self._best
        if self._best_score is not None:
            scalars["evaluation/best"] = self._best_score
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
        if mean_return is None or self._best is None:
            return None
        return Reading(
            env_steps=self.env_steps,
            updates=self._updates,
            mean_return=mean_return,
            best_return=self._best,
            spread=float(np.std(self._returns)),
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
            lost_actors=self._lost_actors,
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
            reason=reason,
            env_steps=self.env_steps,
            learner_updates=self._updates,
            rounds=self.rounds,
            num_episodes=self._num_episodes,
            counts=dict(self.counts),
            train_s=self.train_s,
            shares=self._whole.shares(),
            mean_lag=self._lag_sum / max(1, self._lag_count),
            max_lag=self._max_lag,
            final_return=self.mean_return,
            dropped=schedule.dropped,
            reissued=schedule.reissued,
            lost_actors=self._lost_actors,
            figures=dict(self.figures),
            parameters=parameters,
        )


def _means(reported: list[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure over the reports that have it."""
    names = dict.fromkeys(name for one in reported for name in one)
    return {name: float(np.mean([one[name] for one in reported if name in one])) for name in names}
