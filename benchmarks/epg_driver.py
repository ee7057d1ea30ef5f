"""Overhead of the outer loop's driver: chunk results per second with simulated lifetimes, and its share of an epoch on Ray. Without a peer.

    python benchmarks/epg_driver.py scale [--workers 512] [--epochs 40]
    python benchmarks/epg_driver.py share [--preset random-hopper] [--workers 256] [--epochs 3] [--actors 2] [--set KEY=VALUE ...]
    python benchmarks/epg_driver.py share --sleep 0.05

scale   chunks of two lifetimes are answered by 512 simulated workers after a sleep of 50 ms, of the same length (answers come in
        bursts) and of random length around it (they come spread); loop, journal (with fsync), metrics and update are the real
        ones. Results over seconds of training, the median of rounds. Beside it a sync of the disk, in ms: the floor of a batch.
share   `metaray train epg` on Ray; the share of the actors' time that they waited for the driver or for transport, as
        `summary.json` has it. With --sleep each lifetime sleeps that long instead: the overhead of the driver alone.

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
from pathlib import Path
from typing import Any

import numpy as np
from runs import ROOT, metaray, parser_of, print_line

sys.path.insert(0, str(ROOT))


from actors.chunks import Chunk, ChunkResult
from actors.messages import Work
from cluster.algorithms import Row, find
from cluster.backends.base import Backend, Collected, Event, Handle, Learned, Learner, LearnReport, MakeCollector
from cluster.backends.learner import LearnerHost
from cluster.backends.local import Emitted, LearnerThread
from cluster.backends.ray.backend import RayBackend
from cluster.config import EpgRunConfig
from cluster.run.lifetimes import Lifetimes
from cluster.run.loop import Loop
from cluster.run.observer import LoopResult, RunObserver
from cluster.run.replay import begin_journal, resume
from cluster.run.where import Where
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory
from learners.trajectory import Snapshot


@dataclass(frozen=True, kw_only=True)
class SleepingLifetimes:
    """A collector whose lifetimes sleep, and its factory."""

    sleep_s: float

    def __call__(self, actor: int) -> SleepingLifetimes:
        return self

    def collect(self, work: Work, weights: Snapshot) -> tuple[ChunkResult, None]:
        """Sleep for all lifetimes of a chunk."""
        started = time.perf_counter()
        time.sleep(self.sleep_s * work.size)
        return answer(work.request, time.perf_counter() - started), None

    def stop(self) -> None:
        """Sleep on."""

    def close(self) -> None:
        """Nothing to free."""


class Sleeping(Lifetimes):
    """The work of EPG, done by such a collector."""

    def __init__(self, row: Row, config: EpgRunConfig, make: MakeCollector) -> None:
        super().__init__(row, config)
        self._make = make

    def collector(self) -> MakeCollector:
        """See `cluster.run.workload.Workload`."""
        return self._make


def answer(chunk: Chunk, busy_s: float) -> ChunkResult:
    """A result whose fitness is the number of the lifetime."""
    fitness = tuple(float(number % 17) for number in range(chunk.first, chunk.first + chunk.count))
    steps = 8192 * chunk.count
    return ChunkResult(kind=chunk.kind, epoch=chunk.epoch, index=chunk.index, fitness=fitness, env_steps=steps, busy_s=busy_s)


class SimulatedBackend:
    """So many workers, none of which is there: an answer comes when its time has passed. The learner is the real one."""

    must_drain = False
    learner: Learner

    def __init__(self, config: EpgRunConfig, sleep_s: float, spread: float) -> None:
        self.num_actors, self._config, self._sleep_s, self._spread = config.num_actors, config, sleep_s, spread
        self._rng = np.random.default_rng(0)
        self._answers: list[tuple[float, int, Work]] = []
        self._free = list(range(self.num_actors))
        self._emitted: queue.SimpleQueue[Emitted] = queue.SimpleQueue()

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        host = LearnerHost(find("epg"), self._config)
        report, snapshot = host.build(learner_state)
        self.learner = LearnerThread(host, self._emitted.put, publish=lambda made: made)
        return report, snapshot

    def put(self, snapshot: Snapshot) -> Handle:
        return snapshot

    def get(self, weights: Handle) -> Snapshot:
        snapshot: Snapshot = weights
        return snapshot

    def free(self) -> list[int]:
        return self._free

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        self._free.remove(actor)
        takes = self._sleep_s * (1 + self._spread * self._rng.uniform(-1, 1))
        heapq.heappush(self._answers, (time.perf_counter() + takes, actor, work))

    def wait(self, timeout_s: float) -> list[Event]:
        until = self._answers[0][0] - time.perf_counter() if self._answers else timeout_s
        try:
            emitted = self._emitted.get(timeout=max(1e-6, min(timeout_s, until)))
            assert isinstance(emitted, Learned), emitted
            return [emitted]
        except queue.Empty:
            pass
        now = time.perf_counter()
        events: list[Event] = []
        while self._answers and self._answers[0][0] <= now:
            _, actor, work = heapq.heappop(self._answers)
            self._free.append(actor)
            events.append(Collected(work=work, report=answer(work.request, self._sleep_s)))
        return events

    def resize(self, num_actors: int) -> list[Event]:
        return []

    def num_alive(self) -> int:
        return self.num_actors

    def close(self) -> None:
        self.learner.close()


class WritesMetrics(RunObserver):
    """As a real run's observer, without the panel."""

    def __init__(self, metrics: MetricsLog) -> None:
        self._metrics = metrics

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        self._metrics.write(env_steps, scalars, histograms)


