"""The slow truth for V-trace: equation 1 of Espeholt et al. (2018) as the sum of products it is, and not as its recursion.

    v_s = V_s + sum_{t=s}^{s+n-1} (prod_{i=s}^{t-1} d_i c_i) rho_t (r_t + d_t V_{t+1} - V_t)

For one environment; `n` steps are left from s to the end of its episode or of the unroll (see `oracles.returns`).
"""

from __future__ import annotations

import numpy as np
from oracles.returns import steps_left


def value_target(
    ratio: np.ndarray,
    reward: np.ndarray,
    discount: np.ndarray,
    value: np.ndarray,
    value_tp1: np.ndarray,
    ended: np.ndarray,
    *,
    lambda_: float,
    clip_rho: float,
    clip_c: float,
    start: int,
) -> float:
    """v_s, with c_i = lambda min(c_bar, ratio_i) (remark 2)."""
    total = value[start]
    for t in range(start, start + steps_left(ended, start)):
        product = 1.0
        for i in range(start, t):
            product *= discount[i] * lambda_ * min(clip_c, ratio[i])
        total += product * min(clip_rho, ratio[t]) * (reward[t] + discount[t] * value_tp1[t] - value[t])
    return float(total)


def advantage(
    ratio: np.ndarray,
    reward: np.ndarray,
    discount: np.ndarray,
    value: np.ndarray,
    value_tp1: np.ndarray,
    ended: np.ndarray,
    *,
    lambda_: float,
    clip_rho: float,
    clip_c: float,
    clip_pg_rho: float,
    start: int,
) -> float:
    """min(rho_pg_bar, ratio) (q - V), q = r + d (lambda v_{s+1} + (1 - lambda) V_{s+1}), from V_{s+1} alone at the last step left."""
    bootstrap = value_tp1[start]
    if steps_left(ended, start) > 1:
        following = value_target(
            ratio,
            reward,
            discount,
            value,
            value_tp1,
            ended,
            lambda_=lambda_,
            clip_rho=clip_rho,
            clip_c=clip_c,
            start=start + 1,
        )
        bootstrap = lambda_ * following + (1 - lambda_) * value_tp1[start]
    return float(min(clip_pg_rho, ratio[start]) * (reward[start] + discount[start] * bootstrap - value[start]))
