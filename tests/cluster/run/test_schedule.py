"""The two schedules as state machines: no process, no clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors.messages import UnrollReport, UnrollRequest
from cluster.run.schedule import MAX_CALLS, Call, FixedLagSchedule, FreeSchedule, Ready, Shape

Trace = list[tuple[str, Any]]


def ready(request: UnrollRequest) -> Ready:
    report = UnrollReport(
        actor=request.actor,
        round=request.round,
        policy_version=request.policy_version,
        env_steps=1,
        episodes=(),
        busy_s=0.0,
        where="here",
        state={"after": request.round},
    )
    return Ready(report=report, trajectory=(request.actor, request.round))


def play(
    schedule: FreeSchedule | FixedLagSchedule, shape: Shape, rng: random.Random, num_events: int, loss: float = 0.0
) -> Trace:
    """Let random events happen in random order; return unrolls handed out and calls made."""
    idle, flying, calls, version = list(range(shape.num_actors)), list[UnrollRequest](), list[Call](), schedule.version
    trace: Trace = []
    for _ in range(num_events):
        while (call := schedule.next_call()) is not None:
            calls.append(call)
            trace.append(("call", (tuple(one.trajectory for one in call.ready), call.lags)))
        while (handed := schedule.next_unroll(idle)) is not None:
            request, weights = handed
            assert weights == request.policy_version
            idle.remove(request.actor)
            flying.append(request)
            trace.append(("unroll", request))
        if flying and (not calls or rng.random() < 0.6):
            request = flying.pop(rng.randrange(len(flying)))
            idle.append(request.actor)
            if rng.random() < loss:
                schedule.lost(request)
            else:
                schedule.unrolled(ready(request))
        elif calls:
            calls.pop(0)
            version += shape.updates_per_call
            schedule.learned(version, version)
    return trace


def fixed(shape: Shape, lag: int) -> FixedLagSchedule:
    return FixedLagSchedule(shape=shape, lag=lag, version=0, first_round=0, weights={0: (0, 0)})


def test_shape_of_a_call() -> None:
    assert Shape.of(4, 32, 32) == Shape(num_actors=4, unrolls_per_call=1, updates_per_call=1)
    assert Shape.of(4, 32, 64) == Shape(num_actors=4, unrolls_per_call=2, updates_per_call=1)
    assert Shape.of(4, 128, 32) == Shape(num_actors=4, unrolls_per_call=1, updates_per_call=4)


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_fixed_lag_learns_the_same_whatever_finishes_first(lag: int, loss: float) -> None:
    shape = Shape(num_actors=4, unrolls_per_call=2, updates_per_call=1)
    calls = []
    for seed in (1, 2):
        trace = play(fixed(shape, lag), shape, random.Random(seed), 600, loss)
        calls.append([what for kind, what in trace if kind == "call"])
    shortest = min(len(one) for one in calls)
    assert shortest > 50
    assert calls[0][:shortest] == calls[1][:shortest]
    order = [key for trajectories, _ in calls[0] for key in trajectories]
    assert order == [(actor, round_) for round_ in range(len(order) // 4 + 1) for actor in range(4)][: len(order)]


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_fixed_lag_acts_with_the_weights_of_the_round_it_should(lag: int) -> None:
    shape = Shape(num_actors=3, unrolls_per_call=1, updates_per_call=2)
    trace = play(fixed(shape, lag), shape, random.Random(0), 500)
    for kind, request in trace:
        if kind == "unroll":
            assert request.policy_version == max(0, request.round - lag) * 3 * 2


def test_a_lost_unroll_is_handed_out_again_from_the_state_before_it() -> None:
    shape = Shape(num_actors=1, unrolls_per_call=1, updates_per_call=1)
    schedule = fixed(shape, 1)
    first = schedule.next_unroll([0])
    assert first is not None and first[0].state is None
    schedule.unrolled(ready(first[0]))
    second = schedule.next_unroll([0])
    assert second is not None and second[0].round == 1
    schedule.lost(second[0])
    again = schedule.next_unroll([0])
    assert again is not None
    assert (again[0].round, again[0].policy_version, again[0].state) == (1, second[0].policy_version, {"after": 0})


def test_fixed_lag_may_checkpoint_only_between_rounds() -> None:
    shape = Shape(num_actors=2, unrolls_per_call=1, updates_per_call=1)
    schedule = fixed(shape, 0)
    assert schedule.may_checkpoint
    for actor in (0, 1):
        handed = schedule.next_unroll([actor])
        assert handed is not None
        schedule.unrolled(ready(handed[0]))
    assert schedule.next_call() is not None
    schedule.hold(True)
    assert schedule.next_call() is not None  # the round that has begun is finished
    schedule.learned(1, 1)
    assert not schedule.may_checkpoint
    schedule.learned(2, 2)
    assert schedule.may_checkpoint
    weights, states = schedule.checkpoint()
    assert weights[1] == (2, 2)
    assert states == [{"after": 0}, {"after": 0}]
    handed = schedule.next_unroll([0, 1])
    assert handed is not None
    schedule.unrolled(ready(handed[0]))
    assert schedule.next_call() is None  # held


def free(shape: Shape, *, lag: int = 1, max_lag: int = 1000) -> FreeSchedule:
    return FreeSchedule(shape=shape, lag=lag, max_lag=max_lag, version=0, weights=0)


@pytest.mark.parametrize("lag", [0, 1, 3])
@pytest.mark.parametrize("actors", [1, 2, 6])
@pytest.mark.parametrize("updates", [1, 4])
def test_free_lag_is_bounded_before_an_unroll_starts(lag: int, actors: int, updates: int) -> None:
    shape = Shape(num_actors=actors, unrolls_per_call=1, updates_per_call=updates)
    schedule = free(shape, lag=lag)
    trace = play(schedule, shape, random.Random(3), 3000)
    lags = [lag for kind, what in trace if kind == "call" for lag in what[1]]
    # whoever may pass an unroll: every other one that was between acting and learned when it started
    assert lags
    in_order = ((1 + lag) * actors - 1) * updates
    assert max(lags[:1]) == 0
    assert sum(lags) / len(lags) <= in_order
    assert schedule.dropped == 0
    if actors == 1:
        assert max(lags) == min(in_order, lag * updates)


def test_an_actor_alone_without_lag_acts_with_the_newest_weights_always() -> None:
    shape = Shape(num_actors=1, unrolls_per_call=1, updates_per_call=4)
    trace = play(free(shape, lag=0), shape, random.Random(5), 400)
    assert [what[1] for kind, what in trace if kind == "call"] == [(0,)] * sum(kind == "call" for kind, _ in trace)


def test_two_actors_without_lag_act_while_the_others_unroll_is_learned_from() -> None:
    shape = Shape(num_actors=2, unrolls_per_call=1, updates_per_call=1)
    schedule = free(shape, lag=0)
    first, second = schedule.next_unroll([0, 1]), schedule.next_unroll([1])
    assert first is not None and second is not None
    schedule.unrolled(ready(first[0]))
    assert schedule.next_call() is not None
    assert schedule.next_unroll([0]) is None  # its unroll is not learned from, and the other actor is at work
    schedule.learned(1, 1)
    again = schedule.next_unroll([0])
    assert again is not None and again[0].policy_version == 1


def test_a_call_of_more_unrolls_than_actors_is_made_without_lag_too() -> None:
    shape = Shape(num_actors=2, unrolls_per_call=5, updates_per_call=1)
    trace = play(free(shape, lag=0), shape, random.Random(1), 500)
    assert sum(kind == "call" for kind, _ in trace) > 20


def test_a_lost_unroll_makes_room_for_another() -> None:
    shape = Shape(num_actors=1, unrolls_per_call=1, updates_per_call=1)
    schedule = free(shape, lag=0)
    for round_ in range(5):
        handed = schedule.next_unroll([0])
        assert handed is not None and handed[0].round == round_
        assert schedule.next_unroll([0]) is None
        schedule.lost(handed[0])


@pytest.mark.parametrize("max_lag", [0, 2, 1000])
def test_stale_work_is_dropped_and_counted(max_lag: int) -> None:
    shape = Shape(num_actors=6, unrolls_per_call=1, updates_per_call=2)
    schedule = free(shape, max_lag=max_lag)
    trace = play(schedule, shape, random.Random(3), 3000)
    lags = [lag for kind, what in trace if kind == "call" for lag in what[1]]
    assert lags
    assert max(lags) <= max_lag
    unrolls = sum(kind == "unroll" for kind, _ in trace)
    assert 0 <= unrolls - len(lags) - schedule.dropped <= 6 + 6
    assert (schedule.dropped > 0) == (max_lag < 1000)


def test_the_lag_of_a_trajectory_counts_the_updates_that_are_queued_before_its_own() -> None:
    shape = Shape(num_actors=3, unrolls_per_call=1, updates_per_call=4)
    schedule = free(shape, lag=1)
    handed = [schedule.next_unroll([actor]) for actor in range(3)]
    for one in handed:
        assert one is not None
        schedule.unrolled(ready(one[0]))
    calls = [schedule.next_call(), schedule.next_call()]  # both before any is worked off
    assert [None if call is None else call.lags for call in calls] == [(0,), (4,)]
    assert schedule.next_call() is None  # two are under way
    schedule.learned(4, 4)
    third = schedule.next_call()
    assert third is not None and third.lags == (8,)


def test_free_work_in_flight_is_bounded_when_the_learner_stands_still() -> None:
    shape = Shape(num_actors=3, unrolls_per_call=2, updates_per_call=1)
    schedule = free(shape, lag=1, max_lag=100)
    made = calls = 0
    for _ in range(100):
        while schedule.next_call() is not None:
            calls += 1
        if (handed := schedule.next_unroll([made % 3])) is not None:
            schedule.unrolled(ready(handed[0]))
            made += 1
    assert calls == MAX_CALLS
    assert made == 2 * 3
