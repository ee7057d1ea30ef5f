"""The synchronous schedule as a state machine: the same calls in the same order, whatever finishes, fails, dies or is copied when."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from cluster.run import round_units
from cluster.run.rounds import Rounds, WorkLostError
from tests.cluster.run.playing import Game, Units, collected, handed, learned, learned_from, rounds_of


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_fixed_lag_learns_the_same_whatever_finishes_first(lag: int, loss: float) -> None:
    calls = []
    for seed in (1, 2):
        schedule = rounds_of(Units(4, has_actors=True, units_per_call=2), lag=lag)
        calls.append(learned_from(Game(schedule=schedule, num_actors=4, rng=random.Random(seed), loss=loss).play(600)))
    shortest = min(len(one) for one in calls)
    assert shortest > 50
    np.testing.assert_equal(calls[0][:shortest], calls[1][:shortest])
    order = [key for experience, _, _ in calls[0] for key in experience]
    assert order == [(round_, actor) for round_ in range(len(order) // 4 + 1) for actor in range(4)][: len(order)]


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_fixed_lag_acts_with_the_weights_of_the_round_it_should(lag: int) -> None:
    schedule = rounds_of(Units(3, has_actors=True, units_per_call=1), lag=lag, updates_per_call=2)
    game = Game(schedule=schedule, num_actors=3, rng=random.Random(0), updates_per_call=2).play(500)
    assert len(game.handed) > 100
    for one in game.handed:
        assert one.weights == max(0, one.work.round - lag) * 3 * 2
    assert max(one.work.round for one in game.handed) <= schedule.rounds_learned + lag


@pytest.mark.parametrize("num_actors", [1, 2, 5])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_units_for_any_actor_give_the_same_updates_with_any_number_of_actors_copies_and_failures(
    num_actors: int, loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are their evaluations, which begin when the round is learned from and end before the next one begins."""
    monkeypatch.setattr(round_units, "STRAGGLER_FACTOR", 0.0)  # whoever is free takes a copy
    monkeypatch.setattr(round_units, "STRAGGLER_MIN_S", 0.0)
    plan = Units(4, has_actors=False, max_failures=10**9, evaluate_every=3)
    schedule = rounds_of(plan)
    game = Game(schedule=schedule, num_actors=num_actors, rng=random.Random(num_actors), loss=loss, may_fail=True).play(1200)
    assert (schedule.reissued > 20) == (num_actors > 1)
    calls = learned_from(game)
    assert len(calls) > 60
    want: list[Any] = []
    for round_ in range(len(calls)):
        want.append((tuple((round_, index) for index in range(4)), (0,) * 4, np.nan))
        if (round_ + 1) % 3 == 0:
            want.append((((round_ + 1, 0), (round_ + 1, 1)), (0, 0), 21.0))
    np.testing.assert_equal(calls, want[: len(calls)])
    assert [over.round for over in game.overs] == list(range(1, len(game.overs) + 1))
    assert [over.score for over in game.overs] == [21.0 if over.round % 3 == 0 else None for over in game.overs]
    assert all(one.weights == one.work.round for one in game.handed)


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_schedule_saved_at_any_point_continues_as_if_uninterrupted(lag: int) -> None:
    """A run that fails is saved once its calls are over, in the middle of a round as well."""
    plan = Units(4, has_actors=True, units_per_call=2)
    want = learned_from(Game(schedule=rounds_of(plan, lag=lag), num_actors=4, rng=random.Random(0)).play(600))
    for seed in range(20):
        rng = random.Random(seed)
        first = Game(schedule=rounds_of(plan, lag=lag), num_actors=4, rng=rng, loss=0.1).play(rng.randrange(20, 60))
        while first._waiting_calls:
            first._waiting_calls.pop(0)
            first.version += 1
            learned(first.schedule, first.version)
        saved = first.schedule.checkpoint()
        schedule = Rounds(
            plan,
            lag=lag,
            version=first.version,
            weights=saved["weights"],
            first_round=saved["first_round"],
            first_unit=saved["first_actor"],
            states=saved["actors"],
        )
        second = Game(schedule=schedule, num_actors=4, rng=rng, loss=0.1, version=first.version).play(200)
        assert len(second.calls) > 10
        got = learned_from(first) + learned_from(second)
        np.testing.assert_equal(got, want[: len(got)])


