"""A run's figures come out of Ray as Prometheus reads them."""

from __future__ import annotations

import re
import time
import urllib.request
from dataclasses import replace
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.loop import Loop
from cluster.observer import SilentObserver, Status
from cluster.ray_wiring import RayWiring


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
    from cluster.local_wiring import LocalWiring
    from cluster.ray_metrics import RayMetricsObserver

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


def test_the_observer_within_hears_everything(ray_local: Any, config: RunConfig) -> None:
    from cluster.local_wiring import LocalWiring
    from cluster.ray_metrics import RayMetricsObserver

    within = Recorder()
    within.events = []  # type: ignore[attr-defined]
    observer = RayMetricsObserver(within, "heard")
    result = Loop(replace(config, log_every_s=0.01), LocalWiring(config), observer).run()
    assert result.reason == "stopped by signal"
    assert within.env_steps[-1] == within.statuses[-1].env_steps == result.env_steps
