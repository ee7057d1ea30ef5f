"""A run's figures for Prometheus, by way of Ray: each process hands its own to `ray.util.metrics`, and every node exports them.

    rollout worker   ray_metaray_env_steps_total, ray_metaray_episodes_total, ray_metaray_unroll_seconds (histogram)
    learner          ray_metaray_learner_updates_total, ray_metaray_learner_busy_seconds_total
    driver           ray_metaray_lag (histogram, learner updates), ray_metaray_return, ray_metaray_env_steps_per_second,
                     ray_metaray_utilisation (by `role`), ray_metaray_actors_alive, ray_metaray_lost_actors

Tags are `run` and `role` only: each combination of values is a time series that Prometheus keeps. The objects are made once a process.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.messages import UnrollReport
from cluster.backends.wiring import LearnReport
from cluster.run.observer import RunObserver, Status

TAGS = ("run", "role")
UNROLL_SECONDS = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
LAGS = [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5, 128.5]
"""Upper edges between whole numbers, so that a bin says `at most 1`, `at most 2`, ..."""


class RolloutMetrics:
    """What one rollout worker counts."""

    def __init__(self, run: str) -> None:
        tags = {"run": run, "role": "actor"}
        self._env_steps = made("Counter", "metaray_env_steps_total", "environment steps taken", tags)
        self._episodes = made("Counter", "metaray_episodes_total", "episodes that ended", tags)
        self._seconds = made(
            "Histogram",
            "metaray_unroll_seconds",
            "seconds of one unroll, policy and environment",
            tags,
            boundaries=UNROLL_SECONDS,
        )

    def unrolled(self, report: UnrollReport) -> None:
        """Count a finished unroll."""
        self._seconds.observe(report.busy_s)
        add(self._env_steps, report.env_steps)
        add(self._episodes, len(report.episodes))


class LearnerMetrics:
    """What the learner counts."""

    def __init__(self, run: str) -> None:
        tags = {"run": run, "role": "learner"}
        self._updates = made("Counter", "metaray_learner_updates_total", "learner updates made", tags)
        self._busy = made("Counter", "metaray_learner_busy_seconds_total", "seconds spent on updates", tags)

    def learned(self, report: LearnReport) -> None:
        """Count a finished call."""
        add(self._updates, report.num_updates)
        add(self._busy, report.busy_s)


class RayMetricsObserver:
    """An observer that hands the driver's figures to Ray and everything on to the observer within."""

    def __init__(self, inner: RunObserver[Status], run: str) -> None:
        self._inner, self._run = inner, run
        self._set = Gauges(run).set
        self._lag: Any = None

    def on_status(self, status: Status) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._set(
            "metaray_env_steps_per_second", "environment steps a second, over the last seconds", "driver", status.env_steps_per_s
        )
        self._set("metaray_actors_alive", "actors that are up", "driver", status.actors_alive)
        if status.mean_return is not None:
            self._set("metaray_return", "mean return of the last 100 episodes", "driver", status.mean_return)
        for role, share in (("actor", status.waiting.actors), ("learner", status.waiting.learner)):
            self._set("metaray_utilisation", "share of wall time at work", role, share)
        self._inner.on_status(status)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        if self._lag is None:
            tags = {"run": self._run, "role": "driver"}
            self._lag = made(
                "Histogram",
                "metaray_lag",
                "age of a trajectory when learned from, in learner updates",
                tags,
                boundaries=LAGS,
            )
        for lag in histograms.get("lag/histogram", ()):
            self._lag.observe(float(lag))
        self._set("metaray_lost_actors", "actors that died or hung and were replaced", "driver", scalars.get("actors/lost", 0.0))
        self._inner.on_metrics(env_steps, scalars, histograms)

    def on_event(self, line: str) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._inner.on_event(line)

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._inner.on_checkpoint(step, payload)

    def stop_requested(self) -> bool:
        """See `cluster.run.observer.RunObserver`."""
        return self._inner.stop_requested()


class Gauges:
    """The gauges of one run's driver, each made when it is first set."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges: dict[str, Any] = {}

    def set(self, name: str, description: str, role: str, value: float) -> None:
        """Set the gauge `name` of `role`."""
        if name not in self._gauges:
            self._gauges[name] = made("Gauge", name, description, {})
        self._gauges[name].set(float(value), tags={"run": self._run, "role": role})


def made(kind: str, name: str, description: str, tags: dict[str, str], **options: Any) -> Any:
    """A metric of `ray.util.metrics` with its tags."""
    # not before the first figure: the driver settles Ray's authentication before anything imports Ray
    from ray.util import metrics

    metric = getattr(metrics, kind)(name, description=description, tag_keys=TAGS, **options)
    metric.set_default_tags(tags)
    return metric


def add(counter: Any, amount: float) -> None:
    """Count `amount`."""
    if amount > 0:  # Ray refuses to add nothing
        counter.inc(float(amount))
