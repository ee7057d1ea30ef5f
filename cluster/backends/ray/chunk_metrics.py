"""Figures of an outer loop for Prometheus, by way of Ray. See `cluster.backends.ray.metrics`.

worker   ray_metaray_epg_env_steps_total, ray_metaray_epg_lives_total, ray_metaray_epg_chunks_total, ray_metaray_epg_chunk_seconds
driver   ray_metaray_epg_epoch, ray_metaray_epg_fitness, ray_metaray_epg_best_score, ray_metaray_actors_alive,
         ray_metaray_lost_actors, ray_metaray_env_steps_per_second
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.chunks import ChunkResult
from cluster.backends.ray.metrics import Gauges, add, made
from cluster.epg.observer import EpgStatus
from cluster.run.observer import RunObserver

CHUNK_SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]


class InnerMetrics:
    """What one worker counts."""

    def __init__(self, run: str) -> None:
        tags = {"run": run, "role": "inner"}
        self._env_steps = made("Counter", "metaray_epg_env_steps_total", "environment steps of finished chunks", tags)
        self._lives = made("Counter", "metaray_epg_lives_total", "lives lived to their end", tags)
        self._chunks = made("Counter", "metaray_epg_chunks_total", "chunks of lives that were finished", tags)
        about = "seconds of one chunk of lives"
        self._seconds = made("Histogram", "metaray_epg_chunk_seconds", about, tags, boundaries=CHUNK_SECONDS)

    def lived(self, result: ChunkResult) -> None:
        """Count a finished chunk."""
        self._seconds.observe(result.busy_s)
        add(self._env_steps, result.env_steps)
        add(self._lives, len(result.fitness))
        add(self._chunks, 1)


class EpgMetricsObserver:
    """An observer that hands the driver's figures to Ray and everything on to the observer within."""

    def __init__(self, inner: RunObserver[EpgStatus], run: str) -> None:
        self._inner, self._gauges = inner, Gauges(run)

    def on_status(self, status: EpgStatus) -> None:
        """See `cluster.run.observer.RunObserver`."""
        self._gauges.set("metaray_epg_epoch", "epochs finished", "driver", status.epoch)
        about = "environment steps a second, over the last seconds"
        self._gauges.set("metaray_env_steps_per_second", about, "driver", status.env_steps_per_s)
        self._gauges.set("metaray_actors_alive", "actors that are up", "driver", status.actors_alive)
        about = "actors that died or hung and were replaced"
        self._gauges.set("metaray_lost_actors", about, "driver", status.lost_actors)
        if status.fitness_mean is not None:
            self._gauges.set("metaray_epg_fitness", "mean fitness of the newest epoch", "driver", status.fitness_mean)
        if status.best_score is not None:
            about = "best evaluation of an unperturbed phi"
            self._gauges.set("metaray_epg_best_score", about, "driver", status.best_score)
        self._inner.on_status(status)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        """See `cluster.run.observer.RunObserver`."""
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
