"""Curves and comparisons: by hand, where episodes are long, late or never end, and task by task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.adaptation import AdaptedLife, Learner
from actors.lifetimes import LivedEpisode
from cluster.adaptation.figures import MAX_BORDERS, Group, compare, grid, make_curve, make_groups, on_grid
from cluster.adaptation.plot import draw, name_of
from envs.errors import InvalidInputError
from envs.task import Split, Task

NAN = float("nan")


def episodes(*ends_and_returns: tuple[int, float]) -> tuple[LivedEpisode, ...]:
    return tuple(LivedEpisode(life=0, end_step=end, episode_return=value, length=1) for end, value in ends_and_returns)


def life(number: int, fitness: float, *, learner: Learner = "learned", split: Split = "test", ends: int = 4) -> AdaptedLife:
    lived = episodes(*((16 * k, fitness - 4 + k) for k in range(1, ends + 1)))
    return AdaptedLife(learner=learner, split=split, life=number, task=Task(family="x"), fitness=fitness, episodes=lived)


def groups_of(lives: list[AdaptedLife]) -> list[Group]:
    return make_groups(lives, num_updates=8, update_every=8)


def test_a_value_is_the_mean_since_the_border_before_and_holds_where_nothing_ended() -> None:
    lived = episodes((3, 1.0), (10, 2.0), (11, 6.0), (40, 5.0))
    np.testing.assert_array_equal(on_grid(lived, np.array([2, 10, 20, 30, 40])), [NAN, 1.5, 6.0, 6.0, 5.0])


@pytest.mark.parametrize("num_updates", [1, 2, 7, 63, 64, 65, 100, 1000])
def test_the_grid_is_of_update_borders_up_to_the_last(num_updates: int) -> None:
    borders = grid(num_updates)
    assert borders[-1] == num_updates
    assert borders.size == min(num_updates, MAX_BORDERS)
    assert (np.diff(borders, prepend=0) >= 1).all()


def test_the_curve_begins_where_all_lives_have_a_value() -> None:
    early, late = episodes((5, 1.0), (25, 3.0)), episodes((18, 7.0))
    curve = make_curve([early, late], np.array([10, 20, 30]))
    assert curve is not None
    np.testing.assert_array_equal(curve.steps, [20, 30])
    np.testing.assert_array_equal(curve.mean, [4.0, 5.0])
    assert (curve.low <= curve.mean).all() and (curve.mean <= curve.high).all()
    assert curve.num_lives == 2


def test_lives_in_which_no_episode_ended_are_left_out() -> None:
    curve = make_curve([(), episodes((30, 7.0))], np.array([10, 20, 30]))
    assert curve is not None
    assert (curve.steps.tolist(), curve.mean.tolist(), curve.num_lives) == ([30], [7.0], 1)
    assert make_curve([(), ()], np.array([10, 20, 30])) is None


def test_learners_are_compared_task_by_task() -> None:
    """PPO is better on average over unequal tasks' spread, but the pairing sees that the learned loss wins by one each time, or ties."""
    hard = [0.0, 100.0, -50.0, 30.0]
    lives = [life(number, base, learner="ppo") for number, base in enumerate(hard)]
    lives += [life(number, hard[number] + (0.0 if number == 3 else 1.0)) for number in (2, 0, 1, 3)]  # in another order
    (comparison,) = compare(groups_of(lives))
    assert comparison.difference.value == pytest.approx(0.75)
    assert comparison.difference.low is not None and comparison.difference.low >= 0.0
    assert comparison.share_won.value == pytest.approx(0.875)
    assert comparison.num_tasks == 4


def test_without_a_baseline_there_is_no_comparison() -> None:
    assert compare(groups_of([life(0, 1.0), life(1, 2.0)])) == []


def test_a_picture_of_both_sides(tmp_path: Path) -> None:
    learners: tuple[Learner, ...] = ("learned", "ppo")
    sides: tuple[Split, ...] = ("train", "test")
    groups = groups_of([life(k, k + 1.0, learner=one, split=side) for side in sides for one in learners for k in range(3)])
    assert [name_of(group, groups) for group in groups] == [
        "learned loss, training tasks",
        "PPO, training tasks",
        "learned loss, held-out tasks",
        "PPO, held-out tasks",
    ]
    assert [name_of(group, groups[:2]) for group in groups[:2]] == ["learned loss", "PPO"]
    draw(groups, tmp_path / "both.png", title="x")
    assert (tmp_path / "both.png").stat().st_size > 10_000


def test_a_picture_where_no_episode_ended_shows_the_fitness(tmp_path: Path) -> None:
    groups = groups_of([life(k, k + 1.0, ends=0) for k in range(3)])
    assert groups[0].curve is None
    draw(groups, tmp_path / "none.svg", title="x")
    assert "learned loss" in (tmp_path / "none.svg").read_text()


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot write the picture"):
        draw(groups_of([life(0, 1.0), life(1, 2.0)]), tmp_path / "nowhere" / "a.png", title="x")
