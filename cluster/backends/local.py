"""The backend of one machine without Ray: the learner is a thread of this process, actors are threads or processes.

Simulators and tensor kernels release the interpreter lock, so threads fill as many cores as there are, and payloads are never copied.
Collectors that compute in Python run in processes, except a single one, which is a thread. This module imports no Ray.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from cluster.backends.base import Event, Handle, LearnCall, Learned, LearnReport
from cluster.backends.fleet import Fleet, Signal, Worker
from cluster.backends.hosts import ProcessWorker, ThreadWorker, take_one_thread
from cluster.backends.learner import LearnerHost
from cluster.run.workload import Workload
from learners.trajectory import Snapshot

Emitted = Signal | Learned | BaseException


class LearnerThread:
    """A learner host on a thread of its own.

    Args:
        host: the learner.
        emit: gets `Learned`, or what the learner raised.
        publish: makes the handle of new weights.

    Attributes:
        num_calls: running and queued; the backend decrements it when a call ends.
    """

    def __init__(self, host: LearnerHost, emit: Callable[[Emitted], None], publish: Callable[[Snapshot], Handle]) -> None:
        self.host, self._emit, self._publish = host, emit, publish
        self._inbox: queue.SimpleQueue[tuple[LearnCall, Sequence[Any]] | None] = queue.SimpleQueue()
        self.num_calls = 0
        self._thread = threading.Thread(target=self._serve, name="learner", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (asked := self._inbox.get()) is not None:
            try:
                report, snapshot = self.host.learn(*asked)
                self._emit(Learned(report=report, weights=self._publish(snapshot)))
            except BaseException as error:  # raised in the thread of the loop
                self._emit(error)
                return

    def learn(self, call: LearnCall, experience: Sequence[Any]) -> None:
        """Start a call."""
        self.num_calls += 1
        self._inbox.put((call, experience))

    def state(self) -> dict[str, Any]:
        """The learner's whole state; called while no learner call is running."""
        return self.host.state()

    def close(self) -> None:
        """End it, after the calls that were started."""
        self._inbox.put(None)
        self._thread.join(timeout=60.0)


class LocalBackend(Fleet):
    """See `cluster.backends.base.Backend`.

    Args:
        workload: of the run.
    """

    def __init__(self, workload: Workload) -> None:
        super().__init__(self._spawn, workload.num_actors, unit=workload.unit, deadline_s=workload.deadline_s)
        self._workload, self._in_threads = workload, workload.in_threads
        self._emitted: queue.SimpleQueue[Emitted] = queue.SimpleQueue()

    def _spawn(self, index: int) -> Worker:
        worker = ThreadWorker if self._in_threads or self.num_actors == 1 else ProcessWorker
        return worker(self._workload.collector(), index, self._emitted.put)

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """See `cluster.backends.base.Backend`."""
        take_one_thread()
        host = LearnerHost(self._workload.row, self._workload.config)
        report, snapshot = host.build(learner_state)
        self.learner = LearnerThread(host, self._emitted.put, publish=lambda made: made)
        self.start_workers()
        return report, snapshot

    def put(self, snapshot: Snapshot) -> Handle:
        """See `cluster.backends.base.Backend`."""
        return snapshot

    def get(self, weights: Handle) -> Snapshot:
        """See `cluster.backends.base.Backend`."""
        assert isinstance(weights, Snapshot)
        return weights

    def wait(self, timeout_s: float) -> list[Event]:
        """See `cluster.backends.base.Backend`."""
        events: list[Event | None] = []
        try:
            emitted = self._emitted.get(timeout=timeout_s)
            while True:
                if isinstance(emitted, BaseException):
                    raise emitted
                events.append(emitted if isinstance(emitted, Learned) else self.handle(emitted))
                emitted = self._emitted.get_nowait()
        except queue.Empty:
            pass
        return [event for event in (*events, *self.overdue()) if event is not None]

    def stays(self, worker: Worker) -> bool:
        """See `cluster.backends.fleet.Fleet`: a thread beside processes would slow the driver down, so it is removed."""
        return self._in_threads or self.num_actors == 1 or worker.can_be_ended
