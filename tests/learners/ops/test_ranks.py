"""Ranks against their definitions: ties, worst values, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from learners.ops.ranks import centred_ranks, pairwise_ranks


def slow_centred(means: np.ndarray) -> np.ndarray:
    """Share of the others that a candidate beats, a tie counting half, less one half."""
    others = len(means) - 1
    beaten = [sum(float(f > g) + 0.5 * float(f == g) for j, g in enumerate(means) if j != i) for i, f in enumerate(means)]
    return np.array(beaten) / others - 0.5


def test_centred_ranks_are_shares_of_beaten_candidates() -> None:
    fitness = np.random.default_rng(0).integers(0, 5, size=(9, 3)).astype(float)
    np.testing.assert_allclose(centred_ranks(fitness), slow_centred(fitness.mean(axis=1)))
    assert centred_ranks(fitness).sum() == pytest.approx(0)


def test_the_best_and_the_worst_are_half_away_from_the_middle() -> None:
    ranks = centred_ranks(np.array([[3.0], [-7.0], [1000.0], [4.0]]))
    np.testing.assert_allclose(ranks, [-1 / 6, -0.5, 0.5, 1 / 6])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_finite_number_is_worst(bad: float) -> None:
    """An infinite return is a fault of its environment, and no vector is the better for it."""
    np.testing.assert_allclose(centred_ranks(np.array([[1.0, 2.0], [bad, 9.0], [-1e9, 0.0]])), [0.5, -0.5, 0.0])
    np.testing.assert_allclose(pairwise_ranks(np.array([[bad], [-1e9]])), [-0.5, 0.5])
    np.testing.assert_allclose(pairwise_ranks(np.array([[bad], [np.nan]])), [0.0, 0.0])


def test_one_candidate_has_nothing_to_be_ranked_by() -> None:
    np.testing.assert_array_equal(centred_ranks(np.array([[4.0, 5.0]])), [0.0])


def test_pairs_are_compared_lifetime_by_lifetime() -> None:
    first, second = [1.0, 5.0, 2.0, 2.0], [0.0, 9.0, 2.0, 1.0]  # won, lost, tied, won
    np.testing.assert_allclose(pairwise_ranks(np.array([first, second])), [0.125, -0.125])


def test_a_hard_task_does_not_move_pairwise_ranks() -> None:
    rng = np.random.default_rng(1)
    fitness = rng.normal(size=(8, 4))
    difficulty = np.repeat(rng.normal(scale=100, size=(4, 4)), 2, axis=0)
    np.testing.assert_allclose(pairwise_ranks(fitness), pairwise_ranks(fitness + difficulty))
