"""Chunks of adapted policies, computed in this process or by worker processes: the same numbers, bit for bit, in either case."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from functools import partial
from typing import Any

from actors.fresh_policies import AdaptationChunk, AdaptationSetup, AdaptedChunk, adapt
from cluster.backends.hosts import leave_with_parent, starting_process

PROGRESS_EVERY_S = 0.2
"""How often progress is read: often enough for a bar that moves."""


class LostWorkerError(RuntimeError):
    """A worker process died, as when memory ran out."""


_adapt: Callable[[AdaptationChunk], AdaptedChunk]
"""Adapts a chunk in this worker process."""


def _begin(setup: AdaptationSetup, counter: Any) -> None:
    """Set up a worker process, which adds the updates that its policies make to `counter`."""
    global _adapt
    leave_with_parent()

    def count(num_updates: int) -> None:
        with counter.get_lock():
            counter.value += num_updates

    _adapt = partial(adapt, setup, on_update=count)


def _adapt_here(chunk: AdaptationChunk) -> AdaptedChunk:
    return _adapt(chunk)


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
    context = multiprocessing.get_context("spawn")
    counter, before = context.Value("q", 0), {*multiprocessing.active_children()}
    if num_actors == 1:

        def count(num_updates: int) -> None:
            counter.value += num_updates
            on_progress(counter.value)

        return [adapt(setup, chunk, count) for chunk in chunks]
    executor = ProcessPoolExecutor(min(num_actors, len(chunks)), context, _begin, (setup, counter))
    try:
        with starting_process():
            futures = [executor.submit(_adapt_here, chunk) for chunk in chunks]
        pending = {*futures}
        while pending:
            done, pending = wait(pending, PROGRESS_EVERY_S, return_when=FIRST_COMPLETED)
            on_progress(counter.value)
            for future in done:
                future.result()
        return [future.result() for future in futures]
    except BrokenExecutor:
        raise LostWorkerError("a worker process died; fewer --actors or a smaller lives_per_chunk need less memory") from None
    finally:
        for process in {*multiprocessing.active_children()} - before:
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
