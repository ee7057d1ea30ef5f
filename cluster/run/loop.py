"""The main loop: actors collect, the learner learns, and the loop handles one event after another.

             +---------------------- weights ----------------------+
             v                                                     |
    actors: collect  --experience-->  schedule: ready  --call-->  learner: update
             ^                            |
             +---------- work ------------+          loop: submit -> wait -> handle events -> report -> checkpoint

The loop holds handles, never data, and is the same for every algorithm, for threads, processes and Ray (`cluster.backends.base`). The
schedule decides what may start (`cluster.run.schedule`); the observer shows and writes (`cluster.run.observer`).
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.messages import Report
from cluster.backends.base import Backend, CallLost, Collected, Event, Failed, Handle, LearnCall, Learned, Lost, Notice
from cluster.run.collapse import CollapseWatch
from cluster.run.observer import LoopResult, RunObserver, StopReason
from cluster.run.schedule import Call, RoundOver
from cluster.run.statistics import Statistics
from cluster.run.workload import Workload
from envs.errors import EnvFaultError, InvalidInputError, described

log = logging.getLogger("metaray")

WAIT_S = 0.25
"""Longest wait for an event before the clocks (status, checkpoint, size, Ctrl-C) are checked again."""
ACTOR_GRACE_S = 10.0
"""Seconds that training waits for all actors, so that its clock does not include their start; for the first one it waits without limit."""
STOP_PATIENCE_S = 20.0
"""Seconds that a stop waits for the end of a round where some actors have no place in the cluster."""
DRAIN_PATIENCE_S = 2.0
"""Seconds that a journalled run gives work that cannot be interrupted to finish; a chunk of long lifetimes takes minutes."""


class Loop:
    """One run of training, from its start or a checkpoint.

    Args:
        workload: schedule, journal, size, best weights; of its config only fields that every algorithm has are read.
        backend: runs the work; the loop starts and closes it.
        observer: shows and writes.
        checkpoint: a payload that `on_checkpoint` was given, to continue from.
    """

    def __init__(
        self,
        workload: Workload,
        backend: Backend,
        observer: RunObserver,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        self._workload, self._backend, self._observer, self._checkpoint = workload, backend, observer, checkpoint
        self._config = workload.config
        self._calls: deque[Call] = deque()
        self._saved_rounds = 0 if checkpoint is None else int(checkpoint.get("first_round", 0))
        self._next_checkpoint = self._next_status = self._stop_by = math.inf
        self._stopped = self._has_reported = False
        self._last_event = ""
        self._failure: Exception | None = None
        self._collapse = CollapseWatch()

    def run(self) -> LoopResult:
        """Train until a goal of the config is reached or a stop is requested; checkpoint, and return the result.

        Raises:
            InvalidInputError: an environment failed before training began.
            EnvFaultError: one failed later; the learner is saved.
            KeyboardInterrupt: a stop was requested, and no checkpoint can be made because actors have no place in the cluster.
        """
        try:
            self._begin()
            while (reason := self._reached_end()) is None:
                self._resize_if_asked()
                self._submit()
                self._handle(self._backend.wait(WAIT_S))
                self._raise_failure()
                if time.perf_counter() >= self._next_status:
                    self._report()
            # the last row agrees with the summary; shares of wall time over a fraction of an interval would say little
            self._report(has_shares=not self._has_reported or self._statistics.interval_s >= self._config.log_every_s / 2)
            self._workload.close(self._backend.learner.state)
            return self._statistics.result(reason, self._backend.get(self._weights).arrays, self._schedule)
        finally:
            self._backend.close()

    def _begin(self) -> None:
        """Start everything; the clock of training starts here."""
        report, self._weights = self._start()
        saved = None if self._checkpoint is None else self._checkpoint["statistics"]
        self._statistics = Statistics(self._config, saved, version=report.version)
        self._schedule = self._workload.schedule(
            report.version, self._weights, self._backend.put, lambda: self._statistics.goal_reached() is not None
        )
        self._next_status = time.perf_counter() + self._config.log_every_s
        self._next_checkpoint = time.perf_counter() + self._workload.checkpoint_every_s

    def _start(self) -> tuple[Any, Handle]:
        """Start the backend, and wait until actors are up."""
        try:
            started = self._backend.start(None if self._checkpoint is None else self._checkpoint["learner"])
            grace = time.monotonic() + ACTOR_GRACE_S
            while (alive := self._backend.num_alive()) < self._backend.num_actors and (not alive or time.monotonic() < grace):
                for event in self._backend.wait(WAIT_S):
                    if isinstance(event, Failed):
                        raise event.error
                    if isinstance(event, Lost | Notice):
                        self._report_event(event.reason if isinstance(event, Lost) else event.line)
            return started
        except EnvFaultError as error:
            raise InvalidInputError(str(error)) from error

    def _reached_end(self) -> StopReason | None:
        """Checkpoint if that is due and possible; return why the run ends, once everything is saved."""
        reason = self._reason_to_stop()
        if reason == "stopped by signal" and self._schedule.stops_at_once:
            self._drain()
            return reason
        is_due = reason is not None or self._checkpoint_due()
        self._schedule.hold(is_due)
        if is_due and not self._calls and self._schedule.may_checkpoint:
            self._save()
            self._schedule.hold(reason is not None)
            return reason
        if time.perf_counter() >= self._stop_by and self._backend.num_alive() < self._backend.num_actors:
            self._report_event(
                "the round's last actors have no place, so it cannot be finished: stopping without a new checkpoint"
            )
            raise KeyboardInterrupt
        return None

    def _raise_failure(self) -> None:
        """Save the learner and raise the error of an actor, if there is one."""
        if self._failure is not None:
            if self._statistics.env_steps or not isinstance(self._failure, InvalidInputError):  # else nothing was trained
                self._save_before_failing()
            raise self._failure

    def _reason_to_stop(self) -> StopReason | None:
        if self._stopped or self._observer.stop_requested():
            self._stop_by = self._stop_by if self._stopped else time.perf_counter() + STOP_PATIENCE_S
            self._stopped = True
            return "stopped by signal"
        return self._statistics.goal_reached()

    def _checkpoint_due(self) -> bool:
        """Streams checkpoint by the clock, rounds by their count, so that speed changes nothing."""
        if self._workload.checkpoint_every_rounds is None:
            return time.perf_counter() >= self._next_checkpoint
        return self._schedule.rounds_begun >= self._saved_rounds + self._workload.checkpoint_every_rounds

    def _resize_if_asked(self) -> None:
        """Change the number of actors if another one is requested."""
        if problem := self._workload.look():
            self._report_event(problem)
        if (wanted := self._workload.num_actors) != self._backend.num_actors:
            self._report_event(f"{wanted} actors from now on, {self._backend.num_actors} before")
            self._handle(self._backend.resize(wanted))
        self._statistics.tick(self._backend.num_alive())

    def _submit(self) -> None:
        """Start every learner call and every unit of work that may start now."""
        while (call := self._schedule.next_call()) is not None:
            self._statistics.called(call)
            self._calls.append(call)
            for line in self._workload.complete([one.work for one in call.done], [one.report for one in call.done]):
                self._report_event(line)
            self._backend.learner.learn(
                LearnCall(progress=call.progress, score=call.score), [one.experience for one in call.done]
            )
            # checked after each call, so that where a run stops does not depend on timing
            self._schedule.hold(self._stopped or self._statistics.goal_reached() is not None or self._checkpoint_due())
        while (assignment := self._schedule.next_work(self._backend.free())) is not None:
            self._statistics.submitted(assignment.work)
            self._backend.submit(assignment.work, assignment.actor, assignment.weights)

    def _handle(self, events: Sequence[Event]) -> None:
        """Handle events: results first, which are journalled before anything uses them."""
        counted: list[Report] = []
        for event in events:
            if isinstance(event, Collected):
                self._statistics.returned(event.work, event.report)
                if self._schedule.collected(event):
                    self._statistics.collected(event.report)
                    counted.append(event.report)
        self._workload.collected(counted)
        for event in events:
            self._handle_one(event)

    def _handle_one(self, event: Event) -> None:
        match event:
            case Learned(report=report, weights=weights):
                self._calls.popleft()
                self._weights = weights
                self._statistics.learned(report)
                over = self._schedule.learned(report, weights)
                if over is not None:
                    self._end_round(over)
            case Lost(actor=actor, work=work, reason=reason, is_wanted=is_wanted):
                self._statistics.lost(work, is_wanted=is_wanted)
                self._report_event(reason)
                self._guarded(lambda: self._schedule.lost(actor, work, None if is_wanted else reason))
            case Failed(work=work, error=error, worker=worker):
                self._failed(work, error, worker)
            case CallLost(reason=reason):
                self._report_event(reason)
                call = self._calls.popleft()
                self._schedule.call_lost(call)
                self._statistics.call_lost(call)
            case Notice(line=line):
                self._report_event(line)

    def _failed(self, work: Any, error: Exception, worker: str) -> None:
        if work is None:  # its collector could not be made
            self._failure = self._failure or error
            return
        self._statistics.returned(work, None)
        if not isinstance(error, EnvFaultError | InvalidInputError):
            log.warning("work failed", exc_info=error)
        self._guarded(lambda: self._schedule.failed(work, error))
        if self._failure is None:
            self._report_event(f"{worker}: {self._workload.describe(work)} failed: {type(error).__name__}: {error}")

    def _guarded(self, decide: Callable[[], None]) -> None:
        """Let the schedule queue work again; what it raises ends the run, after the learner is saved."""
        try:
            decide()
        except Exception as error:
            self._failure = self._failure or error

    def _end_round(self, over: RoundOver) -> None:
        self._statistics.round_over(over)
        self._workload.round_over(over, self._statistics.train_s, self._backend.learner.state)
        if self._workload.logs_rounds:
            self._log()

    def _report_event(self, line: str) -> None:
        self._last_event = line
        self._observer.on_event(line)

    def _log(self, *, has_shares: bool = True) -> None:
        alive = self._backend.num_alive()
        scalars, histograms = self._statistics.interval(self._schedule, alive=alive, has_shares=has_shares)
        self._observer.on_metrics(self._statistics.env_steps, scalars, histograms)

    def _report(self, *, has_shares: bool = True) -> None:
        self._has_reported = True
        self._next_status = time.perf_counter() + self._config.log_every_s
        if not self._workload.logs_rounds:
            self._log(has_shares=has_shares)
        status = self._statistics.status(self._schedule, self._backend, last_event=self._last_event)
        self._observer.on_status(status)
        self._workload.seen(status)
        reading = self._statistics.reading()
        if reading is not None and (line := self._collapse.look(reading)) is not None:
            self._report_event(line)

    def _drain(self) -> None:
        """Wait a moment for work that cannot be interrupted; its results are journalled."""
        until = time.monotonic() + DRAIN_PATIENCE_S
        while self._backend.must_drain and time.monotonic() < until:
            self._handle(self._backend.wait(WAIT_S))

    def _save_before_failing(self) -> None:
        """Save the learner of a run that fails, after its calls; a second failure in here is only reported."""
        try:
            while self._calls:
                self._handle(self._backend.wait(WAIT_S))
            self._save()
        except Exception as error:
            self._report_event(f"the learner could not be saved: {described(error)}")

    def _save(self) -> None:
        payload: dict[str, Any] = {"learner": self._backend.learner.state(), "statistics": self._statistics.state()}
        payload |= self._schedule.checkpoint()
        if "weights" in payload:
            snapshots = {round_: self._backend.get(handle) for round_, (_, handle) in payload["weights"].items()}
            payload["weights"] = {str(k): {"version": one.version, "arrays": one.arrays} for k, one in snapshots.items()}
            self._saved_rounds = payload["first_round"]
        self._next_checkpoint = time.perf_counter() + self._workload.checkpoint_every_s
        self._observer.on_checkpoint(self._statistics.env_steps, payload)
