"""What the outer loop's driver costs: chunk results a second with lives that take no time, and its share of an epoch on Ray.

    python benchmarks/epg_driver.py scale [--workers 512] [--epochs 40]
    python benchmarks/epg_driver.py share [--preset random-hopper] [--workers 256] [--epochs 3] [--actors 2] [--set KEY=VALUE ...]
    python benchmarks/epg_driver.py share --sleep 0.05

scale   chunks of two lives are answered by 512 simulated workers after a sleep of 50 ms, of the same length (answers come in
        bursts) and of random length around it (they come spread); loop, journal (with fsync), metrics and update are the real
        ones. Results over seconds of training, the median of rounds. Beside it a sync of the disk, in ms: the floor of a batch.
share   `metaray train epg` on Ray; the share of the actors' time that they waited for the driver or for transport, as
        `summary.json` has it. With --sleep the lives sleep so long each instead: the driver's own cost, whatever the lives are.

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import queue
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from runs import ROOT, metaray, print_line

sys.path.insert(0, str(ROOT))

from actors.chunks import Chunk, ChunkResult
from actors.messages import Work
from cluster.algorithms import find
from cluster.backends.base import Backend, Collected, Event, Handle, Learned, LearnReport
from cluster.backends.local import LearnerThread, LocalBackend
from cluster.epg.config import EpgRunConfig
from cluster.run.assembly import make_learner
from cluster.run.lifetimes import ASSEMBLY, STORE_BYTES
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, SilentObserver
from cluster.run.where import Where
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory
from learners.trajectory import Snapshot


@dataclass(frozen=True, kw_only=True)
class SleepingLives:
    """Makes collectors whose lives sleep, and is one."""

    sleep_s: float

    def __call__(self, actor: int) -> SleepingLives:
        return self

    def collect(self, work: Work, weights: Snapshot) -> tuple[ChunkResult, None]:
        """Sleep for all lives of a chunk."""
        started = time.perf_counter()
        time.sleep(self.sleep_s * work.size)
        return answer(work.request, time.perf_counter() - started), None

    def stop(self) -> None:
        """Sleep on."""

    def close(self) -> None:
        """Nothing to free."""


def answer(chunk: Chunk, busy_s: float) -> ChunkResult:
    """A result whose fitness is the number of the life."""
    fitness = tuple(float(life % 17) for life in range(chunk.first, chunk.first + chunk.count))
    steps = 8192 * chunk.count
    return ChunkResult(kind=chunk.kind, epoch=chunk.epoch, index=chunk.index, fitness=fitness, env_steps=steps, busy_s=busy_s)


class SimulatedBackend(LocalBackend):
    """So many actors, none of which is there: an answer comes when its time has passed. The learner is the real one."""

    must_drain = False

    def __init__(self, config: EpgRunConfig, sleep_s: float, spread: float) -> None:
        learner = partial(make_learner, find("epg"), config)
        super().__init__(learner, SleepingLives(sleep_s=0), config.num_actors, in_threads=True, unit="a chunk", deadline_s=1.0)
        self._sleep_s, self._spread = sleep_s, spread
        self._rng = np.random.default_rng(0)
        self._answers: list[tuple[float, int, Work]] = []
        self._idle = dict.fromkeys(range(config.num_actors))

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """Start the learner alone."""
        host = self._make_learner()
        report, snapshot = host.build(learner_state)
        self._learner = LearnerThread(host, self._emitted.put, publish=lambda made: made)
        return report, snapshot

    def free(self) -> list[int]:
        return list(self._idle)

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        del self._idle[actor]
        takes = self._sleep_s * (1 + self._spread * self._rng.uniform(-1, 1))
        heapq.heappush(self._answers, (time.perf_counter() + takes, actor, work))

    def wait(self, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        left = min(timeout_s, self._answers[0][0] - time.perf_counter()) if self._answers else timeout_s
        try:
            emitted = self._emitted.get(timeout=max(0.0, left))
            assert isinstance(emitted, Learned), emitted
            events.append(emitted)
        except queue.Empty:
            pass
        while self._answers and self._answers[0][0] <= time.perf_counter():
            _, actor, work = heapq.heappop(self._answers)
            self._idle[actor] = None
            events.append(Collected(work=work, report=answer(work.request, self._sleep_s)))
        return events

    def resize(self, num_actors: int) -> list[Event]:
        return []

    def num_alive(self) -> int:
        return self.num_actors


class WritesMetrics(SilentObserver):
    """As a real run's observer, without the panel."""

    def __init__(self, metrics: MetricsLog) -> None:
        self._metrics = metrics

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        self._metrics.write(env_steps, scalars, histograms)


