"""The supervisor of actors as a state machine: fake workers, and a clock that the tests control."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from actors.messages import Report, Work
from cluster.backends import fleet as module
from cluster.backends.base import Collected, Event, Failed, Lost
from cluster.backends.fleet import (
    BUILD_DEADLINE_S,
    MAX_LOST_IN_A_ROW,
    Answered,
    Fleet,
    Gone,
    Placed,
    Raised,
    Ready,
    RepeatedLossError,
)


class Fake:
    """A worker that does nothing; the tests say what it says."""

    def __init__(self, index: int, *, can_be_ended: bool, has_place: bool) -> None:
        self.index, self.can_be_ended, self.has_place = index, can_be_ended, has_place
        self.works: list[Work] = []
        self.is_ended = False

    def collect(self, work: Work, weights: object) -> None:
        assert not self.is_ended
        self.works.append(work)

    def end(self) -> None:
        self.is_ended = True

    def __str__(self) -> str:
        return f"number {self.index}"


class Crew:
    """A fleet of such workers, all that were ever made, and the clock."""

    def __init__(self, num_actors: int, *, can_be_ended: bool = True, has_place: bool = True) -> None:
        self.made: list[Fake] = []
        self.can_be_ended, self.has_place = can_be_ended, has_place
        self.now = 1000.0
        self.fleet = Fleet(self.spawn, num_actors, unit="unroll", deadline_s=10.0)
        self.fleet.start_workers()

    def spawn(self, index: int) -> Fake:
        self.made.append(Fake(index, can_be_ended=self.can_be_ended, has_place=self.has_place))
        return self.made[-1]

    def worker(self, index: int) -> Fake:
        worker = self.fleet.supervisors[index].worker
        assert isinstance(worker, Fake)
        return worker

    def up(self, *indices: int) -> None:
        for index in indices:
            assert self.fleet.handle(Ready(worker=self.worker(index))) is None

    def submit(self, index: int, round_: int = 0) -> Work:
        work = Work(round=round_, index=index)
        self.fleet.submit(work, index, "weights")
        assert self.worker(index).works[-1] is work
        return work

    def answer(self, worker: Fake) -> Event | None:
        return self.fleet.handle(Answered(worker=worker, report=Report(env_steps=1, busy_s=0.0), payload="steps"))


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Crew]:
    def make(num_actors: int, **options: bool) -> Crew:
        made: list[Crew] = []
        monkeypatch.setattr(module.time, "monotonic", lambda: made[0].now if made else 1000.0)
        made.append(Crew(num_actors, **options))
        return made[0]

    return make


def test_a_worker_waits_for_a_place_makes_its_collector_and_is_free(crew: Callable[..., Crew]) -> None:
    one = crew(1, has_place=False)
    assert (one.fleet.num("pending"), one.fleet.free()) == (1, [])
    one.now += 1e6  # for a place it may wait as long as it takes
    assert one.fleet.overdue() == []
    assert one.fleet.handle(Placed(worker=one.worker(0))) is None
    assert (one.fleet.num("building"), one.fleet.free()) == (1, [])
    one.up(0)
    assert (one.fleet.num("up"), one.fleet.free(), one.fleet.is_busy) == (1, [0], False)
    work = one.submit(0)
    assert (one.fleet.free(), one.fleet.is_busy) == ([], True)
    event = one.answer(one.worker(0))
    assert isinstance(event, Collected)
    assert (event.work, event.payload, one.fleet.free()) == (work, "steps", [0])


def test_the_one_that_waits_longest_is_free_first(crew: Callable[..., Crew]) -> None:
    three = crew(3)
    for index in (2, 0, 1):
        three.now += 1.0
        three.up(index)
    assert three.fleet.free() == [2, 0, 1]
    three.submit(2)
    three.now += 1.0
    three.answer(three.worker(2))
    assert three.fleet.free() == [0, 1, 2]


def test_a_worker_that_dies_is_replaced_and_its_work_comes_back(crew: Callable[..., Crew]) -> None:
    two = crew(2)
    two.up(0, 1)
    work, dead = two.submit(1), two.worker(1)
    event = two.fleet.handle(Gone(worker=dead, reason="died: killed"))
    assert event == Lost(actor=1, work=work, reason="actor 1 (number 1) died: killed; a new one takes its place")
    assert dead.is_ended and two.worker(1) is not dead
    assert (two.fleet.num("up"), two.fleet.num("building"), two.fleet.free()) == (1, 1, [0])
    two.up(1)
    assert two.fleet.free() == [0, 1]
    event = two.fleet.handle(Gone(worker=two.worker(0), reason="died"))
    assert isinstance(event, Lost) and event.work is None  # it had nothing to do


def test_what_a_worker_says_after_it_was_replaced_counts_for_nothing(crew: Callable[..., Crew]) -> None:
    one = crew(1)
    one.up(0)
    one.submit(0)
    old = one.worker(0)
    one.fleet.handle(Gone(worker=old, reason="died"))
    assert one.answer(old) is None
    assert one.fleet.handle(Gone(worker=old, reason="died")) is None
    assert one.fleet.handle(Raised(worker=old, error=ValueError())) is None
    assert len(one.made) == 2


def test_five_losses_in_a_row_end_the_run_and_a_finished_unit_begins_a_new_row(crew: Callable[..., Crew]) -> None:
    two = crew(2)
    for row in range(3):
        for _ in range(MAX_LOST_IN_A_ROW - 1):
            two.up(0)
            two.submit(0)
            assert isinstance(two.fleet.handle(Gone(worker=two.worker(0), reason="died")), Lost)
        if row < 2:
            two.up(0)
            two.submit(0)
            assert isinstance(two.answer(two.worker(0)), Collected)
    two.fleet.handle(Gone(worker=two.worker(1), reason="died"))  # another place is another row
    with pytest.raises(
        RepeatedLossError,
        match=r"actor 0 \(number 0\): 5 workers in a row were lost without finishing a single unroll; the last one died: killed",
    ):
        two.fleet.handle(Gone(worker=two.worker(0), reason="died: killed"))


def test_an_error_of_the_work_is_no_loss_but_ends_no_row_either(crew: Callable[..., Crew]) -> None:
    one = crew(1)
    for _ in range(MAX_LOST_IN_A_ROW - 1):
        one.up(0)
        work = one.submit(0)
        error = ValueError("boom")
        assert one.fleet.handle(Raised(worker=one.worker(0), error=error)) == Failed(
            work=work, error=error, worker="actor 0 (number 0)"
        )
        assert one.fleet.free() == [0]  # it is well
        one.fleet.handle(Gone(worker=one.worker(0), reason="died"))
    with pytest.raises(RepeatedLossError):
        one.fleet.handle(Gone(worker=one.worker(0), reason="died"))


def test_a_collector_that_cannot_be_built_is_a_failure_without_work(crew: Callable[..., Crew]) -> None:
    one = crew(1)
    event = one.fleet.handle(Raised(worker=one.worker(0), error=FileNotFoundError("no such robot")))
    assert isinstance(event, Failed)
    assert (event.work, event.worker, one.fleet.free()) == (None, "actor 0 (number 0)", [])


def test_a_worker_that_does_not_answer_in_time_is_ended_and_replaced(crew: Callable[..., Crew]) -> None:
    three = crew(3)
    three.up(0, 1)
    three.now += 1e6
    assert [event.actor for event in three.fleet.overdue() if isinstance(event, Lost)] == [2]  # making its environments for ages
    three.up(2)
    work = three.submit(0)
    hanging = three.worker(0)
    three.now += 10.0
    assert three.fleet.overdue() == []
    three.submit(1)  # whose time begins now
    three.now += 1.0
    (event,) = three.fleet.overdue()
    assert event == Lost(actor=0, work=work, reason="actor 0 (number 0) hung: no answer for 11 s; a new one takes its place")
    assert hanging.is_ended
    assert three.fleet.overdue() == []  # the new one has its time
    three.now += BUILD_DEADLINE_S
    assert [event.actor for event in three.fleet.overdue() if isinstance(event, Lost)] == [1]  # 2 has nothing to do
    three.now += 1.0
    assert [event.actor for event in three.fleet.overdue() if isinstance(event, Lost)] == [0]


def test_five_that_hang_in_a_row_end_the_run(crew: Callable[..., Crew]) -> None:
    one = crew(1)
    for _ in range(MAX_LOST_IN_A_ROW - 1):
        one.now += BUILD_DEADLINE_S + 1
        assert len(one.fleet.overdue()) == 1
    one.now += BUILD_DEADLINE_S + 1
    with pytest.raises(RepeatedLossError, match="the last one hung: no answer for 301 s"):
        one.fleet.overdue()


def test_a_thread_that_hangs_is_left_where_it_is(crew: Callable[..., Crew]) -> None:
    """A second one beside it would only take its core away."""
    one = crew(1, can_be_ended=False)
    one.up(0)
    one.submit(0)
    one.now += 1e6
    assert one.fleet.overdue() == []
    assert one.fleet.must_drain
    assert isinstance(one.answer(one.worker(0)), Collected)
    assert not one.fleet.must_drain


def test_those_that_are_taken_away_go_at_once_and_nothing_is_wrong_with_their_work(crew: Callable[..., Crew]) -> None:
    four = crew(4)
    four.up(0, 1, 2)
    work = four.submit(1)
    going = [four.worker(index) for index in (1, 2, 3)]  # at work, with nothing to do, and not up yet
    assert four.fleet.resize(1) == [Lost(actor=1, work=work, reason="actor 1 (number 1) was taken away", is_wanted=True)]
    assert all(worker.is_ended for worker in going)
    assert [four.answer(worker) for worker in going] == [None] * 3
    assert (four.fleet.num_actors, four.fleet.free(), len(four.fleet.watched())) == (1, [0], 1)
    assert not four.fleet.must_drain


def test_a_fleet_grows_by_those_that_are_missing(crew: Callable[..., Crew]) -> None:
    one = crew(1)
    one.up(0)
    one.submit(0)
    assert one.fleet.resize(3) == []
    assert [worker.index for worker in one.made] == [0, 1, 2]
    one.up(2)
    assert one.fleet.free() == [2]
    assert isinstance(one.answer(one.worker(0)), Collected)


def test_a_removed_thread_finishes_its_work_and_gets_no_other(crew: Callable[..., Crew]) -> None:
    two = crew(2, can_be_ended=False)
    two.up(0, 1)
    work, leaving = two.submit(1), two.worker(1)
    assert two.fleet.resize(1) == []
    assert (two.fleet.free(), leaving.is_ended, two.fleet.is_busy) == ([0], False, True)
    event = two.answer(leaving)
    assert isinstance(event, Collected) and event.work is work
    assert (leaving.is_ended, two.fleet.is_busy, len(two.fleet.watched())) == (True, False, 1)


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_removed_thread_that_does_not_finish_is_given_up(crew: Callable[..., Crew], how: str) -> None:
    two = crew(2, can_be_ended=False)
    two.up(0, 1)
    work, leaving = two.submit(1), two.worker(1)
    two.fleet.resize(1)
    signal = Gone(worker=leaving, reason="died") if how == "dies" else Raised(worker=leaving, error=ValueError())
    event = two.fleet.handle(signal)
    assert event is not None and event.work is work  # type: ignore[union-attr]
    assert not isinstance(event, Lost) or event.is_wanted
    assert len(two.fleet.watched()) == 1 and len(two.made) == 2  # nobody takes the place of one that was to go


def test_a_worker_that_the_backend_rejects_is_replaced_by_one_of_another_type(crew: Callable[..., Crew]) -> None:
    """A single thread makes room for processes, after its work is done; both have the same index for a while."""
    one = crew(1, can_be_ended=False)
    one.up(0)
    work, thread = one.submit(0), one.worker(0)
    one.can_be_ended = True
    one.fleet.stays = lambda worker: worker.can_be_ended  # type: ignore[method-assign]
    assert one.fleet.resize(2) == []
    assert [worker.can_be_ended for worker in one.made] == [False, True, True]
    one.up(0, 1)
    other = one.submit(0, round_=1)
    event = one.answer(thread)
    assert isinstance(event, Collected) and event.work is work
    event = one.answer(one.worker(0))
    assert isinstance(event, Collected) and event.work is other
    assert sorted(one.fleet.free()) == [0, 1]


def test_the_end_ends_everybody(crew: Callable[..., Crew]) -> None:
    three = crew(3, can_be_ended=False)
    three.up(0, 1, 2)
    three.submit(2)
    three.fleet.resize(2)
    three.fleet.close()
    assert all(worker.is_ended for worker in three.made)
    assert three.fleet.watched() == []
    assert three.answer(three.made[2]) is None


@pytest.mark.parametrize("can_be_ended", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_every_unit_of_work_comes_back_once(
    crew: Callable[..., Crew], can_be_ended: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LOST_IN_A_ROW", 10**9)
    rng = random.Random(seed)
    some = crew(3, can_be_ended=can_be_ended)
    under_way: dict[int, Work] = {}
    outcomes = {Collected: 0, Failed: 0, Lost: 0}

    def settle(events: list[Event]) -> None:
        for event in events:
            assert isinstance(event, Collected | Failed | Lost)
            outcomes[type(event)] += 1
            if event.work is not None:
                assert under_way.pop(event.work.round) is event.work

    for number in range(2000):
        some.now += 3 * rng.random()
        if (free := some.fleet.free()) and rng.random() < 0.8:
            under_way[number] = some.submit(free[0], number)
        worker = rng.choice(some.made[-20:] if rng.random() < 0.2 else [one for one in some.made if not one.is_ended])
        dice = rng.random()
        supervisor = some.fleet._by_worker.get(worker)
        if supervisor is not None and supervisor.state == "building":
            some.fleet.handle(Ready(worker=worker))
        elif supervisor is None or supervisor.work is not None:
            signals = Raised(worker=worker, error=ValueError()), Gone(worker=worker, reason="died")
            event = some.answer(worker) if dice < 0.8 else some.fleet.handle(signals[dice < 0.85])
            settle([] if event is None else [event])
        if rng.random() < 0.05:
            settle(some.fleet.resize(rng.randrange(1, 5)))
        settle(some.fleet.overdue())
        assert sorted(some.fleet.supervisors) == list(range(some.fleet.num_actors))
        at_work = {one.work.round for one in some.fleet.watched() if one.work is not None}
        assert at_work == set(under_way)
        watched = [one.worker for one in some.fleet.watched()]
        assert {id(one) for one in some.made if not one.is_ended} == {id(one) for one in watched}
    assert min(outcomes.values()) > 10
