"""Lifetimes that sleep: their fitness is a pure function of (phi, chunk), and they can be made to fail on purpose."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actors.chunks import Chunk, ChunkResult
from actors.messages import Work
from learners.trajectory import Snapshot


@dataclass(frozen=True, kw_only=True)
class Sleeping:
    """Makes collectors, and is one.

    Attributes:
        sleep_s: for each lifetime.
        deeds: folder of deeds to be done once each, by chunk: a file `raise-3-1` lets chunk 1 of epoch 3 raise and is then gone; `die`
            ends the process, `hang` stops it, `slow` takes 3 s, and `always-raise-3-1` stays.
    """

    sleep_s: float = 0.0
    deeds: str = ""
    env_steps: int = 100

    def __call__(self, *arguments: object) -> Sleeping:
        return self

    def collect(self, work: Work, weights: Snapshot) -> tuple[ChunkResult, None]:
        return self.compute(work.request, weights.arrays["phi"]), None

    def compute(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        started = time.perf_counter()
        if self.deeds:
            self._do(f"{chunk.epoch}-{chunk.index}" if chunk.kind == "perturbed" else "evaluation")
        time.sleep(self.sleep_s * chunk.count)
        fitness = []
        for lifetime in range(chunk.first, chunk.first + chunk.count):
            rng = np.random.default_rng((chunk.epoch, lifetime, chunk.kind == "evaluation"))
            fitness.append(
                -float(np.square(phi.astype(np.float64) - 1.0 - 0.1 * rng.standard_normal(phi.size)).sum()) + chunk.alpha
            )
        return ChunkResult(
            kind=chunk.kind,
            epoch=chunk.epoch,
            index=chunk.index,
            fitness=tuple(fitness),
            env_steps=self.env_steps * chunk.count,
            busy_s=time.perf_counter() - started,
            figures={"life/length": float(chunk.count)},
        )

    def stop(self) -> None:
        """It sleeps on, as a simulator that hangs."""

    def close(self) -> None:
        """Nothing to free."""

    def _do(self, key: str) -> None:
        folder = Path(self.deeds)
        if (folder / f"always-raise-{key}").exists():
            raise ArithmeticError("this chunk always fails")
        if (folder / f"always-die-{key}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        for deed in ("raise", "die", "hang", "slow"):
            try:
                (folder / f"{deed}-{key}").unlink()
            except FileNotFoundError:
                continue
            if deed == "raise":
                raise ArithmeticError("on purpose")
            if deed in ("die", "hang"):
                os.kill(os.getpid(), signal.SIGKILL if deed == "die" else signal.SIGSTOP)
            time.sleep(3.0)
