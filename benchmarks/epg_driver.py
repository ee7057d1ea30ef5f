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
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from runs import ROOT, metaray, print_line

sys.path.insert(0, str(ROOT))

from cluster.backends.pool import ChunkDone, PoolEvent
from cluster.epg.loop import EpgLoop
from cluster.epg.observer import EpgResult, EpgStatus
from cluster.epg.replay import Resumption, first_state
from cluster.epg.training import begin_journal

from actors.chunks import Chunk, ChunkResult
from cluster.epg.config import EpgRunConfig
from cluster.run.observer import SilentObserver
from cluster.store.journal import Journal, path_of
from cluster.store.metrics import MetricsLog
from cluster.store.run_directory import RunDirectory
from cluster.store.scaling import Scale


@dataclass(frozen=True, kw_only=True)
class SleepingLives:
    """Lives that sleep; its own recipe."""

    sleep_s: float

    def __call__(self) -> SleepingLives:
        return self

    def live(self, chunk: Chunk, phi: np.ndarray) -> ChunkResult:
        """Sleep for all lives of a chunk."""
        started = time.perf_counter()
        time.sleep(self.sleep_s * chunk.count)
        return answer(chunk, time.perf_counter() - started)

    def stop(self) -> None:
        """Sleep on."""


def answer(chunk: Chunk, busy_s: float) -> ChunkResult:
    """A result whose fitness is the number of the life."""
    fitness = tuple(float(life % 17) for life in range(chunk.first, chunk.first + chunk.count))
    steps = 8192 * chunk.count
    return ChunkResult(
        kind=chunk.kind, epoch=chunk.epoch, index=chunk.index, fitness=fitness, env_steps=steps, busy_s=busy_s, scalars={}
    )


class SimulatedPool:
    """So many workers, none of which is there: an answer comes when its time has passed."""

    must_drain = False

    def __init__(self, num_actors: int, sleep_s: float, spread: float) -> None:
        self.num_actors, self._sleep_s, self._spread = num_actors, sleep_s, spread
        self._rng = np.random.default_rng(0)
        self._answers: list[tuple[float, int, Chunk]] = []
        self._number = 0

    def start(self) -> None:
        """Nothing to start."""

    def publish(self, version: int, phi: np.ndarray) -> None:
        """Nobody looks at it."""

    def free(self) -> int:
        return self.num_actors - len(self._answers)

    def submit(self, chunk: Chunk) -> None:
        self._number += 1
        takes = self._sleep_s * (1 + self._spread * self._rng.uniform(-1, 1))
        heapq.heappush(self._answers, (time.perf_counter() + takes, self._number, chunk))

    def wait(self, timeout_s: float) -> list[PoolEvent]:
        if self._answers:
            time.sleep(max(0.0, min(timeout_s, self._answers[0][0] - time.perf_counter())))
        now = time.perf_counter()
        events: list[PoolEvent] = []
        while self._answers and self._answers[0][0] <= now:
            events.append(ChunkDone(result=answer(heapq.heappop(self._answers)[2], self._sleep_s)))
        return events

    def resize(self, num_actors: int) -> list[PoolEvent]:
        return []

    def num_alive(self) -> int:
        return self.num_actors

    def close(self) -> None:
        """Nothing to end."""


class WritesMetrics(SilentObserver):
    """As a real run's observer, without the panel."""

    def __init__(self, metrics: MetricsLog) -> None:
        self._metrics = metrics
        self.statuses: list[EpgStatus] = []

    def on_metrics(self, env_steps: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]) -> None:
        self._metrics.write(env_steps, scalars, histograms)


def run_simulated(options: argparse.Namespace, spread: float) -> EpgResult:
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
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        directory = RunDirectory(path=Path(folder))
        begin_journal(path_of(directory), config)
        journal, metrics = Journal(path_of(directory)), MetricsLog(directory.metrics_file, directory.tensorboard)
        loop = EpgLoop(
            config,
            SimulatedPool(options.workers, 0.05, spread),
            WritesMetrics(metrics),
            journal=journal,
            resumption=Resumption(state=first_state(path_of(directory))),
            scale=Scale(directory),
        )
        result = loop.run()
        journal.close()
        metrics.close()
    return result


def scale(options: argparse.Namespace) -> dict[str, Any]:
    """Chunk results a second."""
    rates = {}
    for name, spread in (("in_bursts", 0.0), ("spread", 0.9)):
        rounds = []
        for _ in range(options.rounds):
            result = run_simulated(options, spread)
            rounds.append(result.epochs * options.workers / result.train_s)
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
    keys = ("driver_share", "actor_utilisation", "lives_per_s", "env_steps_per_s", "train_s", "epochs", "lives")
    return {"preset": options.preset, "actors": options.actors, "workers": options.workers} | {key: summary[key] for key in keys}


def share_sleeping(options: argparse.Namespace) -> dict[str, Any]:
    """The same with lives that sleep."""
    from cluster.backends.ray.chunk_pool import RayPool

    config = EpgRunConfig(
        family="cartpole",
        num_actors=options.actors,
        num_workers=options.workers,
        num_vectors=64,
        lives_per_chunk=16,
        num_epochs=options.epochs,
    )
    with tempfile.TemporaryDirectory(prefix="metaray-bench-") as folder:
        directory = RunDirectory(path=Path(folder))
        begin_journal(path_of(directory), config)
        journal = Journal(path_of(directory))
        pool = RayPool(config, SleepingLives(sleep_s=options.sleep), run_name="epg-driver")
        state = first_state(path_of(directory))
        loop = EpgLoop(
            config, pool, SilentObserver(), journal=journal, resumption=Resumption(state=state), scale=Scale(directory)
        )
        result = loop.run()
        journal.close()
    return {
        "sleep_s_per_life": options.sleep,
        "actors": options.actors,
        "workers": options.workers,
        "driver_share": round(result.driver_share, 4),
        "actor_utilisation": round(result.actor_utilisation, 4),
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
