"""95 % intervals over seeds, lifetimes or tasks that have the right coverage for few values too.

    a mean     mean -+ q s / sqrt(S), each end by the farther of two quantiles q: Student's, and the bootstrap's of (mean* - mean) / se*
    a share    Clopper and Pearson's: all shares under which the observed count is not in a tail of 2.5 %
    a figure   of several groups of values: figure -+ q se, se by the bootstrap within groups, q Student's with effective degrees of freedom

Coverage, measured over 20,000 samples (`tests/cluster/reports/test_bootstrap.py`), for means of S values:

    S                                     4      8      16     32
    normal                               97 %   97 %   96 %   96 %
    exponential                          93 %   94 %   95 %   96 %
    log-normal, sigma 1                  90 %   91 %   92 %   94 %
    normal, middle 95 % of resamples     80 %   89 %   92 %   93 %

The last row is the percentile bootstrap, and BCa is no better (79, 87, 92, 94 %): both take the spread of a sample for that of the
population, which is short by sqrt((S - 1) / S), and ignore its uncertainty. Dividing each resample by its own standard error corrects both
(Hall 1988; Efron and Tibshirani 1993, chapters 12 to 14; DiCiccio and Efron 1996). That bootstrap alone is too narrow for heavy tails
(92 % for t with 3 degrees, 32 values) and Student's for skewed ones (90 % for the exponential, 8 values), so the farther end is taken; for
normal values that is up to a quarter wider than Student's from 6 values on, and 3 % at 32. For the exponential it is 91 % at 2 values and
89 % at 3.

No interval accounts for an outcome that is not among the values: where one lifetime in five fails, four lifetimes show none 41 % of the
time. A single value has no interval, nor have values that are all equal.

Every draw is seeded, so the same report is written twice. Letters: R resamples, G groups, S values of a group, X figures taken
of the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.reports.quantiles import beta_quantile, student_quantile

NUM_RESAMPLES = 10_000
"""The ends of an interval then vary by about a hundredth of its width from one seed to the next."""

CONFIDENCE = 0.95

FEW, MANY = 4, 1000
"""Numbers of values between which a mean is resampled. Below, one resample in nine or more has no spread to divide by; above, R x S draws
would fill the memory, and skewness g moves an end by no more than 1.4 g / sqrt(S) standard errors."""

FARTHEST = 2.0
"""Limit of the bootstrap's quantile, in units of Student's. Resamples without spread, as ties or four values give, put it at infinity; with
this limit the coverage for the exponential is nearly the same, and intervals of four values are 1.5 times as wide as Student's, not 1.9."""

_SAME = 1e-12
"""Relative to the largest value: smaller spreads are rounding errors."""

Figure = Callable[[Sequence[np.ndarray]], np.ndarray]
"""G arrays [R, S], a resample a row -> the figure of each resample, [R]."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval; `low` and `high` are None where the values allow none."""

    value: float
    low: float | None
    high: float | None


