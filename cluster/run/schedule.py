"""Who does what next: state machines between actors and learner, without processes or transport (`Stream`, `cluster.run.rounds.Rounds`).

    stream   an idle actor starts with the newest weights as soon as fewer than (1 + `lag`) units an actor are between acting and learned;
             results are learned in finish order; what is older than `max_lag` updates when its turn comes is dropped.
    rounds   unit i of round r is done with the weights that rounds 0 .. r-1-lag made, however fast anything runs, and rounds are learned
             in order. The same seed makes the same run.

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
"""Learner calls under way: one at work, and one behind it so that it need not wait for the loop."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Work for an actor to start now, and what it acts with."""

    work: Work
    actor: int
    weights: Handle


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished unit of work that waits for its turn at the learner, or is handed over.

    Attributes:
        version: of the weights that acted.
    """

    work: Work
    version: int
    report: Report
    payload: Handle = None

    @property
    def experience(self) -> Handle:
        """What is learned from: the payload, or the report where there is none."""
        return self.report if self.payload is None else self.payload


@dataclass(frozen=True, kw_only=True)
class Call:
    """A learner call to make: what it learns from, in order, and the lag of each in updates; `score` where it is an evaluation's."""

    done: tuple[Done, ...]
    lags: tuple[int, ...]
    progress: Progress
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class RoundOver:
    """A round whose updates are made and, where one was due, whose evaluation is over.

    Attributes:
        round: rounds finished with it.
        report: of its last update.
        score: of its evaluation; None where there was none.
    """

    round: int
    report: LearnReport
    score: float | None = None


class Schedule(Protocol):
    """Decides; the loop carries out.

    Attributes:
        dropped: units of work that were never learned from.
        reissued: copies of stragglers that were given out.
        stops_at_once: what is done is kept elsewhere, so a stop need not wait for a point to resume from.
    """

    dropped: int
    reissued: int
    stops_at_once: bool

    def next_work(self, free: Sequence[int]) -> Assignment | None:
        """Work for one of the `free` actors to start now, or None while none may start."""

    def next_call(self) -> Call | None:
        """A learner call to start now, or None."""

    def collected(self, event: Collected) -> bool:
        """Take in finished work; whether it counts (and is not the second of its unit)."""

    def learned(self, report: LearnReport, weights: Handle) -> RoundOver | None:
        """Take in the oldest call's new weights; return the round that ended with it, if one did."""

    def failed(self, work: Work, error: Exception) -> None:
        """Take back work that raised, to be done again; raises `error` where that is of no use."""

    def lost(self, actor: int, work: Work | None, reason: str | None) -> None:
        """Take back what an actor was at, to be done again; `reason` is None where it was taken away and nothing is wrong."""

    def call_lost(self, call: Call) -> None:
        """Take back the oldest learner call, which made no update because its experience is lost."""

    def hold(self, on: bool) -> None:
        """Begin nothing that lies beyond the next point at which a checkpoint may be taken, or go on."""

    @property
    def may_checkpoint(self) -> bool:
        """Whether what the learner holds now is a point to resume from."""

    @property
    def rounds_begun(self) -> int:
        """Rounds whose learner calls have all been handed out; of a stream, 0."""

    def round_progress(self) -> tuple[str, int, int]:
        """Part of the round under way, units done and units in all; of a stream, nothing."""

    def checkpoint(self) -> dict[str, Any]:
        """What a resume needs of it; weights are handles."""


@dataclass(kw_only=True)
class Stream:
    """As fast as possible, with bounded lag. See the module's docstring.

    Lag is bounded where it arises, before an unroll starts: old experience costs more learning than the idle moment that avoids it
    (docs/results/impala.md). With two actors or more, `lag` = 0 keeps both sides at work all the same: one acts while the other's unroll is
    learned from.

    Attributes:
        num_actors: actors, one unit under way each.
        units_per_call: units that a learner call joins (1 where a trajectory is as large as a batch, or larger).
        updates_per_call: updates that it makes.
        lag: units an actor, beside the one under way, that may be finished and not yet learned from.
        max_lag: in updates; what is older is dropped.
        rounds: units that each actor began.
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
        """How many units may be between their start and their last update; enough for a call, or none would ever be made."""
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
        """Give up: an environment that raised cannot be gone on with."""
        raise error

    def lost(self, actor: int, work: Work | None, reason: str | None) -> None:
        """Only count it off: the actor's next unroll is as good as the lost one."""
        if work is not None:
            del self._versions[actor]

    def call_lost(self, call: Call) -> None:
        """Go on without these trajectories."""
        self._calls -= 1
        self._scheduled -= self.updates_per_call
        self.dropped += len(call.done)

    def hold(self, on: bool) -> None:
        self._held = on

    @property
    def may_checkpoint(self) -> bool:
        """At any time: environments start anew after a resume."""
        return True

    def round_progress(self) -> tuple[str, int, int]:
        return "", 0, 0

    def checkpoint(self) -> dict[str, Any]:
        return {"rounds": list(self.rounds)}
