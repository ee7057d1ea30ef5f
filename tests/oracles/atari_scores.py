"""Slow truths for aggregates over games and seeds: sums and sorts written out, and every resample there is instead of a draw of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

Scores = Mapping[str, Sequence[float]]


def middle(values: Sequence[float]) -> float:
    """The value in the middle, or half-way between the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median(scores: Scores) -> float:
    """The middle of the games' means."""
    return middle([sum(of_game) / len(of_game) for of_game in scores.values()])


def interquartile_mean(scores: Scores) -> float:
    """The mean of what is left when a quarter of all scores is thrown away at either end."""
    ordered = sorted(score for of_game in scores.values() for score in of_game)
    for _ in range(len(ordered) // 4):
        ordered = ordered[1:-1]
    return sum(ordered) / len(ordered)


def every_resample(scores: Scores) -> Iterator[Scores]:
    """Each way to draw the seeds of each game with replacement; all are equally likely."""
    draws = [list(itertools.product(of_game, repeat=len(of_game))) for of_game in scores.values()]
    for chosen in itertools.product(*draws):
        yield dict(zip(scores, chosen, strict=True))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    for index, value in enumerate(ordered):
        if (index + 1) / len(ordered) >= share:
            return value
    raise AssertionError
