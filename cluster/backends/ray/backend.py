"""The backend of a Ray cluster: a process for each actor on any node with room, one for the learner, on a GPU where there is one.

    driver --collect(work, weights ref)--> actor i     report to the driver, payload to the object store of its node
    driver --learn(call, payload refs)---> learner     payloads from node to node; report to the driver, weights to the store

The driver holds references, and never a trajectory or a parameter. Weights are stored once per version, as the result of the learner's
call. The schedule bounds what is in flight: one unit per actor, a few results, two learner calls. Actors beyond the CPUs of the cluster
stay pending and are used when a node joins; a placement group has a fixed size, so there is none. A cheap learner is a thread of the
driver.

No Ray is imported with this module: `cluster.backends.ray.session` settles the authentication first.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.messages import Work
from cluster.backends.base import Event, Handle, Learned, LearnReport, MakeCollector, Notice
from cluster.backends.fleet import Answered, Fleet, Gone, Placed, Raised, Ready, Signal, Worker
from cluster.backends.learner import LearnerHost
from cluster.backends.local import Emitted, LearnerThread
from cluster.backends.ray.session import RaySession
from cluster.run.where import Where
from cluster.run.workload import Workload
from envs.errors import InvalidInputError
from learners.trajectory import Snapshot

if TYPE_CHECKING:
    from cluster.backends.ray.learner import RayLearner

log = logging.getLogger("metaray")

PLACEMENT_WAIT_S = 60.0
"""Seconds that the learner waits for a node, or a cluster for nodes that are starting: a worker joins in 4 to 10 s."""
PENDING_NOTICE_S = 30.0
"""Seconds after which pending actors are reported, once for each size of the fleet."""
THREAD_POLL_S = 0.002
"""Seconds between checks of a learner thread while stragglers of the last round are running."""
OPTIONS: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
"""Of every actor: never restarted by Ray, and placed on the node with most free CPUs."""


class RayWorker:
    """An actor's process. See `cluster.backends.fleet.Worker`."""

    can_be_ended = True
    has_place = False

    def __init__(self, make: MakeCollector, run_name: str, index: int, num_cpus: int, *, has_payload: bool) -> None:
        from cluster.backends.ray.calls import named
        from cluster.backends.ray.workers import RemoteCollectorWorker

        def start(name: str) -> Any:
            options = RemoteCollectorWorker.options(name=name, num_cpus=num_cpus, **OPTIONS)
            return options.remote(make, run_name, index, os.getcwd())

        self._has_payload = has_payload
        self._actor, self._place = named(start, f"{run_name}/actor-{index}"), ""
        # calls to one actor run in order, so both are sent at once, and work behind them
        self._gates = [self._actor.place.remote(), self._actor.build.remote()]
        self._refs: tuple[Any, ...] = ()

    def collect(self, work: Work, weights: Handle) -> None:
        """See `cluster.backends.fleet.Worker`."""
        self._refs = tuple(self._actor.collect.remote(work, [weights]))

    def watched(self) -> list[Any]:
        """References to wait for."""
        return self._gates[:1] or list(self._refs[:1])

    def signal(self) -> Signal:
        """The signal of the watched reference, which is ready."""
        from cluster.backends.ray.calls import LostError, fetch

        gate, refs = (self._gates.pop(0), ()) if self._gates else (None, self._refs)
        self._refs = self._refs if gate is not None else ()
        try:
            value = fetch(refs[0] if gate is None else gate, str(self))
        except LostError as error:
            return Gone(worker=self, reason=f"died: {error}")
        except Exception as error:
            return Raised(worker=self, error=error)
        if gate is None:
            return Answered(worker=self, report=value, payload=refs[1] if self._has_payload else None)
        if value is None:
            return Ready(worker=self)
        self._place = str(value)
        return Placed(worker=self)

    def end(self) -> None:
        """Kill it."""
        from cluster.backends.ray.calls import kill

        kill(self._actor)

    def __str__(self) -> str:
        return self._place or "not up yet"


