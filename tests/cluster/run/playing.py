"""A schedule simulated without processes and without a clock: possible events happen in a random order, and actors are lost on the way."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.messages import Report, Work
from cluster.backends.base import Collected, LearnReport
from cluster.run.round_units import RoundPlan
from cluster.run.rounds import Rounds
from cluster.run.schedule import Assignment, Call, RoundOver, Schedule
from learners.algorithm import Progress

PROGRESS = Progress(round=0, total=1, run_seed=0)


class Units:
    """Rounds of so many units, each of an actor of its own or of anybody. See `cluster.run.workload.Workload`."""

    def __init__(
        self,
        num_units: int,
        *,
        has_actors: bool,
        units_per_call: int = 0,
        max_failures: int = 1,
        evaluate_every: int = 0,
        is_journalled: bool = False,
    ) -> None:
        self._num_units, self._has_actors, self._units_per_call = num_units, has_actors, units_per_call
        self.max_failures, self._evaluate_every, self.is_journalled = max_failures, evaluate_every, is_journalled
        self.done: dict[int, Report] = {}

    def train(self, number: int) -> RoundPlan:
        works = tuple(Work(round=number, index=i, actor=i if self._has_actors else None) for i in range(self._num_units))
        done, self.done = self.done, {}
        return RoundPlan(works=works, progress=PROGRESS, units_per_call=self._units_per_call, done=done)

    def evaluation(self, number: int, *, is_last: bool) -> RoundPlan | None:
        if not is_last and (not self._evaluate_every or number % self._evaluate_every):
            return None
        works = tuple(Work(round=number, index=index, part="evaluate") for index in range(2))
        return RoundPlan(works=works, progress=PROGRESS)

    def score(self, reports: Sequence[Report]) -> float:
        return sum(report.figures["value"] * 10**place for place, report in enumerate(reports))

    def describe(self, work: Work) -> str:
        return f"unit {work.index} of round {work.round}"


def rounds_of(plan: Units, *, lag: int = 0, updates_per_call: int = 1, **options: Any) -> Rounds:
    """A schedule at its beginning; weights are the number of updates behind them."""
    start: dict[str, Any] = {"version": 0, "weights": {0: (0, 0)}}
    return Rounds(plan, lag=lag, updates_per_call=updates_per_call, **(start | options))


def collected(work: Work, value: float = 0.0) -> Collected:
    """What comes back of a unit of work."""
    report = Report(env_steps=1, busy_s=0.0, figures={"value": value}, state={"after": work.round})
    return Collected(work=work, report=report, payload=(work.round, work.index))


def handed(schedule: Schedule, *free: int) -> Assignment:
    """What the schedule gives to one of the free actors."""
    assignment = schedule.next_work(free)
    assert assignment is not None
    return assignment


def learned(schedule: Schedule, version: int) -> RoundOver | None:
    """The oldest call is over."""
    return schedule.learned(LearnReport(version=version, num_updates=1, busy_s=0.0), version)


@dataclass(kw_only=True)
class Game:
    """Plays a schedule.

    Attributes:
        loss: how likely it is that nothing comes of a unit of work.
        handed: what was given out, in order.
        calls: what was learned from, in order.
        overs: rounds that ended.
    """

    schedule: Schedule
    num_actors: int
    rng: random.Random
    updates_per_call: int = 1
    loss: float = 0.0
    may_fail: bool = False
    version: int = 0
    handed: list[Assignment] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    overs: list[RoundOver] = field(default_factory=list)
    _idle: list[int] = field(default_factory=list)
    _flying: list[Assignment] = field(default_factory=list)
    _waiting_calls: list[Call] = field(default_factory=list)
    _scheduled: int = 0
    _last_round: dict[int, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._idle, self._scheduled = list(range(self.num_actors)), self.version

    def play(self, num_events: int) -> Game:
        """Let so many things happen."""
        for _ in range(num_events):
            self._begin_all()
            if self._flying and (not self._waiting_calls or self.rng.random() < 0.6):
                self._return(self._flying.pop(self.rng.randrange(len(self._flying))))
            elif self._waiting_calls:
                call = self._waiting_calls.pop(0)
                self.version += 0 if call.score is not None else self.updates_per_call
                over = learned(self.schedule, self.version)
                self.overs += [] if over is None else [over]
            if self._idle and self.rng.random() < self.loss:
                self._lose(self._idle[0], None)
        return self

    def _begin_all(self) -> None:
        while (call := self.schedule.next_call()) is not None:
            if call.score is None:
                assert call.lags == tuple(self._scheduled - done.version for done in call.done)
                self._scheduled += self.updates_per_call
            self.calls.append(call)
            self._waiting_calls.append(call)
        while (assignment := self.schedule.next_work(self._idle)) is not None:
            self._idle.remove(assignment.actor)
            self._flying.append(assignment)
            self.handed.append(assignment)
            self._check_state(assignment)

    def _check_state(self, assignment: Assignment) -> None:
        """A worker goes on from the unit before, which it did itself or is given the state of."""
        work = assignment.work
        if work.actor is None or not work.wants_state:
            return
        assert work.actor == assignment.actor
        if work.state is not None:
            self._last_round[work.actor] = work.state["after"]
        assert self._last_round.get(work.actor) == (work.round - 1 if work.round else None)

    def _return(self, assignment: Assignment) -> None:
        work = assignment.work
        self._idle.append(assignment.actor)
        if self.rng.random() >= self.loss:
            done = collected(work, value=work.index + 1.0)
            if self.schedule.collected(done):
                self._last_round[assignment.actor] = work.round
        elif self.may_fail and self.rng.random() < 0.5:
            self.schedule.failed(work, ValueError("on purpose"))
        else:
            self._lose(assignment.actor, work)

    def _lose(self, actor: int, work: Work | None) -> None:
        self._last_round[actor] = None
        self.schedule.lost(actor, work, self.rng.choice(("it died", None)))


def learned_from(game: Game) -> list[tuple[Any, tuple[int, ...], float]]:
    """What was learned from, call by call: payloads, lags, and the score of an evaluation."""
    return [
        (tuple(done.experience for done in call.done), call.lags, math.nan if call.score is None else call.score)
        for call in game.calls
    ]
