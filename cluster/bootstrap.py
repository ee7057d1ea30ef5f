"""The percentile bootstrap: how far a figure would have come out elsewhere, had other seeds been drawn.

    draw the values anew, with replacement and as many as there are;  what the figure then is, R times;  the middle 95 % of that

Every draw is seeded, so a report that is written twice says the same.

Reference: Efron and Tibshirani (1993), chapter 13. Letters: R resamples, G groups, S values of a group, X figures taken of the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 10_000
"""The ends of an interval then move by about a hundredth of its width from one root of the draws to the next."""

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; `low` and `high` are None where there was nothing to draw from."""

    value: float
    low: float | None
    high: float | None


def resamples(groups: Sequence[np.ndarray], rng: np.random.Generator, num_resamples: int) -> list[np.ndarray]:
    """Draw the values of each group anew, from that group's own and as many as it has: G arrays [1, S] -> G arrays [R, S]."""
    return [group[0, rng.integers(group.shape[1], size=(num_resamples, group.shape[1]))] for group in groups]


def interval(figures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the middle 95 % of figures [R, ...], each [...]."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(figures, (tail, 100 - tail), axis=0)
    return low, high


def mean_intervals(values: np.ndarray, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Return mean and ends of its interval, each figure's own but all by the same draws of values: [S, X] -> [3, X].

    How often each of S values is drawn is multinomial, so the means of all resamples are one product.

    Args:
        values: S of them, one at least.
        seed: root of the draws.
        num_resamples: R.
    """
    num_values = values.shape[0]
    counts = np.random.default_rng(seed).multinomial(num_values, np.full(num_values, 1 / num_values), size=num_resamples)
    low, high = interval(counts @ values / num_values)
    return np.stack([values.mean(axis=0), low, high])


def mean_estimate(values: Sequence[float], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Estimate:
    """Return the mean of S values with its interval; no interval for a single value."""
    if len(values) == 1:
        return Estimate(value=float(values[0]), low=None, high=None)
    mean, low, high = mean_intervals(np.array(values, np.float64)[:, None], seed=seed, num_resamples=num_resamples)[:, 0]
    return Estimate(value=float(mean), low=float(low), high=float(high))
