"""Actors and learner as Ray processes, each watched: what it was asked, whether it answers, and what takes its place when it does not.

    seat:  pending --a node has room--> building --environments made--> up --unroll--> up ...
             ^                                                          |
             +----- a new worker, when the old one died or hung <-------+

No worker is restarted by Ray itself, which would run calls again in another order; a lost worker's seat gets a new one, and the loop is
told which request was lost. An error raised by our own code on the far side is a defect of the program: it is raised here, as it was there.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from actors.messages import UnrollReport, UnrollRequest
from cluster.config import RunConfig
from cluster.ray_actors import Place, RemoteLearnerWorker, RemoteRolloutWorker
from cluster.ray_calls import LostError, fetch, kill, named
from cluster.wiring import ActorLost, CallLost, Event, Handle, Learned, Unrolled

log = logging.getLogger("metaray")

BUILD_DEADLINE_S = 300.0
"""For making an actor's environments, beside other actors that do the same on the same cores."""
MAX_LOST_IN_A_ROW = 5
"""Workers that one seat may lose with no unroll finished in between; then it is no accident."""
LEARNER_PATIENCE = 10
"""A learner call may take so many actor deadlines; one that does not end counts as hung."""
PING_S = 2.0
"""How often an idle learner is asked whether it lives."""


class LearnerLostError(RuntimeError):
    """The learner died or hung; the run ends with it."""


class Seat:
    """The place of one actor in the run: the worker that has it now, and what that is doing.

    Attributes:
        stage: see the module's docstring.
        place: where the worker lives, once it is known.
    """

    def __init__(self, config: RunConfig, run_name: str, index: int, folder: str) -> None:
        self._config, self._run_name, self._index, self._folder = config, run_name, index, folder
        self._lost_in_a_row = 0
        self._fill()

    def _fill(self) -> None:
        """Ask for a new worker."""

        def make(name: str) -> Any:
            options = RemoteRolloutWorker.options(
                name=name,
                num_cpus=self._config.rollout.env_threads,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
            )
            return options.remote(self._config, self._run_name, self._index, self._folder)

        self._worker = named(make, f"{self._run_name}/actor-{self._index}")
        self.stage: Literal["pending", "building", "up"] = "pending"
        self.place: Place | None = None
        self._since = time.monotonic()
        # calls to one worker are worked off in order, so both may be sent off, and an unroll behind them
        self._gates = deque([self._worker.place.remote(), self._worker.build.remote()])
        self._request: UnrollRequest | None = None
        self._report: Any = None
        self._trajectory: Any = None

    @property
    def _who(self) -> str:
        return f"actor {self._index} ({self.place or 'not up yet'})"

    def unroll(self, request: UnrollRequest, weights: Any) -> None:
        """Start an unroll; one that is not up yet begins with it when it is."""
        self._request = request
        self._report, self._trajectory = self._worker.unroll.remote(request, weights)
        if self.stage == "up":
            self._since = time.monotonic()

    def watched(self) -> list[Any]:
        """References that say something when they are ready."""
        return ([self._gates[0]] if self._gates else []) + ([self._report] if self._report is not None else [])

    def take_in(self, ref: Any) -> Event | None:
        """Take in a reference that is ready."""
        try:
            if self._gates and ref == self._gates[0]:
                self._pass_gate(fetch(ref, self._who))
                return None
            if self._report is None or ref != self._report:
                return None  # of a worker that is gone by now
            report = fetch(ref, self._who)
        except LostError as error:
            return self._replace(f"died: {error}")
        trajectory, self._request, self._report, self._trajectory = self._trajectory, None, None, None
        self._lost_in_a_row = 0
        return Unrolled(report=_owned(report), trajectory=trajectory)

    def _pass_gate(self, answer: Place | None) -> None:
        self._gates.popleft()
        self._since = time.monotonic()
        if answer is not None:
            self.place, self.stage = answer, "building"
        else:
            self.stage = "up"
            log.info("%s is up", self._who)

    def overdue(self, now: float) -> Event | None:
        """Replace a worker that does not answer in time; one that waits for a node has all the time there is."""
        if self.stage == "building":
            late = now - self._since > max(BUILD_DEADLINE_S, self._config.actor_deadline_s)
        else:
            late = self.stage == "up" and self._report is not None and now - self._since > self._config.actor_deadline_s
        return self._replace(f"hung: no answer for {now - self._since:.0f} s") if late else None

    def _replace(self, reason: str) -> Event | None:
        """Put a new worker into the seat.

        Returns:
            The loss, when there was a request to lose.

        Raises:
            RuntimeError: the seat's workers are lost before they finish anything, time and again.
        """
        who, lost = self._who, self._request
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= MAX_LOST_IN_A_ROW:
            raise RuntimeError(
                f"{who}: {MAX_LOST_IN_A_ROW} workers in a row were lost without finishing an unroll; the last one {reason}"
            )
        kill(self._worker)
        self._fill()
        line = f"{who} {reason}; a new one takes its place"
        if lost is None:  # it had nothing to do, so nothing is lost but time
            log.warning(line)
            return None
        return ActorLost(actor=self._index, lost=lost, reason=line)

    def close(self) -> None:
        """End the worker."""
        kill(self._worker)


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
