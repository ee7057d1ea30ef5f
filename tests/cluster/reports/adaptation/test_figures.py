"""Curves and comparisons: computed by hand, where episodes are long, late or never end, and task by task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.fresh_policies import AdaptedPolicy, Learner
from actors.inner_loop_buffer import InnerEpisode
from cluster.reports.adaptation.figures import MAX_GRID, Group, compare, grid, make_curve, make_groups, on_grid
from cluster.reports.adaptation.plot import draw, name_of
from cluster.reports.adaptation.report import content, is_failed, warnings
from envs.errors import InvalidInputError
from envs.task import Split, Task
from learners.learned_loss.inner_loop import LifetimeConfig

NAN = float("nan")


def episodes(*ends_and_returns: tuple[int, float]) -> tuple[InnerEpisode, ...]:
    return tuple(InnerEpisode(lifetime=0, end_step=end, episode_return=value, length=1) for end, value in ends_and_returns)


def lifetime(number: int, fitness: float, *, learner: Learner = "learned", split: Split = "test", ends: int = 4) -> AdaptedPolicy:
    finished = episodes(*((16 * k, fitness - 4 + k) for k in range(1, ends + 1)))
    return AdaptedPolicy(learner=learner, split=split, number=number, task=Task(family="x"), fitness=fitness, episodes=finished)


def groups_of(lifetimes: list[AdaptedPolicy]) -> list[Group]:
    return make_groups(lifetimes, num_updates=8, update_every=8)


def test_a_value_is_the_mean_since_the_border_before_and_holds_where_nothing_ended() -> None:
    finished = episodes((3, 1.0), (10, 2.0), (11, 6.0), (40, 5.0))
    np.testing.assert_array_equal(on_grid(finished, np.array([2, 10, 20, 30, 40])), [NAN, 1.5, 6.0, 6.0, 5.0])


@pytest.mark.parametrize("num_updates", [1, 2, 7, 63, 64, 65, 100, 1000])
def test_the_grid_is_of_update_borders_up_to_the_last(num_updates: int) -> None:
    borders = grid(num_updates)
    assert borders[-1] == num_updates
    assert borders.size == min(num_updates, MAX_GRID)
    assert (np.diff(borders, prepend=0) >= 1).all()


def test_the_curve_begins_where_all_lifetimes_have_a_value() -> None:
    early, late = episodes((5, 1.0), (25, 3.0)), episodes((18, 7.0))
    curve = make_curve([early, late], np.array([10, 20, 30]))
    assert curve is not None
    np.testing.assert_array_equal(curve.steps, [20, 30])
    np.testing.assert_array_equal(curve.mean, [4.0, 5.0])
    assert (curve.low <= curve.mean).all() and (curve.mean <= curve.high).all()
    assert curve.num_lifetimes == 2


def test_lifetimes_in_which_no_episode_ended_are_left_out() -> None:
    curve = make_curve([(), episodes((30, 7.0))], np.array([10, 20, 30]))
    assert curve is not None
    assert (curve.steps.tolist(), curve.mean.tolist(), curve.num_lifetimes) == ([30], [7.0], 1)
    assert make_curve([(), ()], np.array([10, 20, 30])) is None


def test_learners_are_compared_task_by_task() -> None:
    """PPO is better on average over unequal tasks' spread, but the pairing sees that the learned loss wins by one each time, or ties."""
    hard = [0.0, 100.0, -50.0, 30.0]
    lifetimes = [lifetime(number, base, learner="ppo") for number, base in enumerate(hard)]
    lifetimes += [lifetime(number, hard[number] + (0.0 if number == 3 else 1.0)) for number in (2, 0, 1, 3)]  # in another order
    (comparison,) = compare(groups_of(lifetimes))
    assert comparison.difference.value == pytest.approx(0.75)
    assert comparison.difference.low is not None and comparison.difference.high is not None
    assert -1.0 < comparison.difference.low < 0.75 < comparison.difference.high < 2.0  # the tasks are 60 apart
    assert comparison.share_won.value == pytest.approx(0.875)
    assert comparison.num_tasks == 4


@pytest.mark.parametrize(("gap", "low", "high"), [(1.0, 0.025 ** (1 / 32), 1.0), (-1.0, 0.0, 1 - 0.025 ** (1 / 32))])
def test_a_learner_that_wins_on_all_tasks_or_none_may_yet_do_otherwise(gap: float, low: float, high: float) -> None:
    lifetimes = [lifetime(number, float(number), learner="ppo") for number in range(32)]
    lifetimes += [lifetime(number, number + gap) for number in range(32)]
    (comparison,) = compare(groups_of(lifetimes))
    share = comparison.share_won
    assert (share.value, share.low, share.high) == (max(gap, 0.0), pytest.approx(low), pytest.approx(high))
    assert (
        comparison.difference.low is comparison.difference.high is None
    )  # all by the same: nothing says how far others would lie


