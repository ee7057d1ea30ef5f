"""Intervals: their coverage, against every resample that there is, and where there is none."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from cluster.reports.bootstrap import FARTHEST, Estimate, grouped_estimate, mean_estimate, mean_intervals, share_estimate
from cluster.reports.quantiles import student_quantile

SAMPLES, AT_ONCE = 8000, 2000
"""An interval that is right 95 % of the time is so in 94.3 to 95.7 % of 8,000 samples (3 standard errors); 92 % is ten away."""

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def paired(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Differences of two learners' returns, task by task: how hard a task is is in both, and ten times the size."""
    hardness = 10 * rng.exponential(size=shape)
    return (rng.normal(size=shape) - hardness) - (2 * rng.normal(size=shape) - hardness)


SYMMETRIC: dict[str, Draw] = {"normal": lambda rng, shape: rng.normal(size=shape), "paired": paired}
SKEWED: dict[str, tuple[Draw, float, dict[int, float]]] = {
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0, {4: 0.925, 8: 0.93, 16: 0.945, 32: 0.95}),
    "log-normal": (lambda rng, shape: rng.lognormal(size=shape), math.exp(0.5), {4: 0.885, 8: 0.895, 16: 0.91, 32: 0.93}),
}
"""Draws, their mean, and how often a sample of so many holds it at least: short of 95 %, and far above the 77 and 69 % of a percentile."""


def held(draw: Draw, truth: float, num_values: int) -> float:
    """The share of intervals of `num_values` values that hold the truth."""
    rng, holds = np.random.default_rng(num_values), []
    for seed in range(SAMPLES // AT_ONCE):
        _, low, high = mean_intervals(draw(rng, (num_values, AT_ONCE)), seed=seed, num_resamples=500)
        holds.append((low <= truth) & (truth <= high))
    return float(np.mean(holds))


@pytest.mark.parametrize("num_values", [4, 8, 16, 32])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says(name: str, num_values: int) -> None:
    assert 0.944 <= held(SYMMETRIC[name], 0.0, num_values) <= 0.98


@pytest.mark.parametrize("num_values", [4, 8, 16, 32])
@pytest.mark.parametrize("name", SKEWED)
def test_the_interval_of_a_skewed_mean_holds_the_truth_nearly_as_often(name: str, num_values: int) -> None:
    draw, truth, least = SKEWED[name]
    assert least[num_values] <= held(draw, truth, num_values) <= 0.98


@pytest.mark.parametrize("num_values", [2, 3])
def test_two_or_three_values_have_students_interval(num_values: int) -> None:
    values = np.array([3.0, 1.0, 7.0])[:num_values]
    reach = student_quantile(0.975, num_values - 1) * values.std(ddof=1) / math.sqrt(num_values)
    estimate = mean_estimate(values.tolist())
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert 0.94 <= held(SYMMETRIC["normal"], 0.0, num_values) <= 0.96


def every_ratio(values: np.ndarray) -> list[float]:
    """(mean* - mean) / se* of every resample there is, ends beyond the limit at it."""
    size, found = values.size, []
    limit = FARTHEST * student_quantile(0.975, size - 1)
    for drawn in itertools.product(values.tolist(), repeat=size):
        gap, error = np.mean(drawn) - values.mean(), np.std(drawn, ddof=1) / math.sqrt(size)
        ratio = gap / error if error > 1e-9 else math.copysign(math.inf, gap) if abs(gap) > 1e-9 else 0.0
        found.append(float(np.clip(ratio, -limit, limit)))
    return sorted(found)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 9.0, 30.0], [-3.0, 0.0, 0.0, 0.0, 2.5]], ids=["skewed", "ties"])
def test_an_end_is_the_farther_of_students_and_that_of_every_resample(values: list[float]) -> None:
    array = np.array(values)
    ratios, student = every_ratio(array), student_quantile(0.975, array.size - 1)
    error = array.std(ddof=1) / math.sqrt(array.size)
    estimate = mean_estimate(values, num_resamples=100_000)
    assert estimate.low is not None and estimate.high is not None
    for reached, side in (
        ((array.mean() - estimate.low) / error, ratios),
        ((estimate.high - array.mean()) / error, [-r for r in reversed(ratios)]),
    ):
        # the quantile of the draws lies between those of the truth a little to either side
        least, most = (max(side[round(share * len(side))], student) for share in (0.972, 0.978))
        assert least - 1e-9 <= reached <= most + 1e-9


def test_the_longer_tail_has_the_farther_end_but_never_twice_as_far_as_students() -> None:
    values = np.array([0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 20.0, 0.0])
    estimate = mean_estimate(values.tolist())
    reach = student_quantile(0.975, 7) * values.std(ddof=1) / math.sqrt(8)
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - reach, values.mean() + FARTHEST * reach))
    mirrored = mean_estimate((-values).tolist())
    assert (mirrored.low, mirrored.high) == pytest.approx((-values.mean() - FARTHEST * reach, -values.mean() + reach))


