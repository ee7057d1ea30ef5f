"""A small outer loop for tests: run from its beginning or from its journal, in any pool, without a family or a simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster.backends.local_pool import LocalPool
from cluster.backends.pool import Pool
from cluster.epg.config import EpgRunConfig
from cluster.epg.loop import EpgLoop
from cluster.epg.observer import EpgResult
from cluster.epg.replay import Resumption, phi_sha256, resume
from cluster.overrides import to_tree
from cluster.run.observer import SilentObserver
from cluster.store.journal import Journal, RunRecord
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale
from cluster.store.versions import library_versions
from learners import evolution as epg
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


class Watcher(SilentObserver):
    """Keeps what it is told, and does `deed` once, when `when` says so of a status."""

    def __init__(self, deed: Callable[[], None] | None = None, when: Callable[[Any], bool] = lambda status: True) -> None:
        self._deed, self._when = deed, when
        self.statuses: list[Any] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []
        self.events: list[str] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.wants_stop = False

    def on_status(self, status: Any) -> None:
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


def evolve(
    folder: Path,
    config: EpgRunConfig = CONFIG,
    *,
    pool: Pool | None = None,
    recipe: Sleeping | None = None,
    observer: SilentObserver | None = None,
    checkpoint: Any | None = None,
) -> EpgResult:
    """Run the loop in `folder`; a journal that is there is gone on from."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = RunDirectory(path=folder)
    path = directory.journal_file
    is_new = not path.exists()
    journal = Journal(path)
    phi = first_phi(config)
    if is_new:
        record = RunRecord(config=to_tree(config), num_parameters=SIZE, sha256=phi_sha256(phi), versions=library_versions())
        journal.append([record])
        resumption = Resumption(state=epg.init(config.evolution, phi))
    else:
        resumption = resume(path, checkpoint)
    pool = pool or LocalPool(recipe or Sleeping(), config.num_actors, config.chunk_deadline_s)
    loop = EpgLoop(config, pool, observer or SilentObserver(), journal=journal, resumption=resumption, scale=Scale(directory))
    try:
        return loop.run()
    finally:
        journal.close()


def sized(**changes: Any) -> EpgRunConfig:
    """The small config with changes."""
    return replace(CONFIG, **changes)