def test_lost_work_is_handed_out_again_from_the_state_before_it() -> None:
    schedule = rounds_of(Units(1, has_actors=True), lag=1)
    first = handed(schedule, 0)
    assert first.work.state is None
    schedule.collected(collected(first.work))
    second = handed(schedule, 0)
    assert second.work.round == 1
    schedule.lost(0, second.work, "it died")
    again = handed(schedule, 0)
    assert (again.work.round, again.weights, again.work.state) == (1, second.weights, {"after": 0})
    assert second.work.state is None  # its actor had it


def test_an_actor_that_is_replaced_while_it_has_nothing_to_do_gets_its_state_as_well() -> None:
    schedule = rounds_of(Units(1, has_actors=True), lag=1)
    schedule.collected(collected(handed(schedule, 0).work))
    schedule.lost(0, None, "it died")
    assert handed(schedule, 0).work.state == {"after": 0}


def test_a_checkpoint_is_taken_only_between_rounds() -> None:
    schedule = rounds_of(Units(2, has_actors=True, units_per_call=1))
    assert schedule.may_checkpoint
    for actor in (0, 1):
        schedule.collected(collected(handed(schedule, actor).work))
    assert schedule.next_call() is not None
    schedule.hold(True)
    assert schedule.next_call() is not None  # the round that has begun is finished
    assert learned(schedule, 1) is None
    assert not schedule.may_checkpoint
    over = learned(schedule, 2)
    assert over is not None and over.round == 1
    assert schedule.may_checkpoint
    saved = schedule.checkpoint()
    assert saved["weights"][1] == (2, 2)
    assert saved["actors"] == [{"after": 0}, {"after": 0}]
    assert schedule.next_work([0, 1]) is None  # held
    schedule.hold(False)
    schedule.collected(collected(handed(schedule, 0, 1).work))
    schedule.hold(True)
    assert schedule.next_call() is None


def test_a_round_that_is_journalled_and_has_begun_is_finished_before_a_checkpoint() -> None:
    schedule = rounds_of(Units(2, has_actors=False, is_journalled=True))
    handed(schedule, 0)
    assert not schedule.may_checkpoint
    assert schedule.stops_at_once  # its units are kept elsewhere


def test_second_answers_and_those_of_another_round_or_part_count_for_nothing() -> None:
    schedule = rounds_of(Units(2, has_actors=False, evaluate_every=1))
    first, second = handed(schedule, 0).work, handed(schedule, 1).work
    assert schedule.collected(collected(first, 1.0))
    assert not schedule.collected(collected(first, 9.0))
    assert not schedule.collected(collected(second.__class__(round=4, index=1)))
    assert not schedule.collected(collected(second.__class__(round=0, index=1, part="evaluate")))
    assert schedule.collected(collected(second, 2.0))
    call = schedule.next_call()
    assert call is not None and [one.report.figures["value"] for one in call.done] == [1.0, 2.0]
    assert learned(schedule, 1) is None  # an evaluation is due
    assert not schedule.collected(collected(first, 9.0))
    judging = [handed(schedule, 0), handed(schedule, 1)]
    assert [(one.work.part, one.work.round, one.weights) for one in judging] == [("evaluate", 1, 1)] * 2
    assert schedule.round_progress() == ("evaluate", 0, 2)


def test_what_a_journal_holds_of_a_round_is_not_done_again() -> None:
    plan = Units(3, has_actors=False, is_journalled=True)
    plan.done = {1: collected(plan.train(0).works[1], 5.0).report}
    schedule = rounds_of(plan)
    works = [handed(schedule, 0).work, handed(schedule, 0).work]
    assert [work.index for work in works] == [0, 2]
    assert schedule.next_work([0]) is None
    for work in works:
        schedule.collected(collected(work))
    call = schedule.next_call()
    assert call is not None and call.done[1].report.figures["value"] == 5.0


