"""Who does what next: two state machines between actors and learner, without processes, clocks or transport.

    free:       an idle actor starts with the newest weights as soon as fewer than (1 + `lag`) unrolls an actor are between acting and
                learned; results are learned in finish order; what is older than `max_lag` updates when its turn comes is dropped.
    fixed lag:  actor i's unroll of round r acts with the weights that rounds 0 .. r-1-lag made, however fast anything runs, and rounds are
                learned in order of actor. The same seed makes the same run.

Lag of a trajectory: learner updates between the weights that acted and the weights that its first update starts from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from actors.messages import UnrollReport, UnrollRequest
from cluster.backends.wiring import Handle

MAX_CALLS = 2
"""Learner calls under way: one at work, and one behind it so that it need not wait for the loop."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A finished unroll that waits for its turn at the learner."""

    report: UnrollReport
    trajectory: Handle


@dataclass(frozen=True, kw_only=True)
class Call:
    """A learner call to make: its trajectories in order, and the lag of each."""

    ready: tuple[Ready, ...]
    lags: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How unrolls make up learner calls.

    Attributes:
        num_actors: actors, one unroll under way each.
        unrolls_per_call: trajectories that a learner call joins (1 where a trajectory is as large as a batch, or larger).
        updates_per_call: updates that it makes.
    """

    num_actors: int
    unrolls_per_call: int
    updates_per_call: int

    @staticmethod
    def of(num_actors: int, envs_per_actor: int, batch_unrolls: int) -> Shape:
        """The shape for actors of `envs_per_actor` environments and updates on `batch_unrolls` of them."""
        return Shape(
            num_actors=num_actors,
            unrolls_per_call=max(1, batch_unrolls // envs_per_actor),
            updates_per_call=max(1, envs_per_actor // batch_unrolls),
        )


class Schedule(Protocol):
    """Decides; the loop carries out."""

    dropped: int

    def next_unroll(self, idle: Sequence[int]) -> tuple[UnrollRequest, Handle] | None:
        """An unroll for one of the `idle` actors to start now, with its weights, or None while none may start."""

    def next_call(self) -> Call | None:
        """A learner call to start now, or None."""

    def unrolled(self, ready: Ready) -> None:
        """Take in a finished unroll."""

    def learned(self, version: int, weights: Handle) -> None:
        """Take in new weights."""

    def lost(self, request: UnrollRequest) -> None:
        """Take back a unit of work whose actor was lost; it will be handed out again."""

    def call_lost(self, call: Call) -> None:
        """Take back the oldest learner call, which made no update because its trajectories are lost."""

    def hold(self, on: bool) -> None:
        """Make no learner call beyond the next point at which a checkpoint may be taken, or go on."""

    @property
    def may_checkpoint(self) -> bool:
        """Whether what the learner holds now is a point to resume from."""


@dataclass(kw_only=True)
class FreeSchedule:
    """As fast as possible, with bounded lag. See the module's docstring.

    Lag is bounded where it arises, before an unroll starts: old experience costs more learning than the idle moment that avoids it
    (docs/results/impala.md). With two actors or more, `lag` = 0 keeps both sides at work all the same: one acts while the other's unroll is
    learned from.

    Attributes:
        lag: unrolls an actor, beside the one under way, that may be finished and not yet learned from.
        max_lag: in updates; what is older is dropped.
    """

    shape: Shape
    lag: int
    max_lag: int
    version: int
    weights: Handle
    rounds: list[int] = field(default_factory=list)
    dropped: int = 0
    _ready: deque[Ready] = field(default_factory=deque)
    _acting: int = 0
    _calls: int = 0
    _scheduled: int = -1
    _held: bool = False

    def __post_init__(self) -> None:
        self._scheduled = self.version
        self.rounds = self.rounds or [0] * self.shape.num_actors

    @property
    def _max_unlearned(self) -> int:
        """How many unrolls may be between their start and their last update; enough for a call, or none would ever be made."""
        return max((1 + self.lag) * self.shape.num_actors, self.shape.unrolls_per_call)

    def next_unroll(self, idle: Sequence[int]) -> tuple[UnrollRequest, Handle] | None:
        unlearned = self._acting + len(self._ready) + self._calls * self.shape.unrolls_per_call
        if not idle or unlearned >= self._max_unlearned:
            return None
        actor = idle[0]
        request = UnrollRequest(actor=actor, round=self.rounds[actor], policy_version=self.version)
        self.rounds[actor] += 1
        self._acting += 1
        return request, self.weights

    def next_call(self) -> Call | None:
        if self._held or self._calls >= MAX_CALLS:
            return None
        fresh = deque(ready for ready in self._ready if self._lag(ready) <= self.max_lag)
        self.dropped += len(self._ready) - len(fresh)
        self._ready = fresh
        if len(fresh) < self.shape.unrolls_per_call:
            return None
        ready = tuple(fresh.popleft() for _ in range(self.shape.unrolls_per_call))
        call = Call(ready=ready, lags=tuple(self._lag(one) for one in ready))
        self._calls += 1
        self._scheduled += self.shape.updates_per_call
        return call

    def _lag(self, ready: Ready) -> int:
        return self._scheduled - ready.report.policy_version

    def unrolled(self, ready: Ready) -> None:
        self._acting -= 1
        self._ready.append(ready)

    def learned(self, version: int, weights: Handle) -> None:
        self._calls -= 1
        self.version, self.weights = version, weights

    def lost(self, request: UnrollRequest) -> None:
        """Only count it off: the actor's next unroll is as good as the lost one."""
        self._acting -= 1

    def call_lost(self, call: Call) -> None:
        """Go on without these trajectories."""
        self._calls -= 1
        self._scheduled -= self.shape.updates_per_call
        self.dropped += len(call.ready)

    def hold(self, on: bool) -> None:
        self._held = on

    @property
    def may_checkpoint(self) -> bool:
        """At any time: environments start anew after a resume."""
        return True


