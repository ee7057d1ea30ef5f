"""The sums of a run, which its checkpoints hold and its summary ends with."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

WINDOW = 100
"""Episodes in the return that is reported, as in the papers."""


@dataclass(kw_only=True)
class Counters:
    """Sums over a whole run, what was before a resume included.

    Attributes:
        env_steps, rounds: environment steps learned from, and complete rounds.
        counts: sums over all reports, by metric name.
        lost_actors: actors that died or hung and were replaced.
        num_episodes: episodes that ended.
        returns, settled: returns of the last 100 episodes, and of the last 100 settled ones (`actors.episodes`).
        best, best_score: the highest judged return, and the highest score of an evaluation; None before the first.
        lag_sum, lag_count, max_lag: age of the experience learned from, in learner updates.
        train_s: seconds of training, without start-up: from the first unit of work of each process to its last learner call.
    """

    env_steps: int = 0
    rounds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    lost_actors: int = 0
    num_episodes: int = 0
    returns: deque[float] = field(default_factory=deque)
    settled: deque[float] = field(default_factory=deque)
    best: float | None = None
    best_score: float | None = None
    lag_sum: int = 0
    lag_count: int = 0
    max_lag: int = 0
    train_s: float = 0.0

    def __post_init__(self) -> None:
        self.counts = Counter(self.counts)
        self.returns, self.settled = deque(self.returns, WINDOW), deque(self.settled, WINDOW)

    def state(self) -> dict[str, Any]:
        """The counters as plain data, for a checkpoint."""
        state = {one.name: getattr(self, one.name) for one in fields(Counters)}
        return state | {"counts": dict(self.counts), "returns": list(self.returns), "settled": list(self.settled)}

    @property
    def mean_return(self) -> float | None:
        """Mean over the last 100 episodes; None before the first one ended."""
        return float(np.mean(self.returns)) if self.returns else None

    @property
    def judged_return(self) -> float | None:
        """The return that goals are compared with: the mean return, or that of the last 100 settled episodes if it is lower.

        The first episodes that end are the short ones, and their mean is biased (see `actors.episodes`). None before 100 are settled.
        """
        if len(self.settled) < WINDOW or self.mean_return is None:
            return None
        return min(float(np.mean(self.settled)), self.mean_return)

    @property
    def mean_lag(self) -> float:
        """Mean age of the experience learned from, in learner updates."""
        return self.lag_sum / max(1, self.lag_count)
