"""Quantiles of the beta distribution and of Student's t, to nine digits: numpy has neither, and SciPy would be a dependency for them alone.

    I_x(a, b)    cumulative distribution function of the beta distribution, by its continued fraction
    quantile     its inverse, by bisection
    Student's t  with f degrees of freedom: f / (f + t^2) has the beta distribution (f/2, 1/2)

Reference: Abramowitz and Stegun (1964), 26.5.8 and 26.7.1; Lentz's method for continued fractions as in Press et al. (2007), section 6.4.
"""

from __future__ import annotations

import math

BISECTIONS = 200
"""Halvings of [0, 1]: enough for the smallest quantiles, about 1e-50; those near 1 have double precision after 53."""

MAX_TERMS = 10_000
"""Terms of the continued fraction; about sqrt(max(a, b)) are needed."""

_TINY = 1e-300


def beta_probability(x: float, a: float, b: float) -> float:
    """Return I_x(a, b), the probability that a beta variable with parameters a, b > 0 is at most x in [0, 1]."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges slowly here, and fast for the other tail
        return 1.0 - beta_probability(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / (a * _fraction(x, a, b))


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the x at which I_x(a, b) is `probability`."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_probability(middle, a, b) < probability else (low, middle)
    return high


def student_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t with `degrees` > 0 of freedom at `probability` in [0.5, 1)."""
    # 1 - x, not x: t^2 / (f + t^2) is small for many degrees
    complement = beta_quantile(2 * probability - 1, 0.5, degrees / 2)
    return math.sqrt(degrees * complement / (1 - complement))


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 + d1 / (1 + d2 / (1 + ...)) of I_x(a, b)."""
    value, upper, lower = 1.0, 1.0, 0.0
    for index in range(1, MAX_TERMS):
        half = index // 2
        if index % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1 / ((1 + term * lower) or _TINY)
        upper = (1 + term / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value
