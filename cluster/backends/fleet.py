"""The actors of a run, each supervised: what it works on, whether it answers, and its replacement when it does not.

    pending --has a place--> building --collector made--> up --submit--> up ...
       ^                                                   |
       +------ a new worker, when the old one died or hung <

A worker is a thread, a process or a Ray actor (`Worker`) and sends signals over its transport. The fleet is the same for all: deadlines,
replacement, five losses in a row, resizing. The transport never restarts a worker, because that would repeat work in another order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from actors.messages import Report, Work
from cluster.backends.base import Collected, Event, Failed, Handle, Learner, Lost

log = logging.getLogger("metaray")

MAX_LOST_IN_A_ROW = 5
"""Workers that one actor may lose in a row without finishing anything; then the cause is not transient."""
BUILD_DEADLINE_S = 300.0
"""Seconds for making the environments of a worker, while other workers do the same on the same cores."""


class RepeatedLossError(RuntimeError):
    """The workers of one actor are lost repeatedly, before they finish anything."""


class Worker(Protocol):
    """Collects one unit of work at a time; `str` says what and where it is.

    Attributes:
        can_be_ended: its work can be interrupted.
        has_place: it runs from the start; else it sends `Placed` first, and may wait for resources without limit.
    """

    can_be_ended: bool
    has_place: bool

    def collect(self, work: Work, weights: Handle) -> None:
        """Begin a unit of work."""

    def end(self) -> None:
        """End it, interrupting its work if possible."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """The process of the worker runs and makes its collector."""

    worker: Worker


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The collector is made."""

    worker: Worker


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The unit of work is complete."""

    worker: Worker
    report: Report
    payload: Handle


@dataclass(frozen=True, kw_only=True)
class Raised:
    """The making of the collector, or the unit of work, raised an error."""

    worker: Worker
    error: Exception


@dataclass(frozen=True, kw_only=True)
class Gone:
    """The worker has ended."""

    worker: Worker
    reason: str


Signal = Placed | Ready | Answered | Raised | Gone


class Supervisor:
    """Supervises the worker of one actor.

    Attributes:
        index: of the actor.
        state: see the module's docstring.
        work: of the worker; None when it is idle.
        since: time of its last signal or submission, on the monotonic clock.
        is_leaving: it gets no more work, and ends after its present unit.
    """

    def __init__(self, index: int, spawn: Callable[[int], Worker]) -> None:
        self.index, self._spawn = index, spawn
        self.is_leaving, self._lost_in_a_row = False, 0
        self.begin()

    def begin(self) -> None:
        """Start a worker."""
        self.worker = self._spawn(self.index)
        self.state: Literal["pending", "building", "up"] = "building" if self.worker.has_place else "pending"
        self.work: Work | None = None
        self.since = time.monotonic()

    def __str__(self) -> str:
        return f"actor {self.index} ({self.worker})"

    @property
    def is_free(self) -> bool:
        """Whether it is up and idle."""
        return self.state == "up" and self.work is None and not self.is_leaving

    def submit(self, work: Work, weights: Handle) -> None:
        """Give work to its worker."""
        self.work, self.since = work, time.monotonic()
        self.worker.collect(work, weights)

    def handle(self, signal: Placed | Ready | Answered | Raised) -> Event | None:
        """Handle a signal of a worker that is up or starting."""
        self.since = time.monotonic()
        if isinstance(signal, Placed):
            self.state = "building"
            return None
        if isinstance(signal, Ready):
            self.state = "up"
            log.info("%s is up", self)
            return None
        work, self.work = self.work, None
        if isinstance(signal, Raised):
            return Failed(work=work, error=signal.error, worker=str(self))
        assert work is not None
        self._lost_in_a_row = 0
        return Collected(work=work, report=signal.report, payload=signal.payload)

    def overdue(self, now: float, deadline_s: float) -> str | None:
        """The reason why its worker counts as hung, or None; a worker that waits for resources has no deadline."""
        limits = {"building": max(BUILD_DEADLINE_S, deadline_s), "up": deadline_s}
        if self.state == "pending" or (self.state == "up" and self.work is None) or now - self.since <= limits[self.state]:
            return None
        return f"hung: no answer for {now - self.since:.0f} s"

    def replace(self, reason: str, unit: str) -> Lost:
        """Replace a lost worker.

        Raises:
            RepeatedLossError: too many were lost in a row.
        """
        who, work = str(self), self.work
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            raise RepeatedLossError(
                f"{who}: {MAX_LOST_IN_A_ROW} workers in a row were lost without finishing a single {unit}; the last one {reason}"
            )
        self.worker.end()
        self.begin()
        return Lost(actor=self.index, work=work, reason=f"{who} {reason}; a new one takes its place")


class Fleet:
    """All actors of a run, and its learner: the half of a backend that is the same wherever they work (`cluster.backends.base.Backend`).

    Args:
        spawn: starts the worker of an actor.
        num_actors: how many.
        unit: a unit of work, in words: `unroll`.
        deadline_s: seconds after which a worker that was given work counts as hung.

    Attributes:
        learner: made by the start.
    """

    learner: Learner

    def __init__(self, spawn: Callable[[int], Worker], num_actors: int, *, unit: str, deadline_s: float) -> None:
        self.num_actors = num_actors
        self._spawn, self._unit, self._deadline_s = spawn, unit, deadline_s
        self.supervisors: dict[int, Supervisor] = {}
        self._leaving: list[Supervisor] = []
        self._by_worker: dict[Any, Supervisor] = {}

    def start_workers(self) -> None:
        """Start every worker that is missing."""
        for index in range(self.num_actors):
            if index not in self.supervisors:
                self._watch(Supervisor(index, self._spawn))

    def _watch(self, supervisor: Supervisor) -> None:
        self.supervisors[supervisor.index] = self._by_worker[supervisor.worker] = supervisor

    def free(self) -> list[int]:
        """See `cluster.backends.base.Backend`."""
        return [one.index for one in sorted(self.supervisors.values(), key=lambda one: one.since) if one.is_free]

    def submit(self, work: Work, actor: int, weights: Handle) -> None:
        """See `cluster.backends.base.Backend`."""
        self.supervisors[actor].submit(work, weights)

    def handle(self, signal: Signal) -> Event | None:
        """Handle a signal; those of workers that have been replaced are ignored.

        Raises:
            RepeatedLossError: see `Supervisor.replace`.
        """
        supervisor = self._by_worker.get(signal.worker)
        if supervisor is None:
            return None
        if supervisor.is_leaving and not isinstance(signal, Placed | Ready):
            self._forget(supervisor)
            if isinstance(signal, Gone):
                return Lost(actor=supervisor.index, work=supervisor.work, reason=f"{supervisor} {signal.reason}", is_wanted=True)
        return self._replace(supervisor, signal.reason) if isinstance(signal, Gone) else supervisor.handle(signal)

    def overdue(self) -> list[Event]:
        """Replace every hung worker, but no thread: a second one beside a hung thread would compete for its core."""
        now, ended = time.monotonic(), [one for one in self.supervisors.values() if one.worker.can_be_ended]
        late = [(one, why) for one in ended if (why := one.overdue(now, self._deadline_s)) is not None]
        return [self._replace(one, why) for one, why in late]

    def _replace(self, supervisor: Supervisor, reason: str) -> Lost:
        self._by_worker.pop(supervisor.worker, None)
        lost = supervisor.replace(reason, self._unit)
        self._watch(supervisor)
        return lost

    def _forget(self, supervisor: Supervisor) -> None:
        self._by_worker.pop(supervisor.worker, None)
        self._leaving.remove(supervisor)
        supervisor.worker.end()

    def stays(self, worker: Worker) -> bool:
        """Whether a worker may stay after a resize."""
        return True

    def resize(self, num_actors: int) -> list[Event]:
        """See `cluster.backends.base.Backend`."""
        self.num_actors = num_actors
        going = [one for one in self.supervisors.values() if one.index >= num_actors or not self.stays(one.worker)]
        events: list[Event] = [event for one in going if (event := self._take_away(one)) is not None]
        self.start_workers()
        return events

    def _take_away(self, supervisor: Supervisor) -> Lost | None:
        del self.supervisors[supervisor.index]
        supervisor.is_leaving = True
        self._leaving.append(supervisor)
        if supervisor.work is not None and not supervisor.worker.can_be_ended:
            return None
        self._forget(supervisor)
        if supervisor.work is None:
            return None
        return Lost(actor=supervisor.index, work=supervisor.work, reason=f"{supervisor} was taken away", is_wanted=True)

    def watched(self) -> list[Supervisor]:
        """Every supervisor, those of leaving workers included."""
        return [*self.supervisors.values(), *self._leaving]

    def num(self, state: str) -> int:
        """How many actors are in a state."""
        return sum(one.state == state for one in self.supervisors.values())

    def num_alive(self) -> int:
        """See `cluster.backends.base.Backend`."""
        return self.num("up")

    @property
    def is_busy(self) -> bool:
        """Whether any work is running."""
        return any(one.work is not None for one in self.watched())

    @property
    def must_drain(self) -> bool:
        """See `cluster.backends.base.Backend`."""
        return any(one.work is not None and not one.worker.can_be_ended for one in self.watched())

    def close(self) -> None:
        """End every worker, and the learner."""
        for supervisor in self.watched():
            supervisor.worker.end()
        self.supervisors, self._leaving, self._by_worker = {}, [], {}
        if hasattr(self, "learner"):  # a start that failed has made none
            self.learner.close()
            del self.learner
