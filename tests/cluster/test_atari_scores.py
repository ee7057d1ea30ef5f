"""Aggregates over games and seeds: against plain loops, against every resample, by hand, and on IMPALA's published scores."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import atari_scores as oracle

from cluster import atari_scores, bootstrap
from cluster.atari_scores import aggregate
from envs.atari.games import GAMES, human_normalised
from envs.atari.published import IMPALA


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
    # The median is b's mean: 10, 20 or 30 with weights 1, 2, 1.
    assert (over.median.low, over.median.high) == (10.0, 30.0)


@pytest.mark.parametrize("name", ["median", "interquartile_mean"])
def test_intervals_are_those_of_every_resample(name: str) -> None:
    scores = {"a": [1.0, 4.0, 9.0], "b": [2.0, 3.0, 20.0], "c": [5.0], "d": [-7.0, 6.0]}
    truth = [getattr(oracle, name)(resample) for resample in oracle.every_resample(scores)]
    games = [np.array(of_game)[None] for of_game in scores.values()]
    drawn = getattr(atari_scores, name)(bootstrap.resamples(games, np.random.default_rng(0), 40_000))
    for share in (0.025, 0.25, 0.5, 0.75, 0.975):
        # a quantile of the draws lies between those of the truth a hundredth of the probability below and above
        low, high = (oracle.quantile(truth, min(max(share + step, 1e-9), 1.0)) for step in (-0.01, 0.01))
        assert low - 1e-9 <= np.quantile(drawn, share) <= high + 1e-9
    assert drawn.mean() == pytest.approx(np.mean(truth), abs=5 * np.std(truth) / 200)
    over = aggregate(scores, num_resamples=40_000)
    estimate = over.median if name == "median" else over.iqm
    assert (estimate.low, estimate.high) == tuple(np.percentile(drawn, (2.5, 97.5)))


def test_seeds_are_drawn_within_a_game_and_never_a_game_in_place_of_another() -> None:
    games = [np.array([[0.0, 1.0]]), np.array([[100.0, 101.0, 102.0]])]
    first, second = bootstrap.resamples(games, np.random.default_rng(0), 500)
    assert first.shape == (500, 2) and second.shape == (500, 3)
    assert set(first.ravel()) == {0.0, 1.0} and set(second.ravel()) == {100.0, 101.0, 102.0}


def test_one_seed_a_game_has_no_interval() -> None:
    over = aggregate({"a": [1.0], "b": [3.0]})
    assert over.median.value == over.iqm.value == 2.0
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
