"""A run's figures come out of Ray as Prometheus reads them."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.algorithms import find
from cluster.config import RunConfig
from tests.cluster.epg import evolving
from tests.cluster.epg.evolving import evolve, sized
from tests.cluster.epg.sleeping import Sleeping
from tests.cluster.run.running import on_ray, run


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


def lingering(ray: Any, backend: Any, found: dict[str, float], is_all_there: Callable[[], bool]) -> Any:
    """A backend that stays up until the figures were read: a process exports them every few seconds, and no more once it is gone."""
    close = backend.close

    def close_late() -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and not is_all_there():
            time.sleep(1.0)
            found.update(scrape(ray))
        close()

    backend.close = close_late
    return backend


@pytest.mark.slow
def test_prometheus_reads_what_the_run_counted(ray_local: Any, config: RunConfig) -> None:
    from cluster.backends.ray.metrics import RayMetricsObserver

    updates = run(config).learner_updates  # of the same deterministic run
    found: dict[str, float] = {}

    def is_all_there() -> bool:
        """Each process exports on a clock of its own."""
        return (
            found.get("ray_metaray_env_steps_total{actor}", 0) >= config.total_env_steps
            and found.get("ray_metaray_learner_updates_total{learner}") == updates
            and found.get("ray_metaray_lag_count{driver}") == updates
        )

    backend = lingering(ray_local, on_ray(config, "measured"), found, is_all_there)
    result = run(config, RayMetricsObserver("measured", find("impala")), backend=backend)
    assert found["ray_metaray_learner_updates_total{learner}"] == result.learner_updates
    assert found["ray_metaray_env_steps_total{actor}"] >= result.env_steps
    assert found["ray_metaray_work_seconds_count{actor}"] >= result.learner_updates
    assert found["ray_metaray_return{driver}"] == pytest.approx(result.mean_return)
    assert found["ray_metaray_lag_bucket{driver 0.5}"] < found["ray_metaray_lag_bucket{driver 1.5}"]
    assert found["ray_metaray_lag_count{driver}"] == result.learner_updates
    assert found["ray_metaray_actors_alive{driver}"] == 1
    assert {"ray_metaray_utilisation{actor}", "ray_metaray_utilisation{learner}"} <= set(found)


@pytest.mark.slow
def test_prometheus_reads_what_a_run_of_rounds_counted(ray_local: Any, tmp_path: Path) -> None:
    from cluster.backends.ray.metrics import RayMetricsObserver

    config = sized(num_actors=2)
    lifetimes = config.num_epochs * config.num_workers + 3 * config.evaluation_lives
    found: dict[str, float] = {}
    names = ("ray_metaray_lives_total{actor}", "ray_metaray_round{driver}")
    backend = lingering(
        ray_local,
        evolving.on_ray(config, Sleeping(sleep_s=0.01), "measured"),
        found,
        lambda: [found.get(name) for name in names] == [lifetimes, config.num_epochs],
    )
    result = evolve(tmp_path, config, backend=backend, observer=RayMetricsObserver("measured", find("epg")))
    assert found["ray_metaray_lives_total{actor}"] == result.counts["lives"] == lifetimes
    assert found["ray_metaray_env_steps_total{actor}"] >= result.env_steps  # and those of the run above, which has the same name
    chunks = config.num_epochs * 4 + 3 * 2  # of four lifetimes, and of two for an evaluation of three
    assert found["ray_metaray_work_seconds_count{actor}"] >= chunks
    assert found["ray_metaray_round{driver}"] == config.num_epochs
    assert found["ray_metaray_score{driver}"] == pytest.approx(result.figures["evaluation/best"])
    assert {"ray_metaray_fitness{driver}", "ray_metaray_env_steps_per_second{driver}"} <= set(found)
    assert (found["ray_metaray_actors_alive{driver}"], found["ray_metaray_lost_actors{driver}"]) == (2, 0)
