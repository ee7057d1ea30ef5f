"""Slow truths for aggregates over games and seeds: sums and sorts written out, and every resample there is instead of a draw of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

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


def error_and_degrees(figure: Callable[[Scores], float], scores: Scores) -> tuple[float, float]:
    """Standard error of a figure and its degrees of freedom, over every resample; no game has a score twice.

    A game's part of the variance is the sum over its scores of (covariance of figure and how often the score was drawn)^2.
    """
    resamples = list(every_resample(scores))
    figures = [figure(resample) for resample in resamples]
    mean = sum(figures) / len(figures)
    variance = sum((one - mean) ** 2 for one in figures) / len(figures)
    parts, scaled, squares = 0.0, 0.0, 0.0
    for game, of_game in scores.items():
        size, part = len(of_game), 0.0
        for score in of_game:
            counts = [sum(one == score for one in resample[game]) for resample in resamples]
            part += (sum(count * (one - mean) for count, one in zip(counts, figures, strict=True)) / len(figures)) ** 2
        if size > 1:
            parts += part
            scaled += part * size / (size - 1)
            squares += (part * size / (size - 1)) ** 2 / (size - 1)
    return math.sqrt(variance * scaled / parts), scaled**2 / squares