@dataclass(kw_only=True)
class FixedLagSchedule:
    """The same run for the same seed, with acting `lag` rounds ahead of learning. See the module's docstring.

    Attributes:
        first_round: the round to begin with (after a resume, the one after the checkpoint's).
        first_actor: the actors before it have had their unroll of that round learned from already.
        weights: by round r, the weights after r rounds were learned; holds `first_round - lag .. first_round` at the start.
        states: by actor, its state after each recent round: what a replacement or a checkpoint needs.
    """

    shape: Shape
    lag: int
    version: int
    first_round: int
    weights: dict[int, tuple[int, Handle]]
    first_actor: int = 0
    states: list[dict[int, dict[str, Any]]] = field(default_factory=list)
    dropped: int = 0
    _ready: dict[tuple[int, int], Ready] = field(default_factory=dict)
    _next_round: list[int] = field(default_factory=list)
    _again: dict[int, UnrollRequest] = field(default_factory=dict)
    _take: tuple[int, int] = (0, 0)
    _learned: tuple[int, int] = (0, 0)
    _scheduled: int = 0
    _resumed: set[int] = field(default_factory=set)
    _held: bool = False

    def __post_init__(self) -> None:
        self._scheduled = self.version
        self._resumed = {actor for actor, states in enumerate(self.states) if states}
        self.states = self.states or [{} for _ in range(self.shape.num_actors)]
        self._next_round = [self.first_round + (actor < self.first_actor) for actor in range(self.shape.num_actors)]
        self._take = self._learned = (self.first_round, self.first_actor)

    @property
    def rounds_begun(self) -> int:
        """Rounds whose learner calls have all been handed out."""
        return self._take[0]

    @property
    def rounds_learned(self) -> int:
        """Rounds whose trajectories the learner has worked off entirely."""
        return self._learned[0]

    @property
    def actors_learned(self) -> int:
        """Actors of the round after those whose trajectories it has worked off too."""
        return self._learned[1]

    def next_unroll(self, idle: Sequence[int]) -> tuple[UnrollRequest, Handle] | None:
        for actor in idle:
            round_ = self._again[actor].round if actor in self._again else self._next_round[actor]
            acts_with = max(0, round_ - self.lag)
            if acts_with not in self.weights:
                continue
            fresh = actor not in self._again and actor not in self._resumed
            self._again.pop(actor, None)
            self._resumed.discard(actor)
            self._next_round[actor] = round_ + 1
            version, weights = self.weights[acts_with]
            state = None if fresh else self.states[actor].get(round_ - 1)
            return UnrollRequest(actor=actor, round=round_, policy_version=version, wants_state=True, state=state), weights
        return None

    def next_call(self) -> Call | None:
        round_, actor = self._take
        if self._held and actor == 0:
            return None
        wanted = [(round_, actor + i) for i in range(self.shape.unrolls_per_call)]
        if not all(key in self._ready for key in wanted):
            return None
        ready = tuple(self._ready.pop(key) for key in wanted)
        call = Call(ready=ready, lags=tuple(self._scheduled - one.report.policy_version for one in ready))
        self._scheduled += self.shape.updates_per_call
        self._take = self._after(self._take)
        return call

    def _after(self, at: tuple[int, int]) -> tuple[int, int]:
        round_, actor = at[0], at[1] + self.shape.unrolls_per_call
        return (round_ + 1, 0) if actor >= self.shape.num_actors else (round_, actor)

    def unrolled(self, ready: Ready) -> None:
        report = ready.report
        self._ready[report.round, report.actor] = ready
        states = self.states[report.actor]
        states[report.round] = report.state or {}
        for old in [kept for kept in states if kept < report.round - self.lag - 1]:
            del states[old]

    def learned(self, version: int, weights: Handle) -> None:
        before = self._learned[0]
        self._learned = self._after(self._learned)
        self.version = version
        if self._learned[0] > before:
            self.weights[self._learned[0]] = (version, weights)
            for old in [kept for kept in self.weights if kept < self._learned[0] - self.lag]:
                del self.weights[old]

    def lost(self, request: UnrollRequest) -> None:
        self._again[request.actor] = request

    def call_lost(self, call: Call) -> None:
        """Give up: the calls behind it may have been worked off already, on other weights than the seed's run had.

        Raises:
            RuntimeError: says how to go on.
        """
        lost = ", ".join(f"actor {one.report.actor} round {one.report.round}" for one in call.ready)
        raise RuntimeError(
            f"deterministic mode: a trajectory of {lost} was lost before it was learned from, and the run would no longer be "
            "that of its seed; `metaray resume` goes on from the newest checkpoint"
        )

    def hold(self, on: bool) -> None:
        self._held = on

    @property
    def may_checkpoint(self) -> bool:
        """At the end of a round, with nothing of the next one begun: the states and weights kept here belong to it."""
        return self._take == self._learned and self._take[1] == 0

    def checkpoint(self) -> tuple[dict[int, tuple[int, Handle]], list[dict[str, Any]]]:
        """The weights by round, and each actor's state after its last unroll that was learned from, that a resume needs.

        With no call under way it may also be asked for in the middle of a round: a run that fails there is saved as far as it came.
        """
        done, actors = self.rounds_learned - 1, self.actors_learned
        return dict(self.weights), [states.get(done + (actor < actors), {}) for actor, states in enumerate(self.states)]