def test_figures_of_the_same_values_share_their_draws() -> None:
    values = np.random.default_rng(3).normal(size=(9, 1))
    got = mean_intervals(np.concatenate([values, 2 * values + 1, values + 1e6], axis=1))
    np.testing.assert_allclose(got[:, 1], 2 * got[:, 0] + 1)
    np.testing.assert_allclose(got[:, 2], got[:, 0] + 1e6)


def test_the_draws_are_seeded() -> None:
    values = [3.0, 1.0, 2.0, 7.0, 5.0]
    assert mean_estimate(values) == mean_estimate(values)
    assert mean_estimate(values, num_resamples=50) != mean_estimate(values, num_resamples=50, seed=1)


NOTHING_TO_SAY = {
    "single": [3.5],
    "same": [-0.1] * 7,
    "rounding": [0.1 + 0.2, 0.3, 0.3],
    "nan": [1.0, math.nan, 2.0],
    "inf": [1.0, -math.inf],
}


@pytest.mark.parametrize("values", NOTHING_TO_SAY.values(), ids=NOTHING_TO_SAY)
def test_values_that_do_not_say_how_far_others_would_lie_have_no_interval(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.value == pytest.approx(np.mean(values), nan_ok=True)


def test_one_figure_without_an_interval_takes_none_from_the_others() -> None:
    values = np.random.default_rng(0).normal(size=(6, 3))
    alone = mean_intervals(values[:, :1])
    values[:, 1], values[2, 2] = 4.0, math.nan
    got = mean_intervals(values)
    np.testing.assert_allclose(got[:, 0], alone[:, 0])
    assert got[0, 1] == 4.0 and np.isnan(got[1:, 1:]).all()


def shares(num_tasks: int) -> list[Estimate]:
    """Of every number of half wins that there is."""
    return [
        share_estimate([1.0] * (k // 2) + [0.5] * (k % 2) + [0.0] * (num_tasks - (k + 1) // 2)) for k in range(2 * num_tasks + 1)
    ]


@pytest.mark.parametrize("num_tasks", [1, 2, 4, 8, 16, 32])
def test_the_interval_of_a_share_holds_the_truth_whatever_it_is_and_with_ties(num_tasks: int) -> None:
    """Not sampled: the probabilities of all outcomes are added up."""
    found = shares(num_tasks)
    for ties, truth in itertools.product((0.0, 0.1, 0.5, 0.9), np.linspace(0.01, 0.99, 99)):
        won = truth - ties / 2
        if not 0 <= won <= 1 - ties:
            continue
        outcomes = np.array([1.0])
        for _ in range(num_tasks):
            outcomes = np.convolve(outcomes, [1 - ties - won, ties, won])
        holds = [one.low is not None and one.high is not None and one.low <= truth <= one.high for one in found]
        assert outcomes[holds].sum() >= 0.95, (ties, truth)


def test_a_share_stays_between_nothing_and_all_and_is_unsure_even_there() -> None:
    none, every = share_estimate([0.0] * 32), share_estimate([1.0] * 32)
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 32)))
    assert (every.value, every.low, every.high) == (1.0, pytest.approx(0.025 ** (1 / 32)), 1.0)
    half = share_estimate([1, 1, 0, 0, 0.5, 0.5, 1, 0, 1, 0])
    assert (half.low, half.high) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))


@pytest.mark.parametrize("outcomes", [[], [1.0, math.nan]], ids=["of nothing", "nan"])
def test_a_share_of_what_is_not_known_has_no_interval(outcomes: list[float]) -> None:
    estimate = share_estimate(outcomes)
    assert math.isnan(estimate.value) and estimate.low is estimate.high is None


def grand_mean(groups: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean([group.mean(axis=1) for group in groups], axis=0))


def test_the_mean_of_one_group_has_students_interval() -> None:
    values = np.array([4.0, 1.0, 2.0, 9.0, 5.0])
    estimate = grouped_estimate(grand_mean, [values[None]], num_resamples=100_000)
    reach = student_quantile(0.975, 4) * values.std(ddof=1) / math.sqrt(5)
    assert (estimate.low, estimate.high) == (
        pytest.approx(4.2 - reach, abs=0.02 * reach),
        pytest.approx(4.2 + reach, abs=0.02 * reach),
    )


def test_groups_of_unequal_size_and_spread_have_welchs_interval() -> None:
    first, second = np.array([1.0, 5.0, 2.0]), np.array([30.0, 11.0, 25.0, 19.0, 16.0, 40.0])
    estimate = grouped_estimate(grand_mean, [first[None], second[None]], num_resamples=200_000)
    parts = np.array([one.var(ddof=1) / one.size / 4 for one in (first, second)])
    degrees = parts.sum() ** 2 / (parts**2 / [2, 5]).sum()
    assert estimate.high is not None
    assert estimate.high - estimate.value == pytest.approx(student_quantile(0.975, degrees) * math.sqrt(parts.sum()), rel=0.02)


def test_a_figure_that_is_the_same_in_all_resamples_has_no_interval() -> None:
    same = grouped_estimate(grand_mean, [np.full((1, 3), 0.1), np.full((1, 4), 0.7)])
    assert same.low is same.high is None and same.value == pytest.approx(0.4)