class RayBackend(Fleet):
    """See `cluster.backends.base.Backend`.

    Args:
        workload: of the run; where its family is a module of the user's own, that is sent to the cluster.
        where: the cluster to attach to (None for RAY_ADDRESS, or a new one on this machine during the run), and the name of the run:
            processes are called `<run name>/actor-3`, `<run name>/learner`.
    """

    def __init__(self, workload: Workload, where: Where) -> None:
        super().__init__(self._spawn, workload.num_actors, unit=workload.unit, deadline_s=workload.deadline_s)
        self._workload, self._where = workload, where
        self._device: str | None = None if workload.learner_on_driver else workload.config.learner_device
        self._emitted: queue.SimpleQueue[Emitted] = queue.SimpleQueue()
        self._session: RaySession | None = None
        self._thread: LearnerThread | None = None
        self._remote: RayLearner | None = None
        self._resized = math.inf

    def _spawn(self, index: int) -> Worker:
        has_payload = self._device is not None  # a learner thread learns from reports
        workload = self._workload
        return RayWorker(workload.collector(), self._where.run_name, index, workload.num_cpus, has_payload=has_payload)

    def start(self, learner_state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """See `cluster.backends.base.Backend`.

        Raises:
            InvalidInputError: there is no cluster, or no room in it for a learner and an actor.
        """
        # a cluster of our own has all CPUs of the machine, or more where more actors were requested
        num_cpus = max(self.num_actors * self._workload.num_cpus + (self._device is not None), os.cpu_count() or 1)
        self._session = RaySession(
            self._where.address,
            insecure=self._where.is_insecure,
            num_cpus=num_cpus,
            store_bytes=self._workload.store_bytes(),
            family=self._workload.config.family,
        )
        if self._device is None:
            host = LearnerHost(self._workload.row, self._workload.config)
            report, snapshot = host.build(learner_state)
            self.learner = self._thread = LearnerThread(host, self._emitted.put, publish=self.put)
            weights = self.put(snapshot)
            self.start_workers()
        else:
            from cluster.backends.ray.learner import RayLearner

            self._await_nodes()
            make = partial(LearnerHost, self._workload.row, self._workload.config)
            self.learner = learner = self._remote = RayLearner(make, self._where.run_name, self._device, self._deadline_s)
            learner.await_place(PLACEMENT_WAIT_S)
            self.start_workers()  # after the learner, so that actors cannot take its place
            report, weights = learner.build(learner_state)
        self._resized = time.monotonic()
        return report, weights

    def _await_nodes(self) -> None:
        """Wait until the cluster has CPUs for a learner and one actor."""
        from cluster.backends.ray.calls import resources

        needed, give_up = 1 + self._workload.num_cpus, time.monotonic() + PLACEMENT_WAIT_S
        while (cpus := resources(free=False)["CPU"]) < needed:
            if time.monotonic() > give_up:
                raise InvalidInputError(
                    f"the Ray cluster has {cpus:.0f} CPUs in all, a learner and one actor need {needed}: add a node to it, or use --local"
                )
            log.info("waiting for nodes: the cluster has %.0f CPUs, a learner and one actor need %d", cpus, needed)
            time.sleep(1.0)

    def put(self, snapshot: Snapshot) -> Handle:
        """See `cluster.backends.base.Backend`."""
        import ray

        return ray.put(snapshot)

    def get(self, weights: Handle) -> Snapshot:
        """See `cluster.backends.base.Backend`."""
        from cluster.backends.ray.calls import fetch
        from cluster.backends.ray.workers import copied

        return copied(fetch(weights, "the learner"))

    def wait(self, timeout_s: float) -> list[Event]:
        """See `cluster.backends.base.Backend`.

        Raises:
            LearnerLostError: the learner died or hung.
        """
        from cluster.backends.ray.calls import first_ready

        learner, is_learning = self._remote, self._thread is not None and self._thread.num_calls > 0
        if is_learning and not self.is_busy:  # only the learner thread can have an event
            return self._from_thread(timeout_s)
        workers = [one.worker for one in self.watched()]
        owners: dict[Any, RayWorker] = {ref: one for one in workers if isinstance(one, RayWorker) for ref in one.watched()}
        of_learner = [] if learner is None else learner.watched()
        events: list[Event] = []
        for ref in first_ready([*owners, *of_learner], THREAD_POLL_S if is_learning else timeout_s):
            if learner is not None and ref in of_learner:
                event = learner.handle(ref)
            else:
                event = self.handle(owners[ref].signal())
            events += [] if event is None else [event]
        if learner is not None:
            learner.overdue()
        return [*events, *self._from_thread(0.0), *self.overdue(), *self._pending_notice()]

    def _from_thread(self, timeout_s: float) -> list[Event]:
        """Events of the learner thread."""
        try:
            emitted = self._emitted.get(block=timeout_s > 0, timeout=timeout_s or None)
        except queue.Empty:
            return []
        if isinstance(emitted, BaseException):
            raise emitted
        assert isinstance(emitted, Learned) and self._thread is not None
        self._thread.num_calls -= 1
        return [emitted]

    def _pending_notice(self) -> list[Event]:
        if time.monotonic() - self._resized < PENDING_NOTICE_S:
            return []
        self._resized = math.inf  # once
        pending = self.num("pending")
        if not pending:
            return []
        from cluster.backends.ray.calls import pending_line

        return [Notice(line=f"{pending_line(pending, self.num_actors)}; they start as soon as it has room")]

    def resize(self, num_actors: int) -> list[Event]:
        """See `cluster.backends.base.Backend`."""
        self._resized = time.monotonic()
        return super().resize(num_actors)

    def close(self) -> None:
        """See `cluster.backends.base.Backend`: ends the run's processes, and the cluster if it was started for the run."""
        super().close()
        if self._session is not None:
            self._session.close()
            self._session = None
