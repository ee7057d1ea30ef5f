"""Figures of adapted lifetimes: fitness with its interval, paired differences, and return over the steps of a lifetime.

    fitness      mean return of whole episodes with the final policy: the headline
    difference   of the fitness of two learners, paired by task, as the same task is equally hard for both
    curve        returns of training episodes on a grid of updates: mean over lifetimes with its interval

The value of a lifetime at a grid point is the mean return of its episodes that ended since the grid point before; where none did, the value
before is kept. A lifetime has no value before its first episode has ended, and the curve begins at the first grid point where all lifetimes
have one, so that it is a mean over the same lifetimes everywhere: else those with short episodes would represent all. A lifetime in which
no episode ended is left out.

Lifetimes with a fitness or return that is NaN or infinite are left out of the means and counted.

Intervals are over lifetimes (`cluster.reports.bootstrap`): studentised for means and differences, Clopper and Pearson's for the share of
tasks won. Differences are paired by task, so their interval is that of a mean of differences. Intervals of a curve are pointwise. There is
none where all values are equal. Letters: S lifetimes, G grid points.
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

MAX_GRID = 64
"""Grid points: more than the few dozen episodes of a lifetime can resolve."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Return over the steps of a lifetime.

    Attributes:
        steps: of the lifetime, at the grid points from the first at which all lifetimes have a value, [G].
        mean, low, high: over lifetimes, [G]; the ends of the interval are NaN where all values are equal, or there is one.
        num_lifetimes: number of lifetimes that it is a mean of.
    """

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_lifetimes: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """All lifetimes of one learner on one split.

    Attributes:
        learner, split: that they have in common.
        policies: in order of the numbers of their lifetimes.
        num_steps: of a lifetime.
        fitness: over the lifetimes whose fitness is finite; NaN without an interval where none is.
        curve: None where no episode with a finite return ended in any lifetime.
    """

    learner: Learner
    split: Split
    policies: tuple[AdaptedPolicy, ...]
    num_steps: int
    fitness: Estimate
    curve: Curve | None

    @property
    def not_finite(self) -> tuple[AdaptedPolicy, ...]:
        """The lifetimes in which something was NaN or infinite."""
        return tuple(policy for policy in self.policies if policy.not_finite is not None)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The learned loss against PPO on one split.

    Attributes:
        split: of the tasks.
        difference: fitness under the learned loss minus fitness under PPO, mean over tasks.
        share_won: share of the tasks on which the learned loss did better; a tie counts half.
        num_tasks: number of tasks on which the fitness of both is finite.
    """

    split: Split
    difference: Estimate
    share_won: Estimate
    num_tasks: int


def make_groups(policies: Sequence[AdaptedPolicy], *, num_updates: int, update_every: int) -> list[Group]:
    """Group lifetimes by learner and split, in order of first appearance."""
    members: dict[tuple[Split, Learner], list[AdaptedPolicy]] = {}
    for policy in policies:
        members.setdefault((policy.split, policy.learner), []).append(policy)
    points = grid(num_updates) * update_every
    return [
        Group(
            learner=learner,
            split=split,
            policies=tuple(sorted(of_group, key=lambda policy: policy.number)),
            num_steps=num_updates * update_every,
            fitness=_estimate([policy.fitness for policy in of_group]),
            curve=make_curve([policy.episodes for policy in of_group], points),
        )
        for (split, learner), of_group in members.items()
    ]


def compare(groups: Sequence[Group]) -> list[Comparison]:
    """Compare the learners on each split that both have lifetimes on."""
    found = {(group.split, group.learner): group for group in groups}
    comparisons = []
    for split in dict.fromkeys(group.split for group in groups):
        if (split, "ppo") not in found or (split, "learned") not in found:
            continue
        pairs = zip(found[split, "learned"].policies, found[split, "ppo"].policies, strict=True)
        both = [(learned.fitness, ppo.fitness) for learned, ppo in pairs]
        differences = np.array([learned - ppo for learned, ppo in both if math.isfinite(learned) and math.isfinite(ppo)])
        comparisons.append(
            Comparison(
                split=split,
                difference=_estimate(differences.tolist()),
                share_won=share_estimate(((np.sign(differences) + 1) / 2).tolist()),
                num_tasks=differences.size,
            )
        )
    return comparisons


def _estimate(values: Sequence[float]) -> Estimate:
    """The mean of the finite values with its interval; NaN without an interval where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return mean_estimate(finite) if finite else Estimate(value=math.nan, low=None, high=None)


def grid(num_updates: int) -> np.ndarray:
    """Return the grid points, each as a number of updates, the last one being all: [G]."""
    size = min(num_updates, MAX_GRID)
    return np.unique(np.ceil(np.arange(1, size + 1) * num_updates / size).astype(np.int64))


def on_grid(episodes: Sequence[InnerEpisode], points: np.ndarray) -> np.ndarray:
    """Return the value of one lifetime at each grid point, NaN before its first episode ended: [G]."""
    values, newest = np.full(points.size, np.nan), np.nan
    ends = np.array([episode.end_step for episode in episodes])
    returns = np.array([episode.episode_return for episode in episodes])
    before = 0
    for index, point in enumerate(points.tolist()):
        since = returns[(ends > before) & (ends <= point)]
        newest = float(since.mean()) if since.size else newest
        values[index], before = newest, point
    return values


def make_curve(lifetimes: Sequence[Sequence[InnerEpisode]], points: np.ndarray) -> Curve | None:
    """Return mean and interval over lifetimes, from the first grid point where all have a value; None where no episode ended.

    A lifetime with a return that is not finite is left out.

    Args:
        lifetimes: the episodes of each.
        points: grid points, in steps of a lifetime, [G].
    """
    finite = [episodes for episodes in lifetimes if episodes and all(math.isfinite(one.episode_return) for one in episodes)]
    values = [on_grid(episodes, points) for episodes in finite]
    if not values:
        return None
    table = np.stack(values)
    has_all = ~np.isnan(table).any(axis=0)
    mean, low, high = mean_intervals(table[:, has_all])
    return Curve(steps=points[has_all], mean=mean, low=low, high=high, num_lifetimes=len(values))
