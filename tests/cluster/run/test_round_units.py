"""The order in which the units of a round are assigned, and results that are no longer needed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from actors.messages import Report, Work
from cluster.run import round_units
from cluster.run.round_units import Pace, RoundPlan, RoundUnits
from cluster.run.schedule import Done
from tests.cluster.run.playing import PROGRESS

WORKS = tuple(Work(round=5, index=index, size=4) for index in range(4))


def done(work: Work, steps: int = 1) -> Done:
    return Done(work=work, version=7, report=Report(env_steps=steps, busy_s=0.1))


@pytest.fixture
def units() -> RoundUnits:
    return RoundUnits(RoundPlan(works=WORKS, progress=PROGRESS), version=7, weights="w7")


def drained(units: RoundUnits) -> list[Work]:
    works = []
    while (taken := units.take([0])) is not None:
        works.append(taken[0])
    return works


def test_units_are_gathered_by_index_and_never_by_arrival(units: RoundUnits) -> None:
    assert drained(units) == list(WORKS)
    for index in (2, 0, 3, 1):
        assert units.in_order() is None
        assert units.add(done(WORKS[index], steps=index), Pace())
    found = units.in_order()
    assert found is not None and [one.report.env_steps for one in found] == [0, 1, 2, 3]


def test_a_part_of_the_units_may_be_had_before_the_rest(units: RoundUnits) -> None:
    drained(units)
    units.add(done(WORKS[2]), Pace())
    units.add(done(WORKS[3]), Pace())
    found = units.in_order(2, 2)
    assert found is not None and [one.work.index for one in found] == [2, 3]
    assert units.in_order(0, 2) is None


def test_what_is_done_already_is_not_given_out() -> None:
    resumed = RoundUnits(RoundPlan(works=WORKS, progress=PROGRESS, done={1: done(WORKS[1]).report}), version=7, weights="w7")
    assert [work.index for work in drained(resumed)] == [0, 2, 3]
    assert resumed.done[1].version == 7


def test_a_second_answer_is_dropped(units: RoundUnits) -> None:
    drained(units)
    assert units.add(done(WORKS[0], steps=1), Pace())
    assert not units.add(done(WORKS[0], steps=9), Pace())
    assert units.done[0].report.env_steps == 1


def test_a_unit_with_an_actor_waits_for_that_one() -> None:
    works = tuple(replace(work, actor=work.index) for work in WORKS)
    units = RoundUnits(RoundPlan(works=works, progress=PROGRESS), version=0, weights=None)
    assert units.take([2]) == (works[2], 2)
    assert units.take([2]) is None
    assert units.take([3, 1]) == (works[1], 1)


def test_a_straggler_gets_one_copy_at_a_time_and_waits_again_only_when_both_are_lost(
    units: RoundUnits, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, pace = 100.0, Pace()
    monkeypatch.setattr(round_units.time, "monotonic", lambda: now)
    drained(units)
    now += 2.0
    for work in WORKS[:3]:
        units.add(done(work), pace)
    assert units.straggler(pace) is None  # as long as the others
    now += 2.5
    assert units.straggler(pace) == WORKS[3]
    assert units.straggler(pace) is None
    units.give_back(WORKS[3])
    assert units.take([0]) is None  # the first one is still under way
    assert units.straggler(pace) == WORKS[3]
    units.give_back(WORKS[3])
    units.give_back(WORKS[3])
    assert units.take([0]) == (WORKS[3], 0)
    units.give_back(WORKS[3])
    units.give_back(WORKS[3])  # once too often
    assert drained(units) == [WORKS[3]]


def test_what_an_actor_alone_can_do_is_never_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pace = 100.0, Pace()
    monkeypatch.setattr(round_units.time, "monotonic", lambda: now)
    units = RoundUnits(RoundPlan(works=(replace(WORKS[0], actor=0),), progress=PROGRESS), version=0, weights=None)
    for _ in range(3):
        pace.add(1.0, 4)
    units.take([0])
    now += 1e6
    assert units.straggler(pace) is None


def test_patience_grows_with_the_size_of_a_unit_and_is_endless_before_a_few_are_done() -> None:
    pace = Pace()
    pace.add(8.0, 4)
    pace.add(40.0, 4)
    assert pace.patience(4) == math.inf
    pace.add(12.0, 4)
    assert (pace.patience(4), pace.patience(1)) == (24.0, 6.0)  # twice the median of 2, 10 and 3 s a unit of size
    for _ in range(64):
        pace.add(0.01, 4)
    assert pace.patience(4) == round_units.STRAGGLER_MIN_S
