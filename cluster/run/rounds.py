"""The synchronous schedule: the units of a round are gathered by index, then learned from; bit-identical for any number of workers.

    round:    started --> [ unit 0 .. n-1 done ] --> learner calls, in order --> [ evaluation, where one is due ] --> complete
    unit:     waiting --next--> running --------result--> done
                 ^                  |
                 +-- failed, lost --+                   `max_failures` times: the run ends with it

Round r starts once the weights of round r - lag exist, and acts with them. A unit with an actor continues from that actor's last accepted
state. A unit without one is a pure function of its request and the weights, so it may run twice: where nothing is waiting, a straggler is
also given to a free worker, and the first result counts. `cluster.run.workload.Workload` makes the rounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actors.messages import Work
from cluster.backends.base import Collected, Handle, LearnReport
from cluster.run.round_units import Pace, RoundUnits
from cluster.run.schedule import Assignment, Call, Done, RoundOver

if TYPE_CHECKING:
    from cluster.run.workload import Workload


class WorkLostError(RuntimeError):
    """A unit of work was lost repeatedly, each time with its worker."""


class Rounds:
    """See the module's docstring and `cluster.run.schedule.Schedule`.

    Args:
        plan: makes the rounds.
        lag: rounds by which acting runs ahead of learning.
        updates_per_call: updates per learner call.
        version: of the learner's weights.
        weights: version and weights after r learned rounds, by r; for `first_round - lag .. first_round` at the start.
        first_round: the round to start with (after a resume, the one after the checkpoint).
        first_unit: its units before this one have been learned from already.
        states: state of each actor after its last unit that was learned from; empty for actors without one.
        is_ending: whether a goal of the run is reached, so that its last evaluation is due.
    """

    def __init__(
        self,
        plan: Workload,
        *,
        lag: int,
        updates_per_call: int = 1,
        version: int,
        weights: Mapping[int, tuple[int, Handle]],
        first_round: int = 0,
        first_unit: int = 0,
        states: Sequence[Mapping[str, Any]] = (),
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._plan, self._lag, self._updates_per_call, self._is_ending = plan, lag, updates_per_call, is_ending
        self._weights = dict(weights)
        self._scheduled = version
        self.dropped = self.reissued = 0
        self.stops_at_once = plan.is_journalled
        self._pace = Pace()
        self._open_rounds: dict[int, RoundUnits] = {}
        self._evaluation: RoundUnits | None = None
        self._is_evaluation_handed = False
        self._next_round, self._first_unit = first_round, first_unit
        self._take = self._learned = (first_round, first_unit)
        self._last_report: LearnReport | None = None
        self._states: dict[int, dict[int, Mapping[str, Any]]] = {
            actor: {first_round - 1 + (actor < first_unit): state} for actor, state in enumerate(states) if state
        }
        self._restoring = set(self._states)
        self._held = False

    @property
    def rounds_begun(self) -> int:
        return self._take[0]

    @property
    def rounds_learned(self) -> int:
        """Rounds that are over."""
        return self._learned[0]

    def next_work(self, free: Sequence[int]) -> Assignment | None:
        if not free:
            return None
        self._open()
        open_units = [self._evaluation] if self._evaluation is not None else []
        open_units += [units for _, units in sorted(self._open_rounds.items())]
        for units in open_units:
            if (taken := units.take(free)) is not None:
                work, actor = taken
                return Assignment(work=self._stateful(work), actor=actor, weights=units.weights)
        for units in open_units:
            if (late := units.straggler(self._pace)) is not None:
                self.reissued += 1
                return Assignment(work=late, actor=free[0], weights=units.weights)
        return None

    def _open(self) -> None:
        """Start every round whose weights exist."""
        while not self._held and self._evaluation is None and self._next_round - self._lag <= self.rounds_learned:
            round_ = self._next_round
            version, weights = self._weights[max(0, round_ - self._lag)]
            units = RoundUnits(self._plan.train(round_), version, weights)
            if round_ == self._take[0]:  # the rest was learned from before the resume
                units.waiting = deque(work for work in units.waiting if work.index >= self._first_unit)
            self._open_rounds[round_], self._next_round = units, round_ + 1

    def _stateful(self, work: Work) -> Work:
        """The work, with the state that its actor continues from where the worker does not have it."""
        if work.actor is None:
            return work
        if work.actor not in self._restoring:
            return replace(work, wants_state=True)
        self._restoring.discard(work.actor)
        state = self._states.get(work.actor, {}).get(work.round - 1)
        return replace(work, wants_state=True, state=None if state is None else dict(state))

    def next_call(self) -> Call | None:
        if self._evaluation is not None:
            return self._evaluation_call(self._evaluation)
        round_, unit = self._take
        units = self._open_rounds.get(round_)
        if units is None or (self._held and unit == 0 and not self._plan.is_journalled):
            return None
        done = units.in_order(unit, self._plan_call(units))
        if done is None:
            return None
        call = Call(done=done, lags=tuple(self._scheduled - one.version for one in done), progress=units.plan.progress)
        self._scheduled += self._updates_per_call
        self._take = self._after(self._take, units)
        return call

    def _evaluation_call(self, units: RoundUnits) -> Call | None:
        done = units.in_order()
        if done is None or self._is_evaluation_handed:
            return None
        self._is_evaluation_handed = True
        score = self._plan.score([one.report for one in done])
        return Call(done=done, lags=(0,) * len(done), progress=units.plan.progress, score=score)

    @staticmethod
    def _plan_call(units: RoundUnits) -> int:
        return units.plan.units_per_call or len(units.plan.works)

    def _after(self, at: tuple[int, int], units: RoundUnits) -> tuple[int, int]:
        round_, unit = at[0], at[1] + self._plan_call(units)
        return (round_ + 1, 0) if unit >= len(units.plan.works) else (round_, unit)

    def collected(self, event: Collected) -> bool:
        work = event.work
        units = self._units_of(work)
        if units is None:
            return False
        done = Done(work=work, version=units.version, report=event.report, payload=event.payload)
        if not units.add(done, self._pace):
            return False
        if work.actor is not None:
            states = self._states.setdefault(work.actor, {})
            states[work.round] = event.report.state or {}
            for old in [kept for kept in states if kept < work.round - self._lag - 1]:
                del states[old]
        return True

    def _units_of(self, work: Work) -> RoundUnits | None:
        units = self._evaluation if work.part == "evaluate" else self._open_rounds.get(work.round)
        return units if units is not None and units.plan.works[0].round == work.round else None

    def learned(self, report: LearnReport, weights: Handle) -> RoundOver | None:
        if self._evaluation is not None:
            return self._over(report, weights, self._evaluation)
        before = self._learned[0]
        self._learned = self._after(self._learned, self._open_rounds[before])
        if self._learned[0] == before:
            return None
        del self._open_rounds[before]
        self._last_report, self._first_unit = report, 0
        self._weights[before + 1] = (report.version, weights)
        for old in [kept for kept in self._weights if kept < before + 1 - self._lag]:
            del self._weights[old]
        plan = self._plan.evaluation(before + 1, is_last=self._is_ending())
        if plan is None:
            return RoundOver(round=before + 1, report=report)
        self._evaluation, self._is_evaluation_handed = RoundUnits(plan, report.version, weights), False
        return None

    def _over(self, report: LearnReport, weights: Handle, evaluation: RoundUnits) -> RoundOver:
        assert self._last_report is not None
        self._evaluation = None
        self._weights[self.rounds_learned] = (report.version, weights)
        score = self._plan.score([evaluation.done[index].report for index in range(len(evaluation.plan.works))])
        return RoundOver(round=self.rounds_learned, report=self._last_report, score=score)

    def failed(self, work: Work, error: Exception) -> None:
        units, times = self._counted(work)
        if units is None:
            return
        if times >= self._plan.max_failures:
            if self._plan.max_failures > 1:
                error.add_note(f"{self._plan.describe(work)} failed {_times(times)}")
            raise error
        self._give_back(units, work)

    def lost(self, actor: int, work: Work | None, reason: str | None) -> None:
        self._restoring.add(actor)
        if work is None:
            return
        if reason is None:
            units = self._units_of(work)
        else:
            units, times = self._counted(work)
            if units is not None and times >= self._plan.max_failures > 1:
                what = self._plan.describe(work)
                raise WorkLostError(f"{what} failed {_times(times)}, the last time because {reason}")
        if units is not None:
            self._give_back(units, work)

    def _counted(self, work: Work) -> tuple[RoundUnits | None, int]:
        """The units of work that failed, unless it is done by now, and how often it has failed."""
        units = self._units_of(work)
        if units is None or work.index in units.done:
            return None, 0
        units.failures[work.index] += 1
        return units, units.failures[work.index]

    def _give_back(self, units: RoundUnits, work: Work) -> None:
        if work.index not in units.done:
            units.give_back(work)
        if work.actor is not None:
            self._restoring.add(work.actor)

    def call_lost(self, call: Call) -> None:
        """Raise: calls queued behind it may have run already, on other weights than they should have.

        Raises:
            RuntimeError: with the command to continue.
        """
        lost = ", ".join(self._plan.describe(one.work) for one in call.done)
        raise RuntimeError(
            f"deterministic mode: experience of {lost} was lost before it was learned from, and the run would no longer be "
            "that of its seed; `metaray resume` goes on from the newest checkpoint"
        )

    def hold(self, on: bool) -> None:
        self._held = on

    @property
    def may_checkpoint(self) -> bool:
        """At the end of a round, with nothing of the next one learned: the states and weights stored here are of that point.

        A journalled round that has started is finished first, so that its results are not lost.
        """
        is_border = self._take == self._learned and self._take[1] == 0 and self._evaluation is None
        return is_border and not (self._plan.is_journalled and self._open_rounds)

    def round_progress(self) -> tuple[str, int, int]:
        units = self._evaluation or self._open_rounds.get(self.rounds_learned)
        if units is None:
            return "train", 0, 0
        return units.plan.works[0].part, len(units.done), len(units.plan.works)

    def checkpoint(self) -> dict[str, Any]:
        """Also possible in the middle of a round while no call is running: a run that fails there is saved as far as it got."""
        round_, unit = self._learned
        count = max(self._states, default=-1) + 1
        actors = [dict(self._states.get(actor, {}).get(round_ - 1 + (actor < unit), {})) for actor in range(count)]
        return {"first_round": round_, "first_actor": unit, "weights": dict(self._weights), "actors": actors}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
