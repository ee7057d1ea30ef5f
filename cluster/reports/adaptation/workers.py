"""Chunks of adapted policies, computed in this process or by worker processes: the same numbers, bit for bit, in either case."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from actors.fresh_policies import AdaptationChunk, AdaptationSetup, AdaptedChunk, adapt
from actors.messages import Work
from cluster.backends.fleet import Answered, Gone, Raised, Signal
from cluster.backends.hosts import ProcessWorker
from learners.trajectory import Snapshot

PROGRESS_EVERY_S = 0.2
"""How often progress is read: often enough for a bar that moves."""


class LostWorkerError(RuntimeError):
    """A worker process died, as when memory ran out."""


class ChunkCollector:
    """Collector (`actors.messages.Collector`) of one worker process.

    Args:
        setup: of all chunks.
        progress_file: an int64 for each worker, the number of updates that it has made, summed over its policies.
        index: of the worker.
    """

    def __init__(self, setup: AdaptationSetup, progress_file: str, index: int) -> None:
        self._setup, self._index, self._counts = setup, index, np.memmap(progress_file, np.int64, "r+")

    def collect(self, work: Work, weights: Snapshot) -> tuple[AdaptedChunk, tuple[int, AdaptedChunk]]:
        """Adapt the chunk that is the request of `work`; the payload is its index and result."""
        chunk = adapt(self._setup, work.request, self._count)
        return chunk, (work.index, chunk)

    def _count(self, num_updates: int) -> None:
        self._counts[self._index] += num_updates

    def stop(self) -> None:
        """Do nothing: a process is killed."""

    def close(self) -> None:
        """Do nothing: a chunk frees its environments."""


def adapt_all(
    setup: AdaptationSetup, chunks: Sequence[AdaptationChunk], *, num_actors: int, on_progress: Callable[[int], None]
) -> list[AdaptedChunk]:
    """Adapt all `chunks`; return their results, in their order.

    Args:
        setup: of all of them.
        chunks: the work.
        num_actors: worker processes; 1 is this process.
        on_progress: called with the number of updates made so far, summed over all policies.

    Raises:
        LostWorkerError: a worker process died.
    """
    num_workers = min(num_actors, len(chunks))
    with tempfile.NamedTemporaryFile(prefix="metaray-progress-") as file:
        file.truncate(np.dtype(np.int64).itemsize * num_workers)
        counts = np.memmap(file.name, np.int64, "r+")
        if num_actors == 1:

            def count(num_updates: int) -> None:
                counts[0] += num_updates
                on_progress(int(counts[0]))

            return [adapt(setup, chunk, count) for chunk in chunks]
        signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
        workers: list[ProcessWorker] = []
        try:
            for index in range(num_workers):
                workers.append(ProcessWorker(partial(ChunkCollector, setup, file.name), index, signals.put))
            return _collect(chunks, signals, lambda: on_progress(int(counts.sum())))
        finally:
            for worker in workers:
                worker.end()


def _collect(
    chunks: Sequence[AdaptationChunk], signals: queue.SimpleQueue[Signal], show_progress: Callable[[], None]
) -> list[AdaptedChunk]:
    """Give each worker that is ready its next chunk until all are done."""
    pending, results = iter(enumerate(chunks)), dict[int, AdaptedChunk]()
    while len(results) < len(chunks):
        try:
            signal = signals.get(timeout=PROGRESS_EVERY_S)
        except queue.Empty:
            show_progress()
            continue
        if isinstance(signal, Gone):
            raise LostWorkerError(
                f"a worker process {signal.reason}; fewer --actors or a smaller lives_per_chunk need less memory"
            )
        if isinstance(signal, Raised):
            raise signal.error
        if isinstance(signal, Answered):
            results |= dict((signal.payload,))
        if unit := next(pending, None):
            signal.worker.collect(Work(round=0, index=unit[0], request=unit[1]), Snapshot(version=0, arrays={}))
        show_progress()
    return [results[index] for index in range(len(chunks))]
