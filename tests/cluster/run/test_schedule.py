"""The schedule of a stream as a state machine: no process, no clock. That of rounds is in test_rounds.py."""

from __future__ import annotations

import random

import pytest

from cluster.run.schedule import MAX_CALLS, Stream
from tests.cluster.run.playing import PROGRESS, Game, collected, handed, learned


def stream(*, lag: int = 1, max_lag: int = 1000, **shape: int) -> Stream:
    return Stream(lag=lag, max_lag=max_lag, version=0, weights=0, progress=PROGRESS, **shape)


def play(schedule: Stream, seed: int, num_events: int, loss: float = 0.0) -> Game:
    game = Game(
        schedule=schedule,
        num_actors=schedule.num_actors,
        rng=random.Random(seed),
        updates_per_call=schedule.updates_per_call,
        loss=loss,
    )
    return game.play(num_events)


def lags_of(game: Game) -> list[int]:
    return [lag for call in game.calls for lag in call.lags]


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("actors", [1, 2, 6])
@pytest.mark.parametrize("updates", [1, 4])
def test_lag_is_bounded_before_a_unit_starts(lag: int, actors: int, updates: int) -> None:
    schedule = stream(num_actors=actors, units_per_call=1, updates_per_call=updates, lag=lag)
    lags = lags_of(play(schedule, 3, 3000))
    # whoever may pass a unit: every other one that was between acting and learned when it started
    assert lags
    in_order = ((1 + lag) * actors - 1) * updates
    assert max(lags[:1]) == 0
    assert sum(lags) / len(lags) <= in_order
    assert schedule.dropped == 0
    if actors == 1:
        assert max(lags) == min(in_order, lag * updates)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_unit_acts_with_the_newest_weights_that_there_are_when_it_starts(loss: float) -> None:
    """Whatever was lost on the way; and every actor's units are numbered one after the other, so that none is drawn twice."""
    game = play(stream(num_actors=4, units_per_call=2, updates_per_call=1), 7, 2000, loss)
    weights = [one.weights for one in game.handed]
    assert weights == sorted(weights) and weights[-1] > 100
    for actor in range(4):
        rounds = [one.work.round for one in game.handed if one.actor == actor]
        assert rounds == list(range(len(rounds)))
    experience = [done.experience for call in game.calls for done in call.done]
    assert len(set(experience)) == len(experience)


def test_an_actor_alone_without_lag_acts_with_the_newest_weights_always() -> None:
    game = play(stream(num_actors=1, units_per_call=1, updates_per_call=4, lag=0), 5, 400)
    assert [call.lags for call in game.calls] == [(0,)] * len(game.calls)
    assert len(game.calls) > 100


def test_two_actors_without_lag_act_while_the_others_unit_is_learned_from() -> None:
    schedule = stream(num_actors=2, units_per_call=1, updates_per_call=1, lag=0)
    first, _ = handed(schedule, 0, 1), handed(schedule, 1)
    schedule.collected(collected(first.work))
    assert schedule.next_call() is not None
    assert schedule.next_work([0]) is None  # its unit is not learned from, and the other actor is at work
    assert learned(schedule, 1) is None
    assert handed(schedule, 0).weights == 1


def test_the_actor_that_waits_longest_goes_first() -> None:
    schedule = stream(num_actors=3, units_per_call=1, updates_per_call=1)
    assert [handed(schedule, *free).actor for free in ((2, 0, 1), (0, 1), (1,))] == [2, 0, 1]


def test_a_call_of_more_units_than_actors_is_made_without_lag_too() -> None:
    game = play(stream(num_actors=2, units_per_call=5, updates_per_call=1, lag=0), 1, 500)
    assert len(game.calls) > 20
    assert {len(call.done) for call in game.calls} == {5}


def test_a_lost_unit_makes_room_for_another() -> None:
    schedule = stream(num_actors=1, units_per_call=1, updates_per_call=1, lag=0)
    for round_ in range(5):
        assignment = handed(schedule, 0)
        assert assignment.work.round == round_
        assert schedule.next_work([0]) is None
        schedule.lost(0, assignment.work, "it died")
        schedule.lost(0, None, "and so did the next, which had nothing to do")


def test_an_environment_that_raised_cannot_be_stepped_again() -> None:
    schedule = stream(num_actors=1, units_per_call=1, updates_per_call=1)
    with pytest.raises(ValueError, match="boom"):
        schedule.failed(handed(schedule, 0).work, ValueError("boom"))


@pytest.mark.parametrize("max_lag", [0, 1, 2, 1000])
def test_stale_work_is_dropped_and_counted(max_lag: int) -> None:
    schedule = stream(num_actors=6, units_per_call=1, updates_per_call=2, max_lag=max_lag)
    game = play(schedule, 3, 3000)
    lags = lags_of(game)
    assert lags
    assert max(lags) <= max_lag
    assert 0 <= len(game.handed) - len(lags) - schedule.dropped <= 6 + 6
    assert (schedule.dropped > 0) == (max_lag < 1000)


def test_the_lag_of_a_unit_counts_the_updates_that_are_queued_before_its_own() -> None:
    schedule = stream(num_actors=3, units_per_call=1, updates_per_call=4, lag=1)
    for one in [handed(schedule, actor) for actor in range(3)]:
        schedule.collected(collected(one.work))
    calls = [schedule.next_call(), schedule.next_call()]  # both before any is worked off
    assert [None if call is None else call.lags for call in calls] == [(0,), (4,)]
    assert schedule.next_call() is None  # two are under way
    learned(schedule, 4)
    third = schedule.next_call()
    assert third is not None and third.lags == (8,)


def test_work_in_flight_is_bounded_when_the_learner_stands_still() -> None:
    schedule = stream(num_actors=3, units_per_call=2, updates_per_call=1, lag=1, max_lag=100)
    made = calls = 0
    for _ in range(100):
        while schedule.next_call() is not None:
            calls += 1
        if (assignment := schedule.next_work([made % 3])) is not None:
            schedule.collected(collected(assignment.work))
            made += 1
    assert calls == MAX_CALLS
    assert made == 2 * 3


def test_a_stream_that_is_held_makes_no_call_and_may_be_saved_at_any_time() -> None:
    schedule = stream(num_actors=1, units_per_call=1, updates_per_call=1)
    schedule.collected(collected(handed(schedule, 0).work))
    schedule.hold(True)
    assert schedule.next_call() is None
    assert schedule.may_checkpoint
    assert schedule.checkpoint() == {"rounds": [1]}
    schedule.hold(False)
    assert schedule.next_call() is not None
    assert (schedule.round_progress(), schedule.rounds_begun, schedule.stops_at_once) == (("", 0, 0), 0, False)
