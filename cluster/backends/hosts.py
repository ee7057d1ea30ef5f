"""Workers of this machine without Ray: threads of this process, and processes of their own.

Each has a queue or an executor of its own, so that a lost process is matched with its work, and workers are added and removed one by one.
A worker process ends with the driver, even when that is killed, and ignores the Ctrl-C of its terminal: the driver decides.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from typing import Any

from actors.messages import Collector, Report, Work
from cluster.backends.base import MakeCollector
from cluster.backends.fleet import Answered, Gone, Raised, Ready, Signal
from learners.trajectory import Snapshot

END_PATIENCE_S = 2.0
"""A step of all environments takes milliseconds, and a collector checks for a stop after each."""

_BUILDING = threading.Lock()
"""Threads make their collectors one after the other: simulators load shared libraries, and networks draw from one generator."""


class ThreadWorker:
    """A daemon thread, so that the program can exit. It cannot be killed; its collector is asked to stop."""

    can_be_ended = False
    has_place = True

    def __init__(self, make: MakeCollector, index: int, emit: Callable[[Signal], None]) -> None:
        self._make, self._index, self._emit = make, index, emit
        self._collector: Collector | None = None
        self._inbox: queue.SimpleQueue[tuple[Work, Snapshot] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"actor-{index}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            with _BUILDING:
                take_one_thread()
                self._collector = collector = self._make(self._index)
        except Exception as error:  # handed to the loop
            self._emit(Raised(worker=self, error=error))
            return
        self._emit(Ready(worker=self))
        while (asked := self._inbox.get()) is not None:
            try:
                report, payload = collector.collect(*asked)
            except Exception as error:
                self._emit(Raised(worker=self, error=error))
            else:
                self._emit(Answered(worker=self, report=report, payload=payload))
        collector.close()

    def collect(self, work: Work, weights: Snapshot) -> None:
        """See `cluster.backends.fleet.Worker`."""
        self._inbox.put((work, weights))

    def end(self) -> None:
        """Ask the collector to stop, and wait a moment; a thread whose simulator hangs ends with the program."""
        self._inbox.put(None)
        if self._collector is not None:
            self._collector.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(END_PATIENCE_S)

    def __str__(self) -> str:
        return "a thread"


class ProcessWorker:
    """A process."""

    can_be_ended = True
    has_place = True

    def __init__(self, make: MakeCollector, index: int, emit: Callable[[Signal], None]) -> None:
        self._emit = emit
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(1, mp_context=context, initializer=leave_with_parent)
        before = {process.pid for process in multiprocessing.active_children()}
        with starting_process():
            future = self._executor.submit(_build, make, index)
        self._process: BaseProcess | None = next(
            (one for one in multiprocessing.active_children() if one.pid not in before), None
        )
        future.add_done_callback(lambda done: self._send(done, lambda _: Ready(worker=self)))

    def collect(self, work: Work, weights: Snapshot) -> None:
        """See `cluster.backends.fleet.Worker`."""
        try:
            future = self._executor.submit(_collect, work, weights)
        except BrokenExecutor:  # it died while idle
            self._emit(Gone(worker=self, reason="died"))
            return
        future.add_done_callback(
            lambda done: self._send(done, lambda result: Answered(worker=self, report=result[0], payload=result[1]))
        )

    def _send(self, done: Future[Any], success: Callable[[Any], Signal]) -> None:
        try:
            self._emit(success(done.result()))
        except (BrokenExecutor, CancelledError):
            self._emit(Gone(worker=self, reason="died"))
        except Exception as error:
            self._emit(Raised(worker=self, error=error))

    def end(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def __str__(self) -> str:
        return f"pid {self._process.pid}" if self._process is not None else "a process"


_collector: Collector | None = None
"""The collector of this process, in a worker."""


def _build(make: MakeCollector, index: int) -> None:
    global _collector
    take_one_thread()
    _collector = make(index)


def _collect(work: Work, weights: Snapshot) -> tuple[Report, Any]:
    assert _collector is not None
    return _collector.collect(work, weights)


def take_one_thread() -> None:
    """Limit torch to one thread: beside busy simulators a second one spins and slows everything down. No effect without torch."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def leave_with_parent() -> None:
    """End this process when its parent has ended: a driver that is killed cannot do it."""
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


@contextlib.contextmanager
def starting_process() -> Iterator[None]:
    """Let a process spawned in the block inherit a blocked SIGINT, and not import the main program of the driver.

    It needs nothing of that program, and would import it by name, so that a folder `metaray` in the working folder would be found instead.
    """
    before, main = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
