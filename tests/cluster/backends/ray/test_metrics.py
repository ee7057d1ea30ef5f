"""A run's figures come out of Ray as Prometheus reads them."""

from __future__ import annotations

import re
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster.backends.ray.chunk_pool import RayPool
from cluster.backends.ray.wiring import RayWiring

from cluster.config import RunConfig
from cluster.run.loop import Loop
from cluster.run.observer import SilentObserver, Status
from tests.cluster.epg.evolving import Watcher, evolve, first_phi, sized
from tests.cluster.epg.sleeping import Sleeping


class Recorder(SilentObserver):
    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.env_steps: list[int] = []

    def on_status(self, status: Status) -> None:
        self.statuses.append(status)

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, Any]) -> None:
        self.env_steps.append(env_steps)

    def stop_requested(self) -> bool:
        return True


def scrape(ray: Any) -> dict[str, float]:
    """Value by name and tags `run` and `role`, as in `ray_metaray_return{driver}`, of the run `measured`."""
    port = next(node["MetricsExportPort"] for node in ray.nodes() if node["Alive"])
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found: dict[str, float] = {}
    for name, tags, value in re.findall(r"^(ray_metaray_\w+)\{(.*)\} (\S+)$", text, flags=re.MULTILINE):
        if 'run="measured"' in tags:
            role, le = re.search(r'role="(\w+)"', tags), re.search(r'\ble="([^"]+)"', tags)
            key = f"{name}{{{role[1] if role else ''}{' ' + le[1] if le else ''}}}"
            found[key] = found.get(key, 0.0) + float(value)
    return found


@pytest.mark.slow
def test_prometheus_reads_what_the_run_counted(ray_local: Any, config: RunConfig) -> None:
    from cluster.backends.local_wiring import LocalWiring

    from cluster.backends.ray.metrics import RayMetricsObserver

    updates = Loop(config, LocalWiring(config), SilentObserver()).run().learner_updates  # of the same deterministic run
    found: dict[str, float] = {}

    def is_all_there() -> bool:
        """Each process exports on a clock of its own."""
        return (
            found.get("ray_metaray_env_steps_total{actor}", 0) >= config.total_env_steps
            and found.get("ray_metaray_learner_updates_total{learner}") == updates
            and found.get("ray_metaray_lag_count{driver}") == updates
        )

    class Lingering(RayWiring):
        """Stays up until the figures were read: a process exports them every few seconds, and no more once it is gone."""

        def close(self) -> None:
            give_up = time.monotonic() + 60
            while time.monotonic() < give_up and not is_all_there():
                time.sleep(1.0)
                found.update(scrape(ray_local))
            super().close()

    result = Loop(config, Lingering(config, run_name="measured"), RayMetricsObserver(SilentObserver(), "measured")).run()
    assert found["ray_metaray_learner_updates_total{learner}"] == result.learner_updates
    assert found["ray_metaray_env_steps_total{actor}"] >= result.env_steps
    assert found["ray_metaray_unroll_seconds_count{actor}"] >= result.learner_updates
    assert found["ray_metaray_return{driver}"] == pytest.approx(result.final_return)
    assert found["ray_metaray_lag_bucket{driver 0.5}"] < found["ray_metaray_lag_bucket{driver 1.5}"]
    assert found["ray_metaray_lag_count{driver}"] == result.learner_updates
    assert found["ray_metaray_actors_alive{driver}"] == 1
    assert {"ray_metaray_utilisation{actor}", "ray_metaray_utilisation{learner}"} <= set(found)


@pytest.mark.slow
def test_prometheus_reads_what_the_outer_loop_counted(ray_local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.backends.ray.chunk_metrics import EpgMetricsObserver

    monkeypatch.setattr("cluster.epg.replay.first_phi", first_phi)
    recipe, config = Sleeping(sleep_s=0.01), sized(num_actors=2)
    lives = config.num_epochs * config.num_workers + 3 * config.evaluation_lives
    found: dict[str, float] = {}

    class Lingering(RayPool):
        """As above: stays up until the figures were read."""

        def close(self) -> None:
            give_up = time.monotonic() + 60
            names = ("ray_metaray_epg_lives_total{inner}", "ray_metaray_epg_epoch{driver}")
            while time.monotonic() < give_up and [found.get(name) for name in names] != [lives, config.num_epochs]:
                time.sleep(1.0)
                found.update(scrape(ray_local))
            super().close()

    observer = EpgMetricsObserver(Watcher(), "measured")
    result = evolve(tmp_path, config, pool=Lingering(config, recipe, run_name="measured"), observer=observer)
    assert found["ray_metaray_epg_lives_total{inner}"] == result.lives == lives
    assert found["ray_metaray_epg_env_steps_total{inner}"] == result.env_steps
    chunks = config.num_epochs * 4 + 3 * 2  # of four lives, and of two for an evaluation of three
    assert found["ray_metaray_epg_chunks_total{inner}"] == found["ray_metaray_epg_chunk_seconds_count{inner}"] == chunks
    assert found["ray_metaray_epg_chunk_seconds_bucket{inner 1000.0}"] == chunks
    assert found["ray_metaray_epg_epoch{driver}"] == config.num_epochs
    assert found["ray_metaray_epg_best_score{driver}"] == pytest.approx(result.best_score)
    assert {"ray_metaray_epg_fitness{driver}", "ray_metaray_env_steps_per_second{driver}"} <= set(found)
    assert (found["ray_metaray_actors_alive{driver}"], found["ray_metaray_lost_actors{driver}"]) == (2, 0)


def test_the_observer_within_hears_everything(ray_local: Any, config: RunConfig) -> None:
    from cluster.backends.local_wiring import LocalWiring

    from cluster.backends.ray.metrics import RayMetricsObserver

    within = Recorder()
    within.events = []  # type: ignore[attr-defined]
    observer = RayMetricsObserver(within, "heard")
    result = Loop(replace(config, log_every_s=0.01), LocalWiring(config), observer).run()
    assert result.reason == "stopped by signal"
    assert within.env_steps[-1] == within.statuses[-1].env_steps == result.env_steps