def run_loop(config: EpgRunConfig, backend: Backend, observer_of: Any = lambda directory: RunObserver()) -> LoopResult:
    """One run of the real loop, with a journal, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        directory = RunDirectory(path=Path(folder))
        begin_journal(directory.journal_file, config)
        payload, workload = resume(directory.journal_file, None), find("epg").workload(config)
        with workload.opened(directory, payload):
            return Loop(workload, backend, observer_of(directory), payload).run()


def run_simulated(options: argparse.Namespace, spread: float) -> LoopResult:
    """One run of the real loop with simulated workers."""
    config = EpgRunConfig(
        family="cartpole",
        num_actors=options.workers,
        num_workers=2 * options.workers,  # a chunk for each simulated worker
        num_vectors=64,
        lives_per_chunk=2,
        num_epochs=options.epochs,
        evaluate_every=10,
    )
    backend = SimulatedBackend(config, 0.05, spread)
    return run_loop(config, backend, lambda directory: WritesMetrics(MetricsLog(directory.metrics_file, directory.tensorboard)))


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
    """Share of the actors' time spent on the driver and transport, on Ray."""
    if options.sleep is not None:
        return share_sleeping(options)
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        out = Path(folder) / "run"
        sizes = ["--workers", str(options.workers), "--actors", str(options.actors), "--epochs", str(options.epochs)]
        settings = ["--set", *options.set] if options.set else []
        metaray("train", "epg", "--preset", options.preset, *sizes, "--out", str(out), "--no-progress", *settings)
        summary = json.loads((out / "summary.json").read_text())
    keys = ("driver_share", "actor_utilisation", "env_steps_per_s", "train_s", "rounds", "counts")
    return {"preset": options.preset, "actors": options.actors, "workers": options.workers} | {key: summary[key] for key in keys}


def share_sleeping(options: argparse.Namespace) -> dict[str, Any]:
    """The same with sleeping lifetimes."""
    config = EpgRunConfig(
        family="cartpole",
        num_actors=options.actors,
        num_workers=options.workers,
        num_vectors=64,
        lives_per_chunk=16,
        num_epochs=options.epochs,
    )
    workload = Sleeping(find("epg"), config, SleepingLifetimes(sleep_s=options.sleep))
    backend = RayBackend(workload, Where(is_local=False, run_name="epg-driver"))
    result = run_loop(config, backend)
    shares = result.shares
    return {
        "sleep_s_per_lifetime": options.sleep,
        "actors": options.actors,
        "workers": options.workers,
        "driver_share": round(shares.driver + shares.transport, 4),
        "actor_utilisation": round(shares.actors, 4),
        "chunk_s": round(16 * options.sleep, 3),
        "train_s": round(result.train_s, 2),
    }


def main() -> None:
    parser = parser_of(__doc__, "rounds")
    parser.add_argument("what", choices=("scale", "share"))
    parser.add_argument("--preset", default="random-hopper")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--sleep", type=float, metavar="SECONDS", help="share: seconds that each lifetime sleeps instead of training"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="share: settings on top of the preset")
    options = parser.parse_args()
    options.workers = options.workers or (512 if options.what == "scale" else 256)
    options.epochs = options.epochs or (40 if options.what == "scale" else 3)
    print_line(f"epg_driver_{options.what}", (scale if options.what == "scale" else share)(options))


if __name__ == "__main__":
    main()
