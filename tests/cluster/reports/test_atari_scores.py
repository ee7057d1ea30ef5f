"""Aggregates over games and seeds: against plain loops, against every resample, by hand, and on IMPALA's published scores."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import atari_scores as oracle

from cluster.reports.atari import scores
from cluster.reports.atari.scores import aggregate
from cluster.reports.bootstrap import Estimate
from cluster.reports.quantiles import student_quantile
from envs.atari.games import GAMES, IMPALA, human_normalised

SAMPLES = 400
"""An interval that is right 95 % of the time is so in 92 to 98 % of them (3 standard errors)."""


def random_scores(num_games: int, seeds: list[int], root: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(root)
    return {f"game {index}": list(10 * rng.standard_cauchy(seeds[index % len(seeds)])) for index in range(num_games)}


@pytest.mark.parametrize("num_games", [1, 2, 3, 8, 57])
@pytest.mark.parametrize("seeds", [[1], [3], [1, 2, 5]], ids=str)
def test_median_and_interquartile_mean_are_those_of_plain_loops(num_games: int, seeds: list[int]) -> None:
    scores = random_scores(num_games, seeds, root=num_games)
    over = aggregate(scores, num_resamples=100)
    assert over.median.value == pytest.approx(oracle.median(scores), rel=1e-12)
    assert over.iqm.value == pytest.approx(oracle.interquartile_mean(scores), rel=1e-12)
    assert (over.num_games, over.min_seeds, over.max_seeds) == (num_games, min(seeds[:num_games]), max(seeds[:num_games]))


def test_by_hand() -> None:
    over = aggregate({"a": [0.0, 2.0], "b": [10.0, 30.0], "c": [100.0, 1000.0]})
    assert over.median.value == 20.0  # of 1, 20, 550
    assert over.iqm.value == 35.5  # of 2, 10, 30, 100: six scores, one cut off at either end
    # The median is b's mean, of two seeds 20 apart: standard error 10, one degree of freedom.
    assert low_to_high(over.median) == (pytest.approx(20 - 127.06, abs=3), pytest.approx(20 + 127.06, abs=3))


@pytest.mark.parametrize("name", ["median", "interquartile_mean"])
def test_intervals_are_those_of_every_resample(name: str) -> None:
    scores = {"a": [1.0, 4.0, 9.0], "b": [2.0, 3.0, 20.0], "c": [5.0], "d": [-7.0, 6.0]}
    error, degrees = oracle.error_and_degrees(getattr(oracle, name), scores)
    reach = student_quantile(0.975, degrees) * error
    over = aggregate(scores, num_resamples=100_000)
    estimate = over.median if name == "median" else over.iqm
    assert estimate.low == pytest.approx(estimate.value - reach, abs=0.03 * reach)
    assert estimate.high == pytest.approx(estimate.value + reach, abs=0.03 * reach)


@pytest.mark.parametrize(("num_games", "num_seeds"), [(3, 2), (10, 3), (57, 3)])
def test_intervals_hold_what_as_many_seeds_give_on_average(num_games: int, num_seeds: int) -> None:
    """Log-normal noise around IMPALA's scores: the middle 95 % of resamples would hold it 43 to 47, 81 to 84 and 88 to 93 % of the time."""
    published = sorted(100 * human_normalised(game, scores[0]) for game, scores in IMPALA.items())
    means = np.array(published)[np.linspace(0, len(published) - 1, num_games).astype(int)]
    rng = np.random.default_rng(num_games)

    def draw(repeats: int) -> list[np.ndarray]:
        return [mean * np.exp(0.4 * rng.standard_normal((repeats, num_seeds)) - 0.08) for mean in means]

    many = draw(10_000)
    truths = [scores.median(many).mean(), scores.interquartile_mean(many).mean()]
    holds = []
    for seed in range(SAMPLES):
        over = aggregate({str(game): one[0].tolist() for game, one in enumerate(draw(1))}, seed=seed, num_resamples=300)
        holds.append(
            [
                low_to_high(one)[0] <= truth <= low_to_high(one)[1]
                for one, truth in zip((over.median, over.iqm), truths, strict=True)
            ]
        )
    median, iqm = np.mean(holds, axis=0)
    assert 0.92 <= median <= 0.99 and 0.92 <= iqm <= 0.99


def low_to_high(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def test_one_seed_a_game_has_no_interval() -> None:
    over = aggregate({"a": [1.0], "b": [3.0]})
    assert over.median.value == over.iqm.value == 2.0
    assert over.median.low is over.median.high is over.iqm.low is over.iqm.high is None


def test_seeds_that_all_came_to_the_same_have_no_interval() -> None:
    over = aggregate({"a": [21.0, 21.0, 21.0], "b": [21.0, 21.0]})
    assert over.median.value == over.iqm.value == 21.0
    assert over.median.low is over.median.high is over.iqm.low is over.iqm.high is None


def test_the_same_root_gives_the_same_interval() -> None:
    scores = random_scores(5, [3], root=1)
    assert aggregate(scores) == aggregate(scores)
    assert aggregate(scores, seed=1) != aggregate(scores)


@pytest.mark.parametrize(("column", "median"), [(0, 191.8), (1, 93.2)], ids=["deep", "shallow"])
def test_the_published_scores_of_impala_have_the_published_median(column: int, median: float) -> None:
    assert set(IMPALA) == set(GAMES)
    over = aggregate({game: [100 * human_normalised(game, scores[column])] for game, scores in IMPALA.items()})
    assert over.num_games == 57
    assert round(over.median.value, 1) == median
