"""The bootstrap of a mean: against every resample that there is, and against the same draws made one value at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cluster.bootstrap import interval, mean_estimate, mean_intervals, resamples


def test_an_interval_is_that_of_all_resamples() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    everything = np.array([np.mean(drawn) for drawn in itertools.product(values, repeat=4)])
    low, high = interval(everything)
    estimate = mean_estimate(values.tolist(), num_resamples=100_000)
    assert estimate.value == 4.0
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.26), pytest.approx(high, abs=0.26))  # a step of the ladder


def test_counting_draws_is_drawing_values() -> None:
    values = np.random.default_rng(1).normal(size=(12, 3)) * [1.0, 10.0, 0.1] + [5.0, 0.0, -2.0]
    got = mean_intervals(values, num_resamples=50_000)
    for column in range(3):
        drawn = resamples([values[None, :, column]], np.random.default_rng(2), 50_000)[0].mean(axis=1)
        width = np.ptp(interval(drawn))
        np.testing.assert_allclose(got[1:, column], interval(drawn), atol=0.02 * width)
    np.testing.assert_allclose(got[0], values.mean(axis=0))


def test_figures_of_the_same_values_share_their_draws() -> None:
    values = np.random.default_rng(3).normal(size=(9, 1))
    got = mean_intervals(np.concatenate([values, 2 * values + 1], axis=1))
    np.testing.assert_allclose(got[:, 1], 2 * got[:, 0] + 1)


def test_the_draws_are_seeded() -> None:
    values = [3.0, 1.0, 2.0, 7.0, 5.0]
    assert mean_estimate(values) == mean_estimate(values)
    assert mean_estimate(values, num_resamples=50) != mean_estimate(values, num_resamples=50, seed=1)


def test_a_single_value_has_no_interval() -> None:
    estimate = mean_estimate([3.5])
    assert (estimate.value, estimate.low, estimate.high) == (3.5, None, None)
