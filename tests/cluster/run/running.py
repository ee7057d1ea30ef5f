"""A run of IMPALA for tests: its loop, and its backend in this process or on Ray, which they may replace."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.messages import Work
from cluster.algorithms import find
from cluster.backends.base import Backend, Handle
from cluster.backends.fleet import Raised
from cluster.backends.local import LocalBackend
from cluster.backends.ray.backend import RayBackend
from cluster.config import RunConfig
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, RunObserver
from cluster.run.where import Where
from cluster.store.run_directory import RunDirectory


class Local(LocalBackend):
    """The backend of a run of IMPALA in this process."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(find("impala").workload(config))


def on_ray(config: RunConfig, run_name: str) -> Backend:
    """The backend of a run of IMPALA on the Ray that there is."""
    return RayBackend(find("impala").workload(config), Where(is_local=False, run_name=run_name))


class Failing(Local):
    """An actor's unroll of a round fails, once everybody else has done what can be done without it."""

    def __init__(self, config: RunConfig, actor: int, round_: int, error: Exception) -> None:
        super().__init__(config)
        self._at, self._error = (actor, round_), error

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        if (work.actor, work.round) != self._at:
            super().submit(work, actor, weights)
            return
        supervisor = self.supervisors[actor]
        supervisor.work = work

        def fail() -> None:
            time.sleep(0.3)
            self._emitted.put(Raised(worker=supervisor.worker, error=self._error))

        threading.Thread(target=fail).start()


def run(
    config: RunConfig,
    observer: RunObserver | None = None,
    checkpoint: Mapping[str, Any] | None = None,
    backend: Backend | None = None,
) -> LoopResult:
    """Run it, from its beginning or from a checkpoint's payload."""
    payload, workload = None if checkpoint is None else dict(checkpoint), find("impala").workload(config)
    with workload.opened(RunDirectory(path=Path()), payload):
        return Loop(workload, backend or Local(config), observer or RunObserver(), payload).run()


def digest(result: LoopResult) -> str:
    """Of the parameters that a run ended with."""
    return hashlib.sha256(b"".join(result.parameters[name].tobytes() for name in sorted(result.parameters))).hexdigest()
