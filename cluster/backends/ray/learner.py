"""The learner as a supervised Ray actor: a lost actor is replaced, a lost learner ends the run."""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import ray

from cluster.backends.base import CallLost, Event, Handle, LearnCall, Learned, LearnReport
from cluster.backends.learner import LearnerHost
from cluster.backends.ray.calls import LostError, fetch, kill, named, resources
from cluster.backends.ray.workers import Place, RemoteLearnerWorker
from envs.errors import InvalidInputError

LEARNER_PATIENCE = 10
"""Actor deadlines that a learner call may take before it counts as hung."""
PING_S = 2.0
"""Seconds between pings of an idle learner."""


class LearnerLostError(RuntimeError):
    """The learner died or hung; the run ends with it."""


class RayLearner:
    """The process of the learner, and its running calls, oldest first.

    Args:
        make: makes the learner, in its process.
        run_name: its name is `<run name>/learner`.
        device: `auto` takes a GPU where one is free; more than one is never used.
        deadline_s: of an actor.

    Raises:
        InvalidInputError: a GPU is requested, and no node has one.
    """

    def __init__(self, make: Callable[[], LearnerHost], run_name: str, device: str, deadline_s: float) -> None:
        if device == "cuda" and resources(free=False)["GPU"] < 1:
            raise InvalidInputError(
                "learner_device = cuda, and no node of the Ray cluster has a GPU: allowed here is cpu or auto"
            )
        num_gpus = int(device == "cuda" or (device == "auto" and resources(free=True)["GPU"] >= 1))
        options = {"num_cpus": 1, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0}
        folder = os.getcwd()
        self._patience = LEARNER_PATIENCE * deadline_s
        self._worker = named(
            lambda name: RemoteLearnerWorker.options(name=name, **options).remote(make, run_name, folder), f"{run_name}/learner"
        )
        self._calls: deque[tuple[Any, Any]] = deque()
        self._ping: Any = None
        self._since = self._pinged = time.monotonic()
        self._placed = self._worker.place.remote()
        self._place: Place | None = None

    def __str__(self) -> str:
        return f"the learner ({self._place or 'not up yet'})"

    def await_place(self, patience_s: float) -> None:
        """Wait until it is placed; InvalidInputError when there is no room for it."""
        give_up = time.monotonic() + patience_s
        while not ray.wait([self._placed], timeout=0.25, fetch_local=False)[0]:
            if time.monotonic() > give_up:
                free, total = resources(free=True), resources(free=False)
                have = ", ".join(f"{free[kind]:.0f} of {total[kind]:.0f} {kind}s free" for kind in ("CPU", "GPU"))
                raise InvalidInputError(
                    f"the Ray cluster has no room for the learner ({have}): wait for other work to end, or add a node"
                )

    def build(self, state: dict[str, Any] | None) -> tuple[LearnReport, Handle]:
        """Make it; return a report with its version, and a reference to its weights."""
        self._place = self._get(self._placed)
        report, weights = self._worker.build.remote(state)
        made: LearnReport = self._get(report)
        return made, weights

    def _get(self, ref: Any) -> Any:
        try:
            return fetch(ref, str(self))
        except LostError as error:
            raise LearnerLostError(f"{self} died: {error}") from error

    def learn(self, call: LearnCall, experience: Sequence[Any]) -> None:
        """Start a call; Ray resolves the references in the process of the learner."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls.append(tuple(self._worker.learn.remote(call, *experience)))

    def watched(self) -> list[Any]:
        """The oldest call, or a ping while there is none."""
        now = time.monotonic()
        if self._calls:
            return [self._calls[0][0]]
        if self._ping is None and now - self._pinged > PING_S:
            self._ping, self._since = self._worker.place.remote(), now
        return [] if self._ping is None else [self._ping]

    def handle(self, ref: Any) -> Event | None:
        """Handle a reference that is ready.

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
            return Learned(report=fetch(report_ref, str(self)), weights=weights)
        except LostError as error:
            self._get(self._worker.place.remote())  # raises when it was the learner that was lost, not what it was given
            return CallLost(reason=f"the experience of a learner call was lost with its machine: {error}")

    def overdue(self) -> None:
        """Raise LearnerLostError when the oldest call, or a ping, has exceeded its deadline."""
        silent = time.monotonic() - self._since
        if (self._calls or self._ping is not None) and silent > self._patience:
            raise LearnerLostError(f"{self} hung: no answer for {silent:.0f} s")

    def state(self) -> dict[str, Any]:
        """Its whole state, in memory of this process."""
        state: dict[str, Any] = copy.deepcopy(self._get(self._worker.state.remote()))
        return state

    def close(self) -> None:
        """End it."""
        kill(self._worker)
