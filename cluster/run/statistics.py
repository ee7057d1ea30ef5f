"""What a run counts, and the figures made of it: totals for the summary, and one interval at a time for progress and metrics.

Steps, episodes and lags are counted where the learner takes a trajectory in, once each: the same numbers for a seed in deterministic mode,
whatever finished first.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.messages import UnrollReport
from cluster.backends.wiring import LearnReport
from cluster.config import RunConfig
from cluster.run.collapse import Reading
from cluster.run.observer import LoopResult, Status, StopReason, WallShares
from cluster.run.schedule import Call

WINDOW = 100
"""Episodes in the return that is reported, as in the papers."""


class Interval:
    """What happened since the last line of metrics."""

    def __init__(self, now: float) -> None:
        self.started = now
        self.env_steps = 0
        self.actor_busy_s = self.transport_s = self.learner_busy_s = 0.0
        self.lags: list[int] = []
        self.lengths: list[int] = []
        self.scalars: list[dict[str, float]] = []


class Statistics:
    """The counters of a run.

    Attributes:
        env_steps: environment steps that the learner has taken in, before a resume included.
        lost_actors: actors that died or hung.
    """

    def __init__(self, config: RunConfig, saved: Mapping[str, Any] | None) -> None:
        saved = saved or {}
        self._config = config
        self.env_steps = int(saved.get("env_steps", 0))
        self.updates = int(saved.get("updates", 0))
        self.lost_actors = int(saved.get("lost_actors", 0))
        self._num_episodes = int(saved.get("num_episodes", 0))
        self._settled: deque[float] = deque(saved.get("settled", ()), maxlen=WINDOW)
        self._returns: deque[float] = deque(saved.get("returns", ()), maxlen=WINDOW)
        self._best: float | None = saved.get("best")
        self._lag_sum, self._lag_count = int(saved.get("lag_sum", 0)), int(saved.get("lag_count", 0))
        self._max_lag = int(saved.get("max_lag", 0))
        self._train_s_before = float(saved.get("train_s", 0.0))
        self._actor_busy_s = self._learner_busy_s = 0.0
        self._started = time.perf_counter()
        self._last_update = self._started
        self._interval = Interval(self._started)
        self._tuned: dict[str, float] = {}
        self._rates: deque[tuple[float, int]] = deque([(self._started, self.env_steps)], maxlen=12)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {
            "env_steps": self.env_steps,
            "updates": self.updates,
            "lost_actors": self.lost_actors,
            "num_episodes": self._num_episodes,
            "returns": list(self._returns),
            "settled": list(self._settled),
            "best": self._best,
            "lag_sum": self._lag_sum,
            "lag_count": self._lag_count,
            "max_lag": self._max_lag,
            "train_s": self._train_s_before + self._train_s,
        }

    @property
    def _train_s(self) -> float:
        """Seconds from this process's first request to its last update."""
        return self._last_update - self._started

    @property
    def mean_return(self) -> float | None:
        """Mean over the last 100 episodes; None before the first one ended."""
        return float(np.mean(self._returns)) if self._returns else None

    @property
    def judged_return(self) -> float | None:
        """What a goal is held against: the mean return, or that of the last 100 settled episodes where it is lower.

        The first episodes to end are the short ones, whose mean may be far from the policy's (see `actors.settled`). None before 100
        are settled.
        """
        if len(self._settled) < WINDOW or self.mean_return is None:
            return None
        return min(float(np.mean(self._settled)), self.mean_return)

    def goal_reached(self) -> StopReason | None:
        """Which of the config's goals is reached, if any."""
        config = self._config
        if self.env_steps >= config.total_env_steps:
            return "total steps"
        judged = self.judged_return
        if config.stop_return is not None and judged is not None and judged >= config.stop_return:
            return "return reached"
        if (
            config.max_train_seconds is not None
            and time.perf_counter() - self._started + self._train_s_before >= config.max_train_seconds
        ):
            return "time limit"
        return None

    def call_made(self, call: Call) -> None:
        """Count the trajectories that the learner takes in with this call."""
        interval = self._interval
        for ready, lag in zip(call.ready, call.lags, strict=True):
            self.env_steps += ready.report.env_steps
            interval.env_steps += ready.report.env_steps
            self._lag_sum, self._lag_count, self._max_lag = self._lag_sum + lag, self._lag_count + 1, max(self._max_lag, lag)
            interval.lags.append(lag)
            for episode in ready.report.episodes:
                self._returns.append(episode.episode_return)
                interval.lengths.append(episode.length)
            self._settled.extend(ready.report.settled)
            self._num_episodes += len(ready.report.episodes)

    def call_lost(self, call: Call) -> None:
        """Take back the steps of a call that made no update. Its episodes were played, and stay."""
        for ready in call.ready:
            self.env_steps -= ready.report.env_steps
            self._interval.env_steps -= ready.report.env_steps

    def unrolled(self, report: UnrollReport, requested: float, now: float) -> None:
        """Count an actor's time: busy, and on the way."""
        self._actor_busy_s += report.busy_s
        self._interval.actor_busy_s += report.busy_s
        self._interval.transport_s += max(0.0, now - requested - report.busy_s)

    def learned(self, report: LearnReport, now: float) -> None:
        """Count a learner call's time, and keep what it says."""
        self.updates, self._last_update = report.version, now
        self._learner_busy_s += report.busy_s
        self._interval.learner_busy_s += report.busy_s
        self._interval.scalars.append(report.scalars)
        self._tuned = {name.removeprefix("eta/"): value for name, value in report.scalars.items() if name.startswith("eta/")}

    @property
    def interval_s(self) -> float:
        """Seconds since the last interval was closed."""
        return time.perf_counter() - self._interval.started

    def interval(self, *, alive: int, dropped: int, last_event: str) -> tuple[Status, dict[str, float], dict[str, np.ndarray]]:
        """Close the interval: where the run stands, its metrics by name, and its histograms."""
        now, interval = time.perf_counter(), self._interval
        self._interval = Interval(now)
        wall = max(now - interval.started, 1e-9)
        actors = wall * self._config.num_actors
        shares = WallShares(
            actors=min(1.0, interval.actor_busy_s / actors),
            learner=min(1.0, interval.learner_busy_s / wall),
            transport=min(1.0, interval.transport_s / actors),
        )
        mean_return = self.mean_return
        if (judged := self.judged_return) is not None:
            self._best = judged if self._best is None else max(self._best, judged)
        status = self._status(now, shares, interval, alive, last_event)
        scalars = {name: float(np.mean([one[name] for one in interval.scalars])) for name in (interval.scalars or [{}])[-1]}
        scalars |= {
            "throughput/env_steps_per_s": interval.env_steps / wall,
            "throughput/updates": float(self.updates),
            "utilisation/actors": shares.actors,
            "utilisation/learner": shares.learner,
            "utilisation/transport": shares.transport,
            "episodes/total": float(self._num_episodes),
            "trajectories/dropped": float(dropped),
            "actors/lost": float(self.lost_actors),
        }
        if mean_return is not None:
            scalars["return/mean_100"] = mean_return
            scalars["return/p10_100"], scalars["return/p90_100"] = (float(one) for one in np.percentile(self._returns, (10, 90)))
        if interval.lengths:
            scalars["episodes/length"] = float(np.mean(interval.lengths))
        if interval.lags:
            scalars |= {"lag/mean": float(np.mean(interval.lags)), "lag/max": float(max(interval.lags))}
        return status, scalars, {"lag/histogram": np.array(interval.lags)} if interval.lags else {}

    def reading(self, scalars: Mapping[str, float]) -> Reading | None:
        """What tells whether the policy has collapsed, given an interval's metrics; None while the return cannot be judged."""
        mean_return = self.judged_return
        if mean_return is None or self._best is None:
            return None
        return Reading(
            env_steps=self.env_steps,
            updates=self.updates,
            mean_return=mean_return,
            best_return=self._best,
            spread=float(np.std(self._returns)),
            entropy=scalars.get("policy/entropy"),
        )

    def _status(self, now: float, shares: WallShares, interval: Interval, alive: int, last_event: str) -> Status:
        self._rates.append((now, self.env_steps))
        (then, steps), total = self._rates[0], self._config.total_env_steps
        rate = (self.env_steps - steps) / max(now - then, 1e-9)
        limit, passed = self._config.max_train_seconds or math.inf, now - self._started + self._train_s_before
        left = min(max(0, total - self.env_steps) / rate if rate > 0 else math.inf, max(0.0, limit - passed))
        return Status(
            env_steps=self.env_steps,
            total_env_steps=total,
            env_steps_per_s=rate,
            learner_updates=self.updates,
            mean_return=self.mean_return,
            best_return=self._best,
            mean_lag=float(np.mean(interval.lags)) if interval.lags else 0.0,
            max_lag=max(interval.lags, default=0),
            actors_alive=alive,
            num_actors=self._config.num_actors,
            waiting=shares,
            elapsed_s=now - self._started,
            eta_s=left if math.isfinite(left) else None,
            time_share=passed / limit,
            tuned=self._tuned,
            last_event=last_event,
        )

    def result(self, reason: StopReason, parameters: dict[str, np.ndarray], dropped: int) -> LoopResult:
        """The figures of the whole run."""
        train_s = max(self._train_s, 1e-9)
        return LoopResult(
            env_steps=self.env_steps,
            train_s=self._train_s_before + self._train_s,
            learner_updates=self.updates,
            learner_utilisation=min(1.0, self._learner_busy_s / train_s),
            actor_utilisation=min(1.0, self._actor_busy_s / (train_s * self._config.num_actors)),
            mean_lag=self._lag_sum / max(1, self._lag_count),
            max_lag=self._max_lag,
            final_return=self.mean_return,
            num_episodes=self._num_episodes,
            dropped_trajectories=dropped,
            lost_actors=self.lost_actors,
            reason=reason,
            parameters=parameters,
        )
