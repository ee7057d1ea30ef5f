"""Quantiles against printed tables and against distributions that have a formula."""

from __future__ import annotations

import math

import pytest

from cluster.reports.quantiles import beta_probability, beta_quantile, student_quantile

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 15: 2.131, 31: 2.040, 60: 2.000, 120: 1.980}
"""Degrees of freedom -> the 97.5 % point of Student's t, Abramowitz and Stegun (1964), table 26.10; 7, 15 and 31 by Fisher and Yates."""


@pytest.mark.parametrize("degrees", TABLE)
def test_students_t_is_that_of_the_table(degrees: int) -> None:
    assert round(student_quantile(0.975, degrees), 3) == TABLE[degrees]


@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.9995])
def test_students_t_of_one_and_two_degrees_is_that_of_its_formula(probability: float) -> None:
    assert student_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-9)
    two = (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    assert student_quantile(probability, 2) == pytest.approx(two, rel=1e-9)


def test_students_t_of_many_degrees_is_normal_and_degrees_may_be_broken() -> None:
    assert student_quantile(0.975, 1e6) == pytest.approx(1.959964, abs=1e-5)
    assert student_quantile(0.975, 3) < student_quantile(0.975, 2.5) < student_quantile(0.975, 2)


@pytest.mark.parametrize("count", [1, 4, 32, 1000])
def test_a_beta_of_which_one_parameter_is_one_is_a_power(count: int) -> None:
    assert beta_quantile(0.025, count, 1) == pytest.approx(0.025 ** (1 / count), rel=1e-9)
    assert beta_quantile(0.975, 1, count) == pytest.approx(1 - 0.025 ** (1 / count), rel=1e-9)


@pytest.mark.parametrize(("count", "won"), [(4, 1), (10, 5), (32, 3), (32, 30)])
def test_a_beta_is_a_sum_of_binomials(count: int, won: int) -> None:
    for share in (0.01, 0.3, 0.5, 0.97):
        as_many = sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(won, count + 1))
        assert beta_probability(share, won, count - won + 1) == pytest.approx(as_many, rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.5, 32.5), (27.5, 5.5), (300.0, 2.0)])
def test_a_quantile_is_where_the_probability_is_reached(a: float, b: float) -> None:
    for probability in (0.001, 0.025, 0.5, 0.975):
        assert beta_probability(beta_quantile(probability, a, b), a, b) == pytest.approx(probability, rel=1e-9)