def test_the_last_evaluation_is_of_the_round_with_which_a_goal_is_reached() -> None:
    ends = iter((False, True))
    schedule = rounds_of(Units(1, has_actors=False), is_ending=lambda: next(ends))
    scores = []
    for version in (1, 2):
        schedule.collected(collected(handed(schedule, 0).work))
        assert schedule.next_call() is not None
        over = learned(schedule, version)
        if over is None:
            for _ in range(2):
                schedule.collected(collected(handed(schedule, 0).work, 3.0))
            call = schedule.next_call()
            assert call is not None and call.score == 33.0
            assert schedule.next_call() is None  # handed over once
            over = learned(schedule, version)
        assert over is not None
        scores.append((over.round, over.score))
    assert scores == [(1, None), (2, 33.0)]


def test_a_removal_is_no_failure_and_the_third_loss_ends_the_run() -> None:
    schedule = rounds_of(Units(4, has_actors=False, max_failures=3))
    for _ in range(5):
        work = handed(schedule, 1).work
        assert work.index == 0
        schedule.lost(1, work, None)
    for _ in range(2):
        work = handed(schedule, 1).work
        assert work.index == 0
        schedule.lost(1, work, "actor 1 died")
    with pytest.raises(WorkLostError, match=r"unit 0 of round 0 failed 3 times, the last time because actor 1 hung"):
        schedule.lost(1, handed(schedule, 1).work, "actor 1 hung")


def test_the_third_failure_is_the_last_and_is_raised_with_what_failed() -> None:
    schedule = rounds_of(Units(4, has_actors=False, max_failures=3))
    error = ValueError("of our own code")
    for _ in range(2):
        schedule.failed(handed(schedule, 0).work, error)
    with pytest.raises(ValueError, match="of our own code") as caught:
        schedule.failed(handed(schedule, 0).work, error)
    assert caught.value is error
    assert error.__notes__ == ["unit 0 of round 0 failed 3 times"]


def test_an_actor_of_its_own_state_fails_once_and_is_lost_as_often_as_may_be() -> None:
    """An environment that raised cannot be gone on with; a process that died says nothing of what it was at."""
    schedule = rounds_of(Units(1, has_actors=True))
    for _ in range(10):
        schedule.lost(0, handed(schedule, 0).work, "it died")
    error = ValueError("boom")
    with pytest.raises(ValueError, match="boom"):
        schedule.failed(handed(schedule, 0).work, error)
    assert not hasattr(error, "__notes__")


def test_the_failure_of_an_old_copy_has_no_effect() -> None:
    schedule = rounds_of(Units(2, has_actors=False, max_failures=3))
    first, second = handed(schedule, 0).work, handed(schedule, 1).work
    schedule.collected(collected(first))
    for _ in range(5):
        schedule.failed(first, ValueError("late"))
        schedule.lost(0, first, "late")
        schedule.failed(second.__class__(round=4, index=1), ValueError("of another round"))
    assert schedule.next_work([0, 1]) is None
    assert schedule.collected(collected(second))


def test_a_straggler_of_the_evaluation_is_copied_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(round_units.time, "monotonic", lambda: now)
    schedule = rounds_of(Units(3, has_actors=False, evaluate_every=1))
    works = [handed(schedule, 0).work for _ in range(3)]
    now += 1.0
    for work in works:
        schedule.collected(collected(work))
    schedule.next_call()
    learned(schedule, 1)
    first, second = handed(schedule, 0), handed(schedule, 1)
    schedule.collected(collected(second.work))
    assert schedule.next_work([1]) is None
    now += 10.0
    copy = handed(schedule, 1)
    assert (copy.work, copy.weights, copy.actor) == (first.work, 1, 1)
    assert (schedule.reissued, schedule.next_work([2])) == (1, None)
    assert schedule.collected(collected(copy.work))
    assert not schedule.collected(collected(first.work))


def test_a_straggler_of_an_earlier_evaluation_counts_for_nothing_in_a_later_one() -> None:
    schedule = rounds_of(Units(1, has_actors=False, evaluate_every=1))
    judging = []
    for version in (1, 2):
        schedule.collected(collected(handed(schedule, 0).work))
        schedule.next_call()
        learned(schedule, version)
        judging.append(handed(schedule, 0).work)
        if version == 1:
            for work in (judging[0], handed(schedule, 0).work):
                schedule.collected(collected(work))
            schedule.next_call()
            assert learned(schedule, version) is not None
    assert not schedule.collected(collected(judging[0], 9.0))
    schedule.lost(0, judging[0], "late")
    assert schedule.round_progress() == ("evaluate", 0, 2)
