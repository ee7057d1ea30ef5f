"""Which work starts next: state machines between actors and learner, without processes (`Stream`, `cluster.run.rounds.Rounds`).

    stream   an idle actor starts with the newest weights as soon as fewer than (1 + `lag`) units per actor are collected and not yet
             learned from; results are learned in finish order; those older than `max_lag` updates by then are dropped.
    rounds   unit i of round r acts with the weights after rounds 0 .. r-1-lag, whatever finishes first, and rounds are learned in order:
             the same seed makes the same run.

Lag of a trajectory: learner updates between the weights that acted and the weights that its first update starts from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.messages import Report, Work
from cluster.backends.base import Collected, Handle, LearnReport
from learners.algorithm import Progress

MAX_CALLS = 2
"""Learner calls in progress: one running, and one queued so that the learner need not wait for the loop."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Work for an actor to start now, and the weights it acts with."""

    work: Work
    actor: int
    weights: Handle


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished unit of work, queued for the learner or given to it.

    Attributes:
        version: of the weights that acted.
    """

    work: Work
    version: int
    report: Report
    payload: Handle = None

    @property
    def experience(self) -> Handle:
        """What the learner gets: the payload, or the report where there is none."""
        return self.report if self.payload is None else self.payload


@dataclass(frozen=True, kw_only=True)
class Call:
    """A learner call to make: its experience, in order, with the lag of each unit in updates; `score` after an evaluation."""

    done: tuple[Done, ...]
    lags: tuple[int, ...]
    progress: Progress
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class RoundOver:
    """A round whose updates are made and whose evaluation, if one was due, is complete.

    Attributes:
        round: rounds finished with it.
        report: of its last update.
        score: of its evaluation; None where there was none.
    """

    round: int
    report: LearnReport
    score: float | None = None


class Schedule(Protocol):
    """Decides what starts when; the loop starts it.

    Attributes:
        dropped: units of work that were discarded.
        reissued: copies of stragglers that were started.
        stops_at_once: results are journalled, so a stop need not wait for a point to resume from.
    """

    dropped: int
    reissued: int
    stops_at_once: bool

    def next_work(self, free: Sequence[int]) -> Assignment | None:
        """Work for one of the `free` actors to start now, or None while none may start."""

    def next_call(self) -> Call | None:
        """A learner call to start now, or None."""

    def collected(self, event: Collected) -> bool:
        """Finished work arrived; return whether it is used (a unit's second result is not)."""

    def learned(self, report: LearnReport, weights: Handle) -> RoundOver | None:
        """The oldest call is complete; return the round that ended with it, if one did."""

    def failed(self, work: Work, error: Exception) -> None:
        """Work raised: queue it again, or raise `error` where a retry cannot help."""

    def lost(self, actor: int, work: Work | None, reason: str | None) -> None:
        """An actor was lost: queue its work again. `reason` is None where it was removed on request."""

    def call_lost(self, call: Call) -> None:
        """The oldest learner call made no update, because its experience was lost."""

    def hold(self, on: bool) -> None:
        """While on, start nothing beyond the next point at which a checkpoint may be taken."""

    @property
    def may_checkpoint(self) -> bool:
        """Whether the learner's present state is a point to resume from."""

    @property
    def rounds_begun(self) -> int:
        """Rounds whose learner calls have all been started; 0 for a stream."""

    def round_progress(self) -> tuple[str, int, int]:
        """Part of the current round, units done and units in all; empty for a stream."""

    def checkpoint(self) -> dict[str, Any]:
        """The state that a resume needs; weights are handles."""


@dataclass(kw_only=True)
class Stream:
    """As fast as possible, with bounded lag. See the module's docstring.

    Lag is bounded before an unroll starts: stale experience costs more learning than a short idle time does (docs/results/impala.md). With
    two actors or more, `lag` = 0 keeps actors and learner busy too: one acts while the other's unroll is learned from.

    Attributes:
        num_actors: actors, each with one unit in progress.
        units_per_call: units that a learner call joins (1 where a trajectory is as large as a batch, or larger).
        updates_per_call: updates that it makes.
        lag: units per actor, besides the one in progress, that may be finished and not yet learned from.
        max_lag: in updates; older experience is dropped.
        rounds: units that each actor has started.
    """

    num_actors: int
    units_per_call: int
    updates_per_call: int
    lag: int
    max_lag: int
    version: int
    weights: Handle
    progress: Progress
    rounds: list[int] = field(default_factory=list)
    dropped: int = 0
    reissued: int = 0
    stops_at_once: bool = False
    rounds_begun: int = 0
    _done: deque[Done] = field(default_factory=deque)
    _versions: dict[int, int] = field(default_factory=dict)
    _calls: int = 0
    _scheduled: int = -1
    _held: bool = False

    def __post_init__(self) -> None:
        self._scheduled = self.version
        self.rounds = self.rounds + [0] * (self.num_actors - len(self.rounds))  # there may be more actors than before a resume

    @property
    def _max_unlearned(self) -> int:
        """How many units may be started and not yet learned from; at least those of one call, or none would ever be made."""
        return max((1 + self.lag) * self.num_actors, self.units_per_call)

    def next_work(self, free: Sequence[int]) -> Assignment | None:
        unlearned = len(self._versions) + len(self._done) + self._calls * self.units_per_call
        if not free or unlearned >= self._max_unlearned:
            return None
        actor = free[0]
        work = Work(round=self.rounds[actor], index=actor, actor=actor)
        self.rounds[actor] += 1
        self._versions[actor] = self.version
        return Assignment(work=work, actor=actor, weights=self.weights)

    def next_call(self) -> Call | None:
        if self._held or self._calls >= MAX_CALLS:
            return None
        fresh = deque(done for done in self._done if self._lag(done) <= self.max_lag)
        self.dropped += len(self._done) - len(fresh)
        self._done = fresh
        if len(fresh) < self.units_per_call:
            return None
        done = tuple(fresh.popleft() for _ in range(self.units_per_call))
        call = Call(done=done, lags=tuple(self._lag(one) for one in done), progress=self.progress)
        self._calls += 1
        self._scheduled += self.updates_per_call
        return call

    def _lag(self, done: Done) -> int:
        return self._scheduled - done.version

    def collected(self, event: Collected) -> bool:
        version = self._versions.pop(event.work.index)
        self._done.append(Done(work=event.work, version=version, report=event.report, payload=event.payload))
        return True

    def learned(self, report: LearnReport, weights: Handle) -> RoundOver | None:
        self._calls -= 1
        self.version, self.weights = report.version, weights
        return None

    def failed(self, work: Work, error: Exception) -> None:
        """Raise: an environment that raised cannot be used again."""
        raise error

    def lost(self, actor: int, work: Work | None, reason: str | None) -> None:
        """Forget it: the actor's next unroll replaces the lost one."""
        if work is not None:
            del self._versions[actor]

    def call_lost(self, call: Call) -> None:
        """Drop these trajectories."""
        self._calls -= 1
        self._scheduled -= self.updates_per_call
        self.dropped += len(call.done)

    def hold(self, on: bool) -> None:
        self._held = on

    @property
    def may_checkpoint(self) -> bool:
        """Always: environments are reset after a resume."""
        return True

    def round_progress(self) -> tuple[str, int, int]:
        return "", 0, 0

    def checkpoint(self) -> dict[str, Any]:
        return {"rounds": list(self.rounds)}
