"""Actors and learner as Ray processes, each watched: what it was asked, whether it answers, and what becomes of it when it does not.

A lost actor's seat gets a new worker (`cluster.backends.ray.seat`), and the loop is told which request was lost; a lost learner ends the
run. An error raised by our own code on the far side, or by an environment, ends the run too, with the error as it was raised there.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from actors.messages import UnrollReport, UnrollRequest
from cluster.backends.ray.calls import LostError, fetch, kill, named
from cluster.backends.ray.seat import OPTIONS, Answer, Loss, Seat
from cluster.backends.ray.workers import Place, RemoteLearnerWorker, RemoteRolloutWorker
from cluster.backends.wiring import ActorFailed, ActorLost, CallLost, Event, Handle, Learned, Unrolled
from cluster.config import RunConfig

LEARNER_PATIENCE = 10
"""A learner call may take so many actor deadlines; one that does not end counts as hung."""
PING_S = 2.0
"""How often an idle learner is asked whether it lives."""


class LearnerLostError(RuntimeError):
    """The learner died or hung; the run ends with it."""


class ActorSeat:
    """The seat of one actor, in the words of the loop."""

    def __init__(self, config: RunConfig, run_name: str, index: int, folder: str) -> None:
        self._index = index

        def make(name: str) -> Any:
            options = RemoteRolloutWorker.options(name=name, num_cpus=config.rollout.env_threads, **OPTIONS)
            return options.remote(config, run_name, index, folder)

        name, role = f"{run_name}/actor-{index}", f"actor {index}"
        self._seat = Seat(make, name=name, role=role, unit="an unroll", deadline_s=config.actor_deadline_s)

    @property
    def stage(self) -> str:
        """See `cluster.backends.ray.seat.Seat`."""
        return self._seat.stage

    def unroll(self, request: UnrollRequest, weights: Any) -> None:
        """Start an unroll; one that is not up yet begins with it when it is."""
        self._seat.ask(request, lambda worker: worker.unroll.remote(request, weights))

    def watched(self) -> list[Any]:
        """References that say something when they are ready."""
        return self._seat.watched()

    def take_in(self, ref: Any) -> Event | None:
        """Take in a reference that is ready."""
        return self._event(lambda: self._seat.take_in(ref))

    def overdue(self, now: float) -> Event | None:
        """Replace a worker that does not answer in time."""
        return self._event(lambda: self._seat.overdue(now))

    def _event(self, look: Callable[[], Answer | Loss | None]) -> Event | None:
        try:
            what = look()
        except Exception as error:  # of our own code or an environment's over there; a new worker would raise it again
            return ActorFailed(error=error)
        match what:
            case Answer(value=report, rest=(trajectory,)):
                return Unrolled(report=_owned(report), trajectory=trajectory)
            case Loss(asked=request, reason=reason):
                return ActorLost(actor=self._index, lost=request, reason=reason)
        return None

    def close(self) -> None:
        """End the worker."""
        self._seat.close()


def _owned(report: UnrollReport) -> UnrollReport:
    """The report with a state of its own: a large one is a view of shared memory, which goes away with the session."""
    return report if report.state is None else replace(report, state=copy.deepcopy(report.state))


class Learner:
    """The learner's process, and its calls under way, oldest first."""

    def __init__(self, config: RunConfig, run_name: str, folder: str, num_gpus: int) -> None:
        self._patience = LEARNER_PATIENCE * config.actor_deadline_s
        options = {"num_cpus": 1, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0}

        def make(name: str) -> Any:
            return RemoteLearnerWorker.options(name=name, **options).remote(config, run_name, folder)

        self._worker = named(make, f"{run_name}/learner")
        self._calls: deque[tuple[Any, Any]] = deque()
        self._ping: Any = None
        self._since = self._pinged = time.monotonic()
        self.placed = self._worker.place.remote()
        self.place: Place | None = None

    @property
    def _who(self) -> str:
        return f"the learner ({self.place or 'not up yet'})"

    def build(self, state: dict[str, Any] | None) -> tuple[int, Handle]:
        """Make it, once it has a node; return its version and a reference to its weights."""
        self.place = self._get(self.placed)
        version, weights = self._worker.build.remote(state)
        return int(self._get(version)), weights

    def _get(self, ref: Any) -> Any:
        try:
            return fetch(ref, self._who)
        except LostError as error:
            raise LearnerLostError(f"{self._who} died: {error}") from error

    def learn(self, trajectories: Sequence[Any]) -> None:
        """Start a call; Ray resolves the references on the far side."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls.append(tuple(self._worker.learn.remote(*trajectories)))

    def watched(self) -> list[Any]:
        """The oldest call, or a sign of life while there is none."""
        now = time.monotonic()
        if self._calls:
            return [self._calls[0][0]]
        if self._ping is None and now - self._pinged > PING_S:
            self._ping, self._since = self._worker.place.remote(), now
        return [] if self._ping is None else [self._ping]

    def take_in(self, ref: Any) -> Event | None:
        """Take in a reference that is ready.

        Raises:
            LearnerLostError: the process is gone.
        """
        if self._ping is not None and ref == self._ping:
            self._get(ref)
            self._ping, self._pinged = None, time.monotonic()
            return None
        report_ref, weights = self._calls.popleft()
        self._since = self._pinged = time.monotonic()
        try:
            return Learned(report=fetch(report_ref, self._who), weights=weights)
        except LostError as error:
            self._get(self._worker.place.remote())  # raises when it was the learner that was lost, not what it was given
            return CallLost(reason=f"the learner could not have a trajectory, which went with its machine: {error}")

    def overdue(self, now: float) -> None:
        """Raise LearnerLostError when the oldest call, or a sign of life, takes far too long."""
        if (self._calls or self._ping is not None) and now - self._since > self._patience:
            raise LearnerLostError(f"{self._who} hung: no answer for {now - self._since:.0f} s")

    def state(self) -> dict[str, Any]:
        """Its whole state, in memory of this process."""
        state: dict[str, Any] = copy.deepcopy(self._get(self._worker.state.remote()))
        return state

    def close(self) -> None:
        """End it."""
        kill(self._worker)
