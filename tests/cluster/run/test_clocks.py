"""Shares of time, by a clock that the tests control."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from cluster.run import clocks as module
from cluster.run.clocks import Clocks


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def begun(num_actors: int) -> Clocks:
    clocks = Clocks()
    clocks.tick(num_actors)
    return clocks


def test_an_actors_time_is_work_transport_driver_and_waiting(turn: Callable[[float], None]) -> None:
    clocks = begun(2)
    turn(1.0)  # nothing is given out
    clocks.submitted("a")
    clocks.submitted("b")
    turn(4.0)
    clocks.returned("a", 3.0)  # and its actor waits from now on, for b
    turn(4.0)
    clocks.returned("b", 8.0)
    turn(1.0)
    clocks.learned(0.5)
    shares = clocks.shares()
    assert shares.actors == pytest.approx(11 / 20)
    assert shares.transport == pytest.approx(1 / 20)
    assert shares.driver == pytest.approx(4 / 20)
    assert shares.learner == pytest.approx(0.5 / 10)


def test_a_unit_that_is_longer_than_an_interval_is_work_while_it_is_under_way(turn: Callable[[float], None]) -> None:
    """And not only when it is done: else intervals without an answer would show actors that stand still."""
    whole = interval = begun(1)
    for _ in range(3):
        for clocks in {whole, interval}:
            clocks.submitted("unit")
        for _ in range(5):
            interval = interval.restarted()
            turn(1.0)
            interval.tick(1)
            assert interval.shares().actors == 1.0
            assert interval.shares().driver == interval.shares().transport == 0.0
        for clocks in {whole, interval}:
            clocks.returned("unit", 4.8)
    assert interval.shares().actors == 1.0  # of its last second it is not known which part was transport
    assert whole.shares().actors == pytest.approx(0.96)
    assert whole.shares().transport == pytest.approx(0.04)


def test_a_copy_is_work_beside_the_first_and_what_came_of_neither_is_transport(turn: Callable[[float], None]) -> None:
    clocks = begun(2)
    clocks.submitted("unit")
    turn(1.0)
    clocks.submitted("unit")
    turn(1.0)
    assert clocks.shares().actors == pytest.approx(3 / 4)
    clocks.returned("unit", 2.0)
    assert clocks.shares().actors == pytest.approx(3 / 4)  # the copy is still at it
    turn(1.0)
    clocks.returned("unit", 0.0)  # and died
    clocks.returned("unit", 5.0)  # said of nothing that is under way
    assert clocks.shares().actors == pytest.approx(2 / 6)
    assert clocks.shares().transport == pytest.approx(2 / 6)


def test_actors_that_come_and_go_count_while_they_are_there(turn: Callable[[float], None]) -> None:
    clocks = begun(1)
    clocks.submitted("a")
    turn(2.0)
    clocks.tick(3)
    turn(2.0)
    clocks.tick(1)
    turn(2.0)
    clocks.returned("a", 6.0)
    assert clocks.shares().actors == pytest.approx(6 / 10)


def test_without_an_actor_or_any_time_nothing_is_divided_by_nothing() -> None:
    shares = Clocks().shares()
    assert (shares.actors, shares.driver, shares.transport, shares.learner) == (0.0, 0.0, 0.0, 0.0)


def test_shares_are_shares_whatever_happens(turn: Callable[[float], None]) -> None:
    rng = random.Random(0)
    clocks, under_way = begun(3), list[int]()
    for number in range(2000):
        turn(rng.random())
        if len(under_way) < 3 and rng.random() < 0.6:
            under_way.append(number % 7)
            clocks.submitted(number % 7)
        elif under_way:
            clocks.returned(under_way.pop(rng.randrange(len(under_way))), 2 * rng.random())
        if rng.random() < 0.1:
            clocks = clocks.restarted()
        shares = clocks.shares()
        parts = (shares.actors, shares.transport, shares.driver)
        assert all(0 <= part <= 1 for part in parts)
        assert sum(parts) <= 1 + 1e-9