def run(config: EpgRunConfig, backend: Backend, folder: Path) -> LoopResult:
    """One run of the real loop, with its journal and metrics, on this backend."""
    directory = RunDirectory(path=folder)
    payload = ASSEMBLY.restore(directory, config, False)
    metrics = MetricsLog(directory.metrics_file, directory.tensorboard)
    with ASSEMBLY.parts(directory, config, payload) as (make_schedule, keeper):
        result = Loop(config, backend, WritesMetrics(metrics), make_schedule, keeper, payload).run()
    metrics.close()
    return result


def run_simulated(options: argparse.Namespace, spread: float) -> LoopResult:
    """One run with simulated workers."""
    config = EpgRunConfig(
        family="cartpole",
        num_actors=options.workers,
        num_workers=2 * options.workers,  # a chunk for each simulated worker
        num_vectors=64,
        lives_per_chunk=2,
        num_epochs=options.epochs,
        evaluate_every=10,
    )
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        return run(config, SimulatedBackend(config, 0.05, spread), Path(folder))


def scale(options: argparse.Namespace) -> dict[str, Any]:
    """Chunk results a second."""
    rates = {}
    for name, spread in (("in_bursts", 0.0), ("spread", 0.9)):
        rounds = []
        for _ in range(options.rounds):
            result = run_simulated(options, spread)
            rounds.append(result.rounds * options.workers / result.train_s)
        rates[name] = round(statistics.median(rounds), 1)
    return {"workers": options.workers, "epochs": options.epochs, "chunk_results_per_s": rates, "fsync_ms": sync_ms()}


def sync_ms() -> float:
    """Milliseconds of one small write with fsync, the median of fifty."""
    times = []
    with tempfile.NamedTemporaryFile(prefix="metaray-bench-", buffering=0) as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(b"x" * 200)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return round(1e3 * statistics.median(times), 2)


def share(options: argparse.Namespace) -> dict[str, Any]:
    """Share of the actors' time that went to the driver and transport, on Ray."""
    if options.sleep is not None:
        return share_sleeping(options)
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        out = Path(folder) / "run"
        sizes = ["--workers", str(options.workers), "--actors", str(options.actors), "--epochs", str(options.epochs)]
        settings = ["--set", *options.set] if options.set else []
        metaray("train", "epg", "--preset", options.preset, *sizes, "--out", str(out), "--no-progress", *settings)
        summary = json.loads((out / "summary.json").read_text())
    keys = ("driver_share", "actor_utilisation", "env_steps_per_s", "train_s", "rounds")
    lives = summary["counts"]["lives"]
    found = {key: summary[key] for key in keys} | {"lives": lives, "lives_per_s": round(lives / summary["train_s"], 3)}
    return {"preset": options.preset, "actors": options.actors, "workers": options.workers} | found


def share_sleeping(options: argparse.Namespace) -> dict[str, Any]:
    """The same with lives that sleep."""
    from cluster.backends.ray.backend import RayBackend

    config = EpgRunConfig(
        family="cartpole",
        num_actors=options.actors,
        num_workers=options.workers,
        num_vectors=64,
        lives_per_chunk=16,
        num_epochs=options.epochs,
    )
    backend = RayBackend(
        partial(make_learner, find("epg"), config),
        SleepingLives(sleep_s=options.sleep),
        config.num_actors,
        where=Where(is_local=False, run_name="epg-driver"),
        family=config.family,
        unit="a chunk",
        deadline_s=config.chunk_deadline_s,
        num_cpus=1,
        store_bytes=lambda: STORE_BYTES,
        learner_device=None,
    )
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        result = run(config, backend, Path(folder))
    shares = result.shares
    return {
        "sleep_s_per_life": options.sleep,
        "actors": options.actors,
        "workers": options.workers,
        "driver_share": round(shares.driver + shares.transport, 4),
        "actor_utilisation": round(shares.actors, 4),
        "chunk_s": round(16 * options.sleep, 3),
        "train_s": round(result.train_s, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scale", "share"))
    parser.add_argument("--preset", default="random-hopper")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sleep", type=float, metavar="SECONDS", help="share: lives that sleep so long each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="share: settings on top of the preset")
    options = parser.parse_args()
    options.workers = options.workers or (512 if options.what == "scale" else 256)
    options.epochs = options.epochs or (40 if options.what == "scale" else 3)
    print_line(f"epg_driver_{options.what}", (scale if options.what == "scale" else share)(options))


if __name__ == "__main__":
    main()
