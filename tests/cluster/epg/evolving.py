"""A small outer loop for tests: run from its beginning or from its journal, on any backend, without a family or a simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from cluster.algorithms import find
from cluster.backends.base import Backend
from cluster.backends.local import LocalBackend
from cluster.backends.ray.backend import RayBackend
from cluster.config import EpgRunConfig
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, RunObserver, Status
from cluster.run.replay import begin_journal, resume
from cluster.run.where import Where
from cluster.run.workload import Workload
from cluster.store.run_directory import RunDirectory
from learners import evolution
from learners.algorithm import Setup
from tests.cluster.epg.sleeping import Sleeping

CONFIG = EpgRunConfig(
    family="cartpole",
    num_workers=16,
    num_vectors=8,
    lives_per_chunk=4,
    num_epochs=6,
    evaluate_every=2,
    evaluation_lives=3,
    evaluation_lives_per_chunk=2,
    checkpoint_every_epochs=2,
    log_every_s=0.05,
)
SIZE = 24


def first_phi(config: EpgRunConfig) -> np.ndarray:
    """Stands in for the loss's own."""
    return np.random.default_rng(config.seed).standard_normal(SIZE).astype(np.float32)


def small_init(config: EpgRunConfig, setup: Setup) -> Any:
    """Stands in for `learners.epg.init`: a phi that belongs to no loss."""
    return None, evolution.init(config.evolution, first_phi(config))


class Watcher(RunObserver):
    """Keeps what it is told, and does `deed` once, when `when` says so of a status."""

    def __init__(self, deed: Callable[[], None] | None = None, when: Callable[[Status], bool] = lambda status: True) -> None:
        self._deed, self._when = deed, when
        self.statuses: list[Status] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.events: list[str] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.wants_stop = False

    def on_status(self, status: Status) -> None:
        self.statuses.append(status)
        if self._deed is not None and self._when(status):
            deed, self._deed = self._deed, None
            deed()

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        self.metrics.append((env_steps, scalars))

    def on_event(self, line: str) -> None:
        self.events.append(line)

    def on_checkpoint(self, step: int, payload: dict[str, Any]) -> None:
        self.checkpoints.append(payload)

    def stop_requested(self) -> bool:
        return self.wants_stop


def workload(config: EpgRunConfig, collector: Sleeping | None = None) -> Workload:
    """The work of a run, done by this collector."""
    work = find("epg").workload(config)
    work.collector = lambda: collector or Sleeping()  # type: ignore[method-assign]
    return work


def local(config: EpgRunConfig, collector: Sleeping | None = None) -> LocalBackend:
    """The backend of this machine."""
    return LocalBackend(workload(config, collector))


def on_ray(config: EpgRunConfig, collector: Sleeping, run_name: str) -> RayBackend:
    """The backend of a run on the Ray that there is."""
    return RayBackend(workload(config, collector), Where(is_local=False, run_name=run_name))


def evolve(
    folder: Path,
    config: EpgRunConfig = CONFIG,
    *,
    backend: Backend | None = None,
    collector: Sleeping | None = None,
    observer: RunObserver | None = None,
    checkpoint: Any | None = None,
) -> LoopResult:
    """Run the loop in `folder`; a journal that is there is gone on from."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = RunDirectory(path=folder)
    with patch("learners.epg.init", small_init), patch("cluster.run.lifetimes.LossFiles", no_files):
        if not directory.journal_file.exists():
            begin_journal(directory.journal_file, config)
        payload, work = resume(directory.journal_file, checkpoint), workload(config, collector)
        with work.opened(directory, payload):
            return Loop(work, backend or LocalBackend(work), observer or RunObserver(), payload).run()


def no_files(config: EpgRunConfig, directory: RunDirectory) -> Callable[[Any], None]:
    """Stands in for `LossFiles`: a phi that belongs to no loss makes none."""
    return lambda state: None


def sized(**changes: Any) -> EpgRunConfig:
    """The small config with changes."""
    return replace(CONFIG, **changes)