def test_a_curve_has_no_interval_where_all_lifetimes_have_the_same_value() -> None:
    curve = make_curve([episodes((10, -5.0), (20, 1.0)), episodes((10, -5.0), (20, 4.0))], np.array([10, 20]))
    assert curve is not None
    assert np.isnan([curve.low[0], curve.high[0]]).all()
    assert curve.low[1] < 1.0 and curve.high[1] > 4.0


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_lifetimes_that_are_not_finite_are_left_out_of_every_figure_and_named(bad: float, tmp_path: Path) -> None:
    """Lifetime 1 has no fitness under the learned loss, lifetime 2 none under PPO, and lifetime 3 of PPO a training return that is none."""
    lifetimes = [lifetime(number, number + 2.0) for number in range(5)] + [
        lifetime(number, float(number), learner="ppo") for number in range(5)
    ]
    broken = {1: {"fitness": bad, "not_finite": "observation"}, 7: {"fitness": bad, "not_finite": "reward"}}
    lifetimes = [replace(one, **broken.get(place, {})) for place, one in enumerate(lifetimes)]  # type: ignore[arg-type]
    lifetimes[8] = replace(lifetimes[8], episodes=episodes((16, bad), (32, 1.0)), not_finite="reward")
    groups = groups_of(lifetimes)
    learned, ppo = groups
    assert (learned.fitness.value, ppo.fitness.value) == (
        pytest.approx(np.mean([2, 4, 5, 6])),
        pytest.approx(np.mean([0, 1, 3, 4])),
    )
    assert [[one.number for one in group.not_finite] for group in groups] == [[1], [2, 3]]
    assert learned.curve is not None and ppo.curve is not None
    assert (learned.curve.num_lifetimes, ppo.curve.num_lifetimes) == (5, 4)
    assert np.isfinite(ppo.curve.mean).all()
    (comparison,) = compare(groups)
    assert (comparison.num_tasks, comparison.difference.value, comparison.share_won.value) == (3, 2.0, 1.0)
    assert warnings(groups, 0, LifetimeConfig()) == [
        "learned loss, held-out tasks: 1 of 5 lifetimes are not finite (observation: lifetime 1); they are left out of the figures",
        "PPO, held-out tasks: 2 of 5 lifetimes are not finite (reward: lifetimes 2, 3); they are left out of the figures",
    ]
    draw(groups, tmp_path / "some.png", title="x")
    assert json.loads(json.dumps(content(groups, [comparison]), allow_nan=False))["lives"][1]["not_finite"] == "observation"


def test_where_no_lifetime_is_finite_there_is_no_figure_and_a_line_that_says_so(tmp_path: Path) -> None:
    nothing = [replace(lifetime(number, NAN), episodes=episodes((16, NAN)), not_finite="reward") for number in range(3)]
    groups = groups_of([*nothing, *(lifetime(number, 1.0, learner="ppo") for number in range(3))])
    (comparison,) = compare(groups)
    assert np.isnan([groups[0].fitness.value, comparison.difference.value]).all()
    assert (groups[0].curve, groups[0].fitness.low, comparison.num_tasks) == (None, None, 0)
    assert [is_failed(group) for group in groups] == [True, False]
    (line,) = warnings(groups, 0, LifetimeConfig())
    assert line.startswith(
        "the adaptation failed: learned loss, held-out tasks: 3 of 3 lifetimes are not finite (reward: lifetimes 0, 1, 2); look"
    )
    draw(groups, tmp_path / "none.png", title="x")
    assert json.dumps(content(groups, [comparison]), allow_nan=False)


def test_without_a_baseline_there_is_no_comparison() -> None:
    assert compare(groups_of([lifetime(0, 1.0), lifetime(1, 2.0)])) == []


def test_a_picture_of_both_sides(tmp_path: Path) -> None:
    learners: tuple[Learner, ...] = ("learned", "ppo")
    sides: tuple[Split, ...] = ("train", "test")
    groups = groups_of([lifetime(k, k + 1.0, learner=one, split=side) for side in sides for one in learners for k in range(3)])
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
    groups = groups_of([lifetime(k, k + 1.0, ends=0) for k in range(3)])
    assert groups[0].curve is None
    draw(groups, tmp_path / "none.svg", title="x")
    assert "learned loss" in (tmp_path / "none.svg").read_text()


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot write the plot"):
        draw(groups_of([lifetime(0, 1.0), lifetime(1, 2.0)]), tmp_path / "nowhere" / "a.png", title="x")
