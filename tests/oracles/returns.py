"""Slow truths for multi-step targets: sums written out, one environment and one step at a time, one episode at a time.

An unroll is given as the learner gets it (next-step autoreset): `ended[t]` marks the last step of an episode, terminated or truncated, and
`is_reset[t]` the row after it, which is no experience. A sum that starts in an episode stops at that episode's last step.
"""

from __future__ import annotations

import numpy as np


def steps_left(ended: np.ndarray, start: int) -> int:
    """Number of steps from `start` to the end of its episode or of the unroll, both included."""
    for t in range(start, len(ended)):
        if ended[t]:
            return t - start + 1
    return len(ended) - start


def n_step_return(reward: np.ndarray, discount: np.ndarray, value_tp1: np.ndarray, start: int, n: int) -> float:
    """r_s + d_s r_{s+1} + ... + (d_s ... d_{s+n-1}) V_{s+n}."""
    total, weight = 0.0, 1.0
    for t in range(start, start + n):
        total += weight * reward[t]
        weight *= discount[t]
    return float(total + weight * value_tp1[start + n - 1])


def discounted_return(reward: np.ndarray, discount: np.ndarray, bootstrap: float, start: int) -> float:
    """sum_k (d_s ... d_{k-1}) r_k + (d_s ... d_{T-1}) bootstrap."""
    total = sum(np.prod(discount[start:k]) * reward[k] for k in range(start, len(reward)))
    return float(total + np.prod(discount[start:]) * bootstrap)


def lambda_return(
    reward: np.ndarray, discount: np.ndarray, value_tp1: np.ndarray, ended: np.ndarray, lambda_: float | np.ndarray, start: int
) -> float:
    """sum_n (1 - l_{s+n-1}) (l_s ... l_{s+n-2}) G^(n)  +  (l_s ... l_{s+N-2}) G^(N), N steps being left; l_t is step t's lambda."""
    left = steps_left(ended, start)
    lam = np.broadcast_to(lambda_, reward.shape)[start:]
    head = sum(
        (1 - lam[n - 1]) * np.prod(lam[: n - 1]) * n_step_return(reward, discount, value_tp1, start, n) for n in range(1, left)
    )
    return float(head + np.prod(lam[: left - 1]) * n_step_return(reward, discount, value_tp1, start, left))


def generalised_advantage(
    reward: np.ndarray,
    discount: np.ndarray,
    value: np.ndarray,
    value_tp1: np.ndarray,
    ended: np.ndarray,
    lambda_: float,
    start: int,
) -> float:
    """sum_l lam^l (d_s ... d_{s+l-1}) delta_{s+l} (Schulman et al. 2016, eq. 16)."""
    td_error = reward + discount * value_tp1 - value
    left = steps_left(ended, start)
    return float(sum(lambda_**k * np.prod(discount[start : start + k]) * td_error[start + k] for k in range(left)))
