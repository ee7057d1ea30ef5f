"""One worker on this machine without Ray: a thread of this process, or a process of its own.

Each has an executor to itself, so that it is known which chunk was the death of which process, and workers come and go one by one. A worker
process ends with the driver, even when that is killed, and does not hear the Ctrl-C of its terminal: the driver decides what becomes of it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np

from actors.chunks import Chunk, ChunkResult
from cluster.epg.lives import Recipe, Runner

END_PATIENCE_S = 2.0
"""A step of all lives takes milliseconds, and a thread looks after each whether it shall stop."""


class Worker(Protocol):
    """Something that lives one chunk at a time.

    Attributes:
        can_be_ended: in the middle of a chunk.
    """

    can_be_ended: bool

    def begin(self) -> Future[None]:
        """Make the runner."""

    def live(self, chunk: Chunk, phi: np.ndarray) -> Future[ChunkResult]:
        """Live a chunk."""

    def end(self) -> None:
        """End it, at once if that is possible."""


class ThreadWorker:
    """A daemon thread for each call: unlike the standard library's executor it holds up no exit of the program.

    It is not ended from outside; its runner is asked to stop.
    """

    can_be_ended = False

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None

    def begin(self) -> Future[None]:
        return self._start(self._make)

    def _make(self) -> None:
        _take_one_thread()
        self._runner = self._recipe()

    def live(self, chunk: Chunk, phi: np.ndarray) -> Future[ChunkResult]:
        assert self._runner is not None
        return self._start(self._runner.live, chunk, phi)

    def _start(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(call(*arguments))
            except BaseException as error:  # handed to whoever asks for the result
                future.set_exception(error)

        self._thread = threading.Thread(target=work, name="lives", daemon=True)
        self._thread.start()
        return future

    def end(self) -> None:
        """Have the runner stop, and wait a moment for it; a thread that stays, in a simulator that hangs, ends with the program."""
        if self._runner is not None and self._thread is not None:
            self._runner.stop()
            self._thread.join(END_PATIENCE_S)

    def __str__(self) -> str:
        return "a thread"


class ProcessWorker:
    """A process."""

    can_be_ended = True

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=leave_with_parent)
        self._process: BaseProcess | None = None

    def begin(self) -> Future[None]:
        before = {process.pid for process in multiprocessing.active_children()}
        with _sigint_blocked():  # which a process that starts here inherits
            future = self._executor.submit(_make, self._recipe)
        self._process = next((one for one in multiprocessing.active_children() if one.pid not in before), None)
        return future

    def live(self, chunk: Chunk, phi: np.ndarray) -> Future[ChunkResult]:
        return self._executor.submit(_live, chunk, phi)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def __str__(self) -> str:
        return f"pid {self._process.pid}" if self._process is not None else "a process"


_runner: Runner | None = None
"""The runner of this process, where it is a worker's."""


def _make(recipe: Recipe) -> None:
    global _runner
    _take_one_thread()
    _runner = recipe()


def _take_one_thread() -> None:
    """One thread for tensors; where the recipe brought no torch along there are none."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _live(chunk: Chunk, phi: np.ndarray) -> ChunkResult:
    assert _runner is not None
    return _runner.live(chunk, phi)


def leave_with_parent() -> None:
    """End this process when the one that made it has ended: a driver that is killed could not tell it."""
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class LocalSeat:
    """The place of one worker, and the chunk that it is at.

    Attributes:
        index: of the actor.
        is_up: its runner is made.
        is_leaving: it gets no other chunk.
        chunk: what it is at; None when nothing.
        future: of the call under way.
        since: when that began, on the monotonic clock.
        lost_in_a_row: workers that it lost with nothing finished in between.
    """

    def __init__(self, index: int, make: Callable[[], Worker]) -> None:
        self.index, self._make = index, make
        self.lost_in_a_row = 0
        self.is_leaving = False
        self.fill()

    def fill(self) -> None:
        """Start a worker."""
        self._worker = self._make()
        self.is_up = False
        self.chunk: Chunk | None = None
        self.since = time.monotonic()
        self.future: Future[Any] | None = self._worker.begin()

    @property
    def can_be_ended(self) -> bool:
        """See `Worker`."""
        return self._worker.can_be_ended

    @property
    def is_free(self) -> bool:
        """Whether it is up and has nothing to do."""
        return self.is_up and self.future is None and not self.is_leaving

    def submit(self, chunk: Chunk, phi: np.ndarray) -> None:
        """Give it a chunk."""
        self.chunk, self.since = chunk, time.monotonic()
        try:
            self.future = self._worker.live(chunk, phi)
        except BrokenExecutor as error:  # it died while it had nothing to do
            self.future = Future()
            self.future.set_exception(error)

    def answered(self) -> ChunkResult | None:
        """Take in the call that is over; None when it was the making of the runner.

        Raises:
            Exception: what the call raised.
        """
        assert self.future is not None
        future, self.future, self.chunk = self.future, None, None
        result: ChunkResult | None = future.result()
        self.is_up = True
        if result is not None:
            self.lost_in_a_row = 0
        return result

    def end(self) -> None:
        """End its worker."""
        self._worker.end()

    def __str__(self) -> str:
        return f"actor {self.index} ({self._worker})"
