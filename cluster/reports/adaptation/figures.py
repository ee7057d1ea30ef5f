"""What adapted lives come to: fitness with its interval, a comparison task by task, and return over the steps of a life.

    fitness      mean return of whole episodes with the final policy: the headline
    difference   of the fitness of two learners, task by task, for the same task is as hard for both
    curve        of each life the training episodes, laid on a grid of update borders; over lives their mean and its interval

A life's value at a border is the mean return of its episodes that ended since the border before; where none did, the value of the border
before holds. A life has no value before its first episode has ended, and the curve begins at the first border where all lives have one, so
it is a mean over the same lives everywhere: those that fall early would else speak for all. A life in which no episode ended is left out.

A fitness or return that is NaN or infinite has no mean: lives that have one are left out of what it would go into, and counted.

Intervals are over lives (`cluster.reports.bootstrap`): of means and differences studentised, of the share of tasks won Clopper and
Pearson's. A difference is that of one task, so its interval is that of a mean of differences, and knows what both learners share. Those
of a curve hold at each border on its own, not at all of them together. Where all lives came to the same there is none. Letters: S lives,
G borders of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.fresh_policies import AdaptedPolicy, Learner
from actors.inner_loop_buffer import InnerEpisode
from cluster.reports.bootstrap import Estimate, mean_estimate, mean_intervals, share_estimate
from envs.task import Split

MAX_BORDERS = 64
"""Of the grid: finer than a life's few dozen episodes can tell apart."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Return over the steps of a life.

    Attributes:
        steps: of the life, at the borders from the first on at which all lives have a value, [G].
        mean, low, high: over lives, [G]; the ends of the interval are NaN where all lives have the same value, or there is one.
        num_lives: how many lives it is a mean of.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_lives: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """All lives of one learner on one split.

    Attributes:
        learner, split: whose.
        lives: in order of their numbers.
        num_steps: of a life.
        fitness: over the lives whose fitness is finite; NaN without an interval where none is.
        curve: None where no episode with a finite return ended in any life.
    """

    learner: Learner
    split: Split
    lives: tuple[AdaptedPolicy, ...]
    num_steps: int
    fitness: Estimate
    curve: Curve | None

    @property
    def not_finite(self) -> tuple[AdaptedPolicy, ...]:
        """The lives in which something was NaN or infinite."""
        return tuple(life for life in self.lives if life.not_finite is not None)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The learned loss against PPO on one split.

    Attributes:
        split: whose tasks.
        difference: fitness under the learned loss less fitness under PPO, mean over tasks.
        share_won: of the tasks that the learned loss did better on; a tie counts half.
        num_tasks: how many, without those on which the fitness of either is not finite.
    """

    split: Split
    difference: Estimate
    share_won: Estimate
    num_tasks: int


def make_groups(lives: Sequence[AdaptedPolicy], *, num_updates: int, update_every: int) -> list[Group]:
    """Gather lives by learner and split, in order of their first appearance."""
    members: dict[tuple[Split, Learner], list[AdaptedPolicy]] = {}
    for life in lives:
        members.setdefault((life.split, life.learner), []).append(life)
    borders = grid(num_updates) * update_every
    return [
        Group(
            learner=learner,
            split=split,
            lives=tuple(sorted(of_group, key=lambda life: life.number)),
            num_steps=num_updates * update_every,
            fitness=_estimate([life.fitness for life in of_group]),
            curve=make_curve([life.episodes for life in of_group], borders),
        )
        for (split, learner), of_group in members.items()
    ]


def compare(groups: Sequence[Group]) -> list[Comparison]:
    """Compare the learners on each split that both have lives on."""
    found = {(group.split, group.learner): group for group in groups}
    comparisons = []
    for split in dict.fromkeys(group.split for group in groups):
        if (split, "ppo") not in found or (split, "learned") not in found:
            continue
        pairs = zip(found[split, "learned"].lives, found[split, "ppo"].lives, strict=True)
        both = [(learned.fitness, ppo.fitness) for learned, ppo in pairs]
        gaps = np.array([learned - ppo for learned, ppo in both if math.isfinite(learned) and math.isfinite(ppo)])
        comparisons.append(
            Comparison(
                split=split,
                difference=_estimate(gaps.tolist()),
                share_won=share_estimate(((np.sign(gaps) + 1) / 2).tolist()),
                num_tasks=gaps.size,
            )
        )
    return comparisons


def _estimate(values: Sequence[float]) -> Estimate:
    """The mean of the values that are finite, with its interval; NaN without one where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return mean_estimate(finite) if finite else Estimate(value=math.nan, low=None, high=None)


def grid(num_updates: int) -> np.ndarray:
    """Return the update borders of the grid, each as a number of updates, the last one being all: [G]."""
    size = min(num_updates, MAX_BORDERS)
    return np.unique(np.ceil(np.arange(1, size + 1) * num_updates / size).astype(np.int64))


def on_grid(episodes: Sequence[InnerEpisode], borders: np.ndarray) -> np.ndarray:
    """Return one life's value at each border, NaN before its first episode ended: [G]."""
    values, newest = np.full(borders.size, np.nan), np.nan
    ends = np.array([episode.end_step for episode in episodes])
    returns = np.array([episode.episode_return for episode in episodes])
    before = 0
    for index, border in enumerate(borders.tolist()):
        since = returns[(ends > before) & (ends <= border)]
        newest = float(since.mean()) if since.size else newest
        values[index], before = newest, border
    return values


def make_curve(lives: Sequence[Sequence[InnerEpisode]], borders: np.ndarray) -> Curve | None:
    """Return mean and interval over lives, from the first border on where all of them have a value; None where no episode ended.

    A life with a return that is not finite is left out.

    Args:
        lives: the episodes of each.
        borders: steps of a life, [G].
    """
    finite = [episodes for episodes in lives if episodes and all(math.isfinite(one.episode_return) for one in episodes)]
    values = [on_grid(episodes, borders) for episodes in finite]
    if not values:
        return None
    table = np.stack(values)
    is_whole = ~np.isnan(table).any(axis=0)
    mean, low, high = mean_intervals(table[:, is_whole])
    return Curve(steps=borders[is_whole], mean=mean, low=low, high=high, num_lives=len(values))
