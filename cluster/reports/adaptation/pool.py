"""Chunks of lives in this process or spread over several: the same numbers, bit for bit, whoever lives them."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from actors.fresh_policies import AdaptationChunk, AdaptationSetup, AdaptedChunk, adapt
from cluster.backends.hosts import leave_with_parent, starting_process

LOOK_EVERY_S = 0.2
"""How often progress is read: often enough for a bar that moves."""


class LostProcessError(RuntimeError):
    """A process ended in the middle of a chunk, as when memory ran out."""


def live_all(
    setup: AdaptationSetup, chunks: Sequence[AdaptationChunk], *, num_actors: int, on_progress: Callable[[int], None]
) -> list[AdaptedChunk]:
    """Live all `chunks`; return what they came to, in their order.

    Args:
        setup: of all of them.
        chunks: the work.
        num_actors: processes; 1 is this one.
        on_progress: told how many updates of lives are done, summed over all lives.

    Raises:
        LostProcessError: a process ended before its chunk did.
    """
    if num_actors == 1:
        return _live_here(setup, chunks, on_progress)
    with _sigterm_as_exit():
        return _live_apart(setup, chunks, num_actors, on_progress)


def _live_apart(
    setup: AdaptationSetup, chunks: Sequence[AdaptationChunk], num_actors: int, on_progress: Callable[[int], None]
) -> list[AdaptedChunk]:
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would copy torch's and the simulators' threads in the middle of a lock
    done = context.Value("q", 0)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(num_actors, len(chunks)), context, initializer=_begin, initargs=(done,))
    try:
        with starting_process():
            futures = [pool.submit(_live, setup, chunk) for chunk in chunks]
        _watch(futures, done, on_progress)
        pool.shutdown()
    except BaseException as error:  # Ctrl-C too: nobody waits for what the others still live
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(
            cancel_futures=True
        )  # waits for the pool's thread, which joins them: two who reap one child get in each other's way
        if isinstance(error, BrokenProcessPool):
            reason = "a process ended in the middle of its lives; fewer --actors or lives_per_chunk need less memory"
            raise LostProcessError(reason) from None
        raise
    return [future.result() for future in futures]


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM end the program by way of its `finally`s, as Ctrl-C does: else the processes of the pool would live on without it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _live_here(
    setup: AdaptationSetup, chunks: Sequence[AdaptationChunk], on_progress: Callable[[int], None]
) -> list[AdaptedChunk]:
    done = 0

    def count(num_lives: int) -> None:
        nonlocal done
        done += num_lives
        on_progress(done)

    return [adapt(setup, chunk, count) for chunk in chunks]


def _watch(futures: Sequence[Future[AdaptedChunk]], done: Any, on_progress: Callable[[int], None]) -> None:
    """Show progress until all are done, or the first fails, whose error this raises."""
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
        on_progress(done.value)
        for future in finished:
            future.result()


_done: Any = None
"""In a process of the pool: where it counts what is done."""


def _begin(done: Any) -> None:
    """Set up a process of the pool, which does not outlive the one that started it."""
    global _done
    _done = done
    leave_with_parent()


def _live(setup: AdaptationSetup, chunk: AdaptationChunk) -> AdaptedChunk:
    return adapt(setup, chunk, _count)


def _count(num_lives: int) -> None:
    with _done.get_lock():
        _done.value += num_lives
