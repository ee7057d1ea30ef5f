"""Workers of this machine without Ray: threads of this process, and processes of their own.

Each has a queue or an executor to itself, so that it is known which work was the death of which process, and workers come and go one by
one. A worker process ends with the driver, even when that is killed, and does not hear the Ctrl-C of its terminal: the driver decides.
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
from cluster.backends.fleet import Answered, Gone, Raised, Ready, Signal
from learners.trajectory import Snapshot

MakeCollector = Callable[[int], Collector]
"""Makes the collector of an actor, given its index; small and picklable, for it is called where the collector shall work."""

END_PATIENCE_S = 2.0
"""A step of all environments takes milliseconds, and a collector looks after each whether it shall stop."""

_BUILDING = threading.Lock()
"""Collectors of threads are made one after the other: simulators load shared libraries, and networks draw from one generator."""


class ThreadWorker:
    """A daemon thread: it holds up no exit of the program. It is not ended from outside; its collector is asked to stop."""

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
        """Have the collector stop, and wait a moment for it; a thread that stays, in a simulator that hangs, ends with the program."""
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
        future.add_done_callback(lambda done: self._say(done, lambda _: Ready(worker=self)))

    def collect(self, work: Work, weights: Snapshot) -> None:
        """See `cluster.backends.fleet.Worker`."""
        try:
            future = self._executor.submit(_collect, work, weights)
        except BrokenExecutor:  # it died while it had nothing to do
            self._emit(Gone(worker=self, reason="died"))
            return
        future.add_done_callback(
            lambda done: self._say(done, lambda result: Answered(worker=self, report=result[0], payload=result[1]))
        )

    def _say(self, done: Future[Any], well: Callable[[Any], Signal]) -> None:
        try:
            self._emit(well(done.result()))
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
"""The collector of this process, where it is a worker's."""


def _build(make: MakeCollector, index: int) -> None:
    global _collector
    take_one_thread()
    _collector = make(index)


def _collect(work: Work, weights: Snapshot) -> tuple[Report, Any]:
    assert _collector is not None
    return _collector.collect(work, weights)


def take_one_thread() -> None:
    """One thread for tensors: beside busy simulators a second one spins and slows everything down. Without torch there are none."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def leave_with_parent() -> None:
    """End this process when the one that made it has ended: a driver that is killed could not tell it."""
    parent = multiprocessing.parent_process()

    def leave() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


@contextlib.contextmanager
def starting_process() -> Iterator[None]:
    """Let a process that is spawned in the block inherit that SIGINT is blocked, and not import the driver's main program.

    It needs nothing of that program, and would look for it by name: a folder `metaray` where the driver was started would be taken for it.
    """
    before, main = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}), sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
