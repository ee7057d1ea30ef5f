"""The slow truth for meta-gradient prediction: one learner, plain Python over the sums of `oracles.returns`, from the paper's words.

Arguments are those of one column: `state` [T+1], `reward`, `ended` (terminated or truncated), `is_reset` [T]; `gamma` and `lambda_` are
functions of the state, as arrays [S].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from oracles.returns import lambda_return


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one learner saw."""

    state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray
    is_reset: np.ndarray

    @property
    def steps(self) -> list[int]:
        """The steps that are experience."""
        return [int(t) for t in np.flatnonzero(~self.is_reset)]


def returns(column: Column, value: np.ndarray, gamma: np.ndarray, lambda_: np.ndarray) -> dict[int, float]:
    """g_t of every step that is experience; gamma and lambda are those of the state that a step leads to."""
    successor = column.state[1:]
    discount = gamma[successor] * (1.0 - column.terminated)
    arguments = (column.reward, discount, value[successor], column.ended, lambda_[successor])
    return {t: lambda_return(*arguments, t) for t in column.steps}


def updated(column: Column, value: np.ndarray, gamma: np.ndarray, lambda_: np.ndarray, alpha: float) -> np.ndarray:
    """v + alpha sum_t (g_t - v(S_t)) e(S_t)."""
    after = value.copy()
    for t, g in returns(column, value, gamma, lambda_).items():
        after[column.state[t]] += alpha * (g - value[column.state[t]])
    return after


def outer_objective(column: Column, value: np.ndarray, targets: dict[int, float]) -> float:
    """The mean over t of (g'_t - v(S'_t))^2, the targets being given."""
    return float(np.mean([(targets[t] - value[column.state[t]]) ** 2 for t in column.steps]))
