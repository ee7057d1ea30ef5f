"""The main loop: actors collect, the learner learns, and everything that a run does happens between two events.

             +---------------------- weights ----------------------+
             v                                                     |
    actors: unroll  --trajectory-->  schedule: ready  --call-->  learner: update
             ^                            |
             +--------- request ----------+          loop: hand out -> wait -> take in -> report -> checkpoint

The loop holds handles, never data, and is the same for threads and for Ray (`cluster.backends.wiring`). What may start when is the
schedule's to say (`cluster.run.schedule`); who sees what of it is the observer's (`cluster.run.observer`).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from cluster.backends.wiring import ActorFailed, ActorLost, CallLost, Event, Handle, Learned, Notice, Unrolled, Wiring
from cluster.config import RunConfig
from cluster.run.collapse import CollapseWatch
from cluster.run.observer import LoopResult, RunObserver, Status, StopReason
from cluster.run.schedule import Call, FixedLagSchedule, FreeSchedule, Ready, Shape
from cluster.run.statistics import Statistics
from envs.errors import EnvFaultError, InvalidInputError, described
from learners.trajectory import Snapshot

WAIT_S = 0.25
"""Longest wait for an event before the clocks (status, checkpoint, Ctrl-C) are looked at again."""

STOP_PATIENCE_S = 20.0
"""A stop waits so long for the last actors of a deterministic round where some have no place in the cluster."""


class Loop:
    """One run of training, or what is left of one.

    Args:
        config: the run.
        wiring: where the work goes; the loop starts and closes it.
        observer: who watches.
        checkpoint: what `on_checkpoint` was given, to go on from there.
    """

    def __init__(
        self, config: RunConfig, wiring: Wiring, observer: RunObserver[Status], checkpoint: Mapping[str, Any] | None = None
    ) -> None:
        self._config, self._wiring, self._observer = config, wiring, observer
        self._checkpoint = checkpoint
        self._idle = list(range(config.num_actors))
        self._requested_at = [0.0] * config.num_actors
        self._calls: deque[Call] = deque()
        self._saved_rounds = 0 if checkpoint is None else int(checkpoint.get("first_round", 0))
        self._next_checkpoint = math.inf
        self._stopped = False
        self._stop_by = math.inf
        self._last_event = ""
        self._failure: Exception | None = None
        self._has_reported = False
        self._collapse = CollapseWatch()

    def run(self) -> LoopResult:
        """Train until a goal of the config is reached or a stop is asked for; checkpoint, and return how it went.

        Raises:
            InvalidInputError: an environment failed before training began.
            EnvFaultError: one failed later; the learner is saved.
            KeyboardInterrupt: a stop was asked for, and no checkpoint can be made for want of actors that have no place.
        """
        try:
            version, weights = self._start()
            self._statistics = Statistics(self._config, None if self._checkpoint is None else self._checkpoint["statistics"])
            self._schedule = self._make_schedule(version, weights)
            self._weights = weights
            return self._train()
        finally:
            self._wiring.close()

    def _start(self) -> tuple[int, Handle]:
        try:
            return self._wiring.start(None if self._checkpoint is None else self._checkpoint["learner"])
        except EnvFaultError as error:
            raise InvalidInputError(str(error)) from error

    def _make_schedule(self, version: int, weights: Handle) -> FreeSchedule | FixedLagSchedule:
        config, checkpoint = self._config, self._checkpoint
        shape = Shape.of(config.num_actors, config.rollout.envs_per_actor, config.batch_unrolls)
        if not config.deterministic:
            rounds = list(checkpoint["rounds"]) if checkpoint is not None else []
            return FreeSchedule(
                shape=shape, lag=config.lag, max_lag=config.max_lag, version=version, weights=weights, rounds=rounds
            )
        if checkpoint is None:
            return FixedLagSchedule(shape=shape, lag=config.lag, version=version, first_round=0, weights={0: (version, weights)})
        first_round, first_actor = int(checkpoint["first_round"]), int(checkpoint.get("first_actor", 0))
        kept = {
            int(round_): (
                int(entry["version"]),
                self._wiring.weights_of(Snapshot(version=int(entry["version"]), arrays=entry["arrays"])),
            )
            for round_, entry in checkpoint["weights"].items()
        }
        states = [
            {first_round - 1 + (actor < first_actor): state} if state else {} for actor, state in enumerate(checkpoint["actors"])
        ]
        return FixedLagSchedule(
            shape=shape,
            lag=config.lag,
            version=version,
            first_round=first_round,
            first_actor=first_actor,
            weights={first_round: (version, weights)} | kept,
            states=states,
        )

    def _train(self) -> LoopResult:
        clock = time.perf_counter
        next_status = clock() + self._config.log_every_s
        self._next_checkpoint = clock() + self._config.checkpoint_every_s
        while True:
            reason = self._reason_to_stop()
            is_due = reason is not None or self._checkpoint_due()
            self._schedule.hold(is_due)
            if is_due and not self._calls and self._schedule.may_checkpoint:
                self._save()
                if reason is not None:
                    break
                self._schedule.hold(False)
            if clock() >= self._stop_by and self._wiring.actors_alive() < self._wiring.num_actors:
                self._say("the round's last actors have no place, so it cannot be finished: stopping without a new checkpoint")
                raise KeyboardInterrupt
            self._hand_out()
            for event in self._wiring.wait(WAIT_S):
                self._take_in(event)
            if self._failure is not None:
                if self._statistics.env_steps or not isinstance(self._failure, InvalidInputError):  # else it never began
                    self._save_what_there_is()
                raise self._failure
            if clock() >= next_status:
                self._report()
                next_status = clock() + self._config.log_every_s
        # a sliver of an interval would show a rate that never was; but a run shorter than one interval has this report only
        if not self._has_reported or self._statistics.interval_s >= self._config.log_every_s / 2:
            self._report()
        return self._statistics.result(reason, self._wiring.snapshot_of(self._weights).arrays, self._schedule.dropped)

    def _reason_to_stop(self) -> StopReason | None:
        if self._stopped or self._observer.stop_requested():
            self._stop_by = self._stop_by if self._stopped else time.perf_counter() + STOP_PATIENCE_S
            self._stopped = True
            return "stopped by signal"
        return self._statistics.goal_reached()

    def _checkpoint_due(self) -> bool:
        """Free runs checkpoint by the clock, deterministic ones by the round, so that speed changes nothing."""
        if isinstance(self._schedule, FreeSchedule):
            return time.perf_counter() >= self._next_checkpoint
        return self._schedule.rounds_begun >= self._saved_rounds + self._config.checkpoint_every_rounds

    def _hand_out(self) -> None:
        """Start every learner call and every unroll that may start now."""
        while (call := self._schedule.next_call()) is not None:
            self._statistics.call_made(call)
            self._calls.append(call)
            self._wiring.learn([one.trajectory for one in call.ready])
            # looked at after each call, so that where a run stops does not depend on which call the clock found it at
            self._schedule.hold(self._stopped or self._statistics.goal_reached() is not None or self._checkpoint_due())
        while (handed := self._schedule.next_unroll(self._idle)) is not None:
            request, weights = handed
            self._idle.remove(request.actor)
            self._requested_at[request.actor] = time.perf_counter()
            self._wiring.unroll(request, weights)

    def _take_in(self, event: Event) -> None:
        now = time.perf_counter()
        match event:
            case Unrolled(report=report, trajectory=trajectory):
                self._idle.append(report.actor)
                self._statistics.unrolled(report, self._requested_at[report.actor], now)
                self._schedule.unrolled(Ready(report=report, trajectory=trajectory))
            case Learned(report=learn_report, weights=weights):
                self._calls.popleft()
                self._weights = weights
                self._statistics.learned(learn_report, now)
                self._schedule.learned(learn_report.version, weights)
            case ActorLost(actor=actor, lost=lost, reason=reason):
                self._idle.append(actor)
                self._statistics.lost_actors += 1
                self._say(reason)
                self._schedule.lost(lost)
            case ActorFailed(error=error):
                self._failure = self._failure or error
            case CallLost(reason=reason):
                self._say(reason)
                call = self._calls.popleft()
                self._schedule.call_lost(call)
                self._statistics.call_lost(call)
            case Notice(line=line):
                self._say(line)

    def _say(self, line: str) -> None:
        self._last_event = line
        self._observer.on_event(line)

    def _report(self) -> None:
        self._has_reported = True
        status, scalars, histograms = self._statistics.interval(
            alive=self._wiring.actors_alive(), dropped=self._schedule.dropped, last_event=self._last_event
        )
        self._observer.on_metrics(status.env_steps, scalars, histograms)
        self._observer.on_status(status)
        reading = self._statistics.reading(scalars)
        if reading is not None and (line := self._collapse.look(reading)) is not None:
            self._say(line)

    def _save_what_there_is(self) -> None:
        """Save the learner of a run that fails, once its calls are over; what fails in here as well is not why the run does."""
        try:
            while self._calls:
                for event in self._wiring.wait(WAIT_S):
                    self._take_in(event)
            self._save()
        except Exception as error:
            self._say(f"the learner could not be saved: {described(error)}")

    def _save(self) -> None:
        payload: dict[str, Any] = {"learner": self._wiring.learner_state(), "statistics": self._statistics.state()}
        if isinstance(self._schedule, FixedLagSchedule):
            weights, actors = self._schedule.checkpoint()
            snapshots = {round_: self._wiring.snapshot_of(handle) for round_, (_, handle) in weights.items()}
            payload["first_round"] = self._saved_rounds = self._schedule.rounds_learned
            payload["first_actor"] = self._schedule.actors_learned
            payload["weights"] = {str(k): {"version": one.version, "arrays": one.arrays} for k, one in snapshots.items()}
            payload["actors"] = actors
        else:
            payload["rounds"] = list(self._schedule.rounds)
        self._next_checkpoint = time.perf_counter() + self._config.checkpoint_every_s
        self._observer.on_checkpoint(self._statistics.env_steps, payload)
