"""A run's figures for Prometheus, through Ray: each process gives its own to `ray.util.metrics`, and every node exports them.

    actor     ray_metaray_env_steps_total, ray_metaray_episodes_total, ray_metaray_work_seconds (histogram), and one counter for each
              count of its reports, such as ray_metaray_lives_total
    learner   ray_metaray_learner_updates_total, ray_metaray_learner_busy_seconds_total
    driver    ray_metaray_lag (histogram, learner updates), ray_metaray_env_steps_per_second, ray_metaray_utilisation (by `role`),
              ray_metaray_actors_alive, ray_metaray_lost_actors, ray_metaray_round, and a gauge for each headline of the algorithm:
              ray_metaray_return, ray_metaray_fitness, ray_metaray_score

Tags are `run` and `role` only: each combination of values is a time series that Prometheus keeps. The objects are made once a process.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.messages import Report
from cluster.algorithms import Row
from cluster.backends.base import LearnReport
from cluster.run.observer import RunObserver, Status

TAGS = ("run", "role")
WORK_SECONDS = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
LAGS = [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5, 128.5]
"""Upper edges between whole numbers, so that a bin says `at most 1`, `at most 2`, ..."""


class Metrics:
    """The metrics of one role in one process, each made when it is first used."""

    def __init__(self, run: str, role: str) -> None:
        self._tags = {"run": run, "role": role}
        self._made: dict[str, Any] = {}

    def _get(self, kind: str, name: str, about: str, **options: Any) -> Any:
        if name not in self._made:
            # not before the first figure: the driver settles Ray's authentication before anything imports Ray
            from ray.util import metrics

            self._made[name] = getattr(metrics, kind)(f"metaray_{name}", description=about, tag_keys=TAGS, **options)
            self._made[name].set_default_tags(self._tags)
        return self._made[name]

    def add(self, name: str, amount: float, about: str) -> None:
        """Count `amount`."""
        if amount > 0:  # Ray refuses to add nothing
            self._get("Counter", f"{name}_total", about).inc(float(amount))

    def set(self, name: str, value: float, about: str, role: str | None = None) -> None:
        """Set a gauge."""
        self._get("Gauge", name, about).set(float(value), tags=self._tags | ({} if role is None else {"role": role}))

    def observe(self, name: str, value: float, about: str, boundaries: list[float]) -> None:
        """Add to a histogram."""
        self._get("Histogram", name, about, boundaries=boundaries).observe(value)

    def collected(self, report: Report) -> None:
        """Count a unit of work that an actor has finished."""
        self.observe("work_seconds", report.busy_s, "seconds of one unit of work, policy and environment", WORK_SECONDS)
        self.add("env_steps", report.env_steps, "environment steps taken")
        self.add("episodes", len(report.episodes), "episodes that ended")
        for name, count in report.counts.items():
            self.add(name.replace("/", "_"), count, f"{name}, counted over finished work")

    def learned(self, report: LearnReport) -> None:
        """Count a call that the learner has finished."""
        self.add("learner_updates", report.num_updates, "learner updates made")
        self.add("learner_busy_seconds", report.busy_s, "seconds spent on updates")


class RayMetricsObserver(Metrics, RunObserver):
    """What the driver counts."""

    def __init__(self, run: str, row: Row) -> None:
        super().__init__(run, "driver")
        self._row = row

    def on_status(self, status: Status) -> None:
        """See `cluster.run.observer.RunObserver`."""
        figures = status.figures
        rate = figures.get("throughput/env_steps_per_s", 0.0)
        self.set("env_steps_per_second", rate, "environment steps a second, over the last seconds")
        self.set("actors_alive", status.actors_alive, "actors that are up")
        self.set("lost_actors", status.lost_actors, "actors that died or hung and were replaced")
        self.set("round", status.rounds, "rounds finished")
        for shown in self._row.headline:
            if shown.figure in figures:
                self.set(shown.label, figures[shown.figure], shown.about)
        for role, share in (("actor", status.waiting.actors), ("learner", status.waiting.learner)):
            self.set("utilisation", share, "share of wall time at work", role)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.run.observer.RunObserver`."""
        for lag in histograms.get("lag/histogram", ()):
            self.observe("lag", float(lag), "age of experience when learned from, in learner updates", LAGS)