def mean_intervals(values: np.ndarray, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Return mean and ends of its interval for each figure, all with the same resamples: [S, X] -> [3, X].

    The counts of S values in a resample are multinomial, so means and squares of all resamples are one matrix product each. The ends are
    NaN for a single value, for equal values, and where one is not finite.

    Args:
        values: S of them, one at least.
        seed: of the resamples.
        num_resamples: R.
    """
    num_values = values.shape[0]
    with np.errstate(invalid="ignore"):  # values that are not finite
        mean = values.mean(axis=0)
        deviation = values - mean
    found = np.stack([mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)])
    if num_values == 1:
        return found
    spread = np.sqrt((deviation**2).sum(axis=0) / (num_values - 1))
    has_spread = np.isfinite(spread) & (spread > _SAME * np.abs(values).max(axis=0))
    below, above = _quantiles(deviation[:, has_spread] / spread[has_spread], seed, num_resamples)
    error = spread[has_spread] / math.sqrt(num_values)
    found[1, has_spread] = mean[has_spread] - above * error
    found[2, has_spread] = mean[has_spread] - below * error
    return found


def _quantiles(standardised: np.ndarray, seed: int, num_resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper quantile of (mean* - mean) / se*, the farther of Student's and the bootstrap's: [S, X] -> [X], [X]."""
    num_values, num_figures = standardised.shape
    student = student_quantile((1 + CONFIDENCE) / 2, num_values - 1)
    if not FEW <= num_values <= MANY or not num_figures:
        return np.full(num_figures, -student), np.full(num_figures, student)
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(num_values, np.full(num_values, 1 / num_values), size=num_resamples) / num_values
    mean = shares @ standardised
    error = np.sqrt(np.maximum(shares @ standardised**2 - mean**2, 0.0) / (num_values - 1))
    # a resample without spread divides by a rounding error: clipped
    ratio = np.clip(mean / np.maximum(error, _SAME), -FARTHEST * student, FARTHEST * student)
    tail = 100 * (1 - CONFIDENCE) / 2
    below, above = np.percentile(ratio, (tail, 100 - tail), axis=0, overwrite_input=True)
    return np.minimum(below, -student), np.maximum(above, student)


def mean_estimate(values: Sequence[float], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Estimate:
    """Return the mean of S values, or of S paired differences, with its interval."""
    mean, low, high = mean_intervals(np.array(values, np.float64)[:, None], seed=seed, num_resamples=num_resamples)[:, 0].tolist()
    return Estimate(value=mean, low=None if math.isnan(low) else low, high=None if math.isnan(high) else high)


def share_estimate(outcomes: Sequence[float]) -> Estimate:
    """Return the share of wins in `outcomes` with Clopper and Pearson's interval, whose coverage is at least 95 % for every share.

    A mean's interval is not suitable: it leaves [0, 1], and 32 wins of 32 have no spread, where this one is 89 to 100 %. Wilson's (1927) is
    narrower, and its coverage is below 95 % for shares near 0 and 1, the interesting ones.

    Args:
        outcomes: S of them, each 1, 0, or 0.5 for a tie. Ties vary less than wins and losses, so the interval is conservative.
    """
    won, count = float(np.sum(outcomes)), len(outcomes)
    if not count or math.isnan(won):
        return Estimate(value=math.nan, low=None, high=None)
    tail = (1 - CONFIDENCE) / 2
    low = beta_quantile(tail, won, count - won + 1) if won > 0 else 0.0
    high = beta_quantile(1 - tail, won + 1, count - won) if won < count else 1.0
    return Estimate(value=won / count, low=low, high=high)


def grouped_estimate(
    figure: Figure, groups: Sequence[np.ndarray], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Return a figure of several groups of values with its interval: values are resampled within groups, groups are not.

    The figure's variance over resamples is too small, as S values drawn of S have (S - 1) / S of the population's variance, and it is
    uncertain where the figure depends on few values. Both depend on the share of each group, v_g: the sum of the squared covariances of the
    figure with the counts of the group's values.

        variance = Var* sum_g v_g S_g / (S_g - 1) / sum_g v_g         degrees of freedom = (sum_g u_g)^2 / sum_g u_g^2 / (S_g - 1)

    with u_g = v_g S_g / (S_g - 1). For the mean of one group it is Student's interval.

    Args:
        figure: computed for each resample.
        groups: G arrays [1, S]; a group of a single value has no spread in the interval.
        seed: of the resamples.
        num_resamples: R.

    Reference: Rao and Wu (1988) on the scale; Efron (2014), theorem 1, on the covariances; Satterthwaite (1946) on the freedom.
    """
    value = float(figure(groups)[0])
    picks = pick_values(groups, np.random.default_rng(seed), num_resamples)
    drawn = figure([group[0, pick] for group, pick in zip(groups, picks, strict=True)])
    with np.errstate(invalid="ignore"):
        deviation = drawn - drawn.mean()
    error = float(np.sqrt(np.mean(deviation**2)))
    if not error > _SAME * float(np.abs(drawn).max()):
        return Estimate(value=value, low=None, high=None)
    freedoms = np.array([max(pick.shape[1] - 1, 1) for pick in picks])
    parts = np.array([_contribution(pick, deviation) for pick in picks])
    scaled = parts * (1 + 1 / freedoms)
    degrees = float(scaled.sum() ** 2 / (scaled**2 / freedoms).sum())
    reach = student_quantile((1 + CONFIDENCE) / 2, degrees) * error * math.sqrt(scaled.sum() / parts.sum())
    return Estimate(value=value, low=value - reach, high=value + reach)


def pick_values(groups: Sequence[np.ndarray], rng: np.random.Generator, num_resamples: int) -> list[np.ndarray]:
    """Resample the values of each group: G arrays [1, S] -> indices, G arrays [R, S]."""
    return [rng.integers(group.shape[1], size=(num_resamples, group.shape[1])) for group in groups]


def _contribution(pick: np.ndarray, deviation: np.ndarray) -> float:
    """The part of the figure's variance that comes from one group's draws [R, S]."""
    num_resamples, size = pick.shape
    covariance = np.bincount(pick.ravel(), weights=np.repeat(deviation, size), minlength=size) / num_resamples
    return float((covariance**2).sum()) if size > 1 else 0.0
