"""Generalised advantage estimation.

    A_t = w_t * (delta_t + d_t * l_t * A_{t+1}),      delta_t = r_t + d_t * V_{t+1} - V_t,      A_T = 0

with d_t = gamma * (1 - terminated_t), w_t zero at a reset and l_t = lambda; where no reset row follows a truncated step, l_t is zero there.
A_t + V_t is the lambda-return.

Reference: Schulman et al. (2016), eq. 11-16.
Letters: T time, B environments.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import bootstrap_values, cleared
from learners.ops.recurrence import backward_recurrence


def gae(
    *,
    reward_t: Float[Tensor, "T B"],
    discount_t: Float[Tensor, "T B"],
    value_t: Float[Tensor, "T B"],
    value_tp1: Float[Tensor, "T B"],
    lambda_: Float[Tensor, ""] | Float[Tensor, "T B"],
    weight_t: Float[Tensor, "T B"],
) -> Float[Tensor, "T B"]:
    """Return the advantage of every step, zero at a reset.

    Unused values may be NaN: reward and values where the weight is zero, and `value_tp1` where the discount is.

    Args:
        reward_t: reward received on leaving step t.
        discount_t: discount applied to everything after step t; zero at a termination, kept at a truncation.
        value_t: value estimate of the observation of step t.
        value_tp1: value estimate of the observation that step t led to (at a truncation the final observation).
        lambda_: trace parameter in [0, 1]; one for all steps, or one for each.
        weight_t: one where step t is experience, zero at a reset.

    Gradient: flows to every argument but `weight_t`.
    """
    share_t = weight_t * discount_t
    td_error_t = reward_t + discount_t * bootstrap_values(value_tp1, share_t) - value_t
    return backward_recurrence(weight_t * cleared(td_error_t, weight_t), share_t * lambda_)
