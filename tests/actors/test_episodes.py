"""Returns in the order of their episodes' starts: against a sort of everything, and unbiased by length."""

from __future__ import annotations

import numpy as np
import pytest

from actors.episodes import SettledReturns


def course(num_envs: int, num_steps: int, seed: int, longest: int = 20) -> list[list[int]]:
    """Which slots' episodes end at each step."""
    rng = np.random.default_rng(seed)
    left = rng.integers(1, longest, size=num_envs)
    ends = []
    for _ in range(num_steps):
        left -= 1
        over = np.flatnonzero(left == 0)
        left[over] = rng.integers(1, longest, size=over.size)
        ends.append(over.tolist())
    return ends


@pytest.mark.parametrize("seed", range(5))
def test_it_is_a_sort_by_start_of_all_that_has_nothing_earlier_running(seed: int) -> None:
    settled, got = SettledReturns(7), list[float]()
    starts, all_ended = np.zeros(7, np.int64), list[tuple[int, int, float]]()
    for clock, over in enumerate(course(7, 300, seed), start=1):
        settled.tick()
        for slot in over:
            value = float(clock * 10 + slot)
            settled.end(slot, value)
            all_ended.append((int(starts[slot]), slot, value))
            starts[slot] = clock
        if clock % 3 == 0:
            got += settled.take()
            assert got == [value for start, _, value in sorted(all_ended) if start < starts.min()]
    assert len(got) > 100


def test_an_episode_that_never_ends_holds_back_what_began_after_it() -> None:
    settled = SettledReturns(2)
    for _ in range(5):
        settled.tick()
        settled.end(0, 1.0)
    assert settled.take() == ()
    settled.tick()
    settled.end(1, -1.0)
    assert settled.take() == (1.0, -1.0, 1.0, 1.0, 1.0, 1.0)


def test_it_continues_from_its_state() -> None:
    ends = course(5, 200, 3)
    whole, part = SettledReturns(5), SettledReturns(5)
    got: list[float] = []
    for clock, over in enumerate(ends):
        for one in (whole, part):
            one.tick()
            for slot in over:
                one.end(slot, float(clock + slot))
        if clock == 90:
            other = SettledReturns(5)
            other.restore(part.state())
            part = other
        got += part.take()
    assert tuple(got) == whole.take()
