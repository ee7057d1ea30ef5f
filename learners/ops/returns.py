"""Discounted and lambda returns of an unroll.

    discounted:  G_t = r_t + d_t * G_{t+1},                                              G_T = bootstrap
    lambda:      G_t = r_t + d_t * ((1 - l_t) * V_{t+1} + l_t * G_{t+1}),                G_T = V_T

with d_t = gamma * (1 - terminated_t), and l_t = lambda but for a step whose successor is a reset: l_t is zero there. Both may differ from
step to step, as where gamma and lambda are functions of the state: then d_t and l_t are those of the state that step t leads to.

Reference: Sutton and Barto (2018), eq. 12.18-12.20; eq. 12.24 for gamma and lambda that differ from state to state.
Letters: T time, B environments.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import bootstrap_values, cleared
from learners.ops.recurrence import backward_recurrence


def discounted_returns(
    reward_t: Float[Tensor, "T B"], discount_t: Float[Tensor, "T B"], bootstrap_value: Float[Tensor, " B"]
) -> Float[Tensor, "T B"]:
    """Return the discounted sum of rewards from every step on.

    An episode ends where `discount_t` is zero: a caller without a bootstrap value for truncated steps sets it to zero there too.

    Args:
        reward_t: reward received on leaving step t.
        discount_t: discount applied to everything after step t.
        bootstrap_value: return expected after the last step; not used, and so may be NaN, where the last discount is zero.

    Gradient: flows to every argument.
    """
    last = bootstrap_values(bootstrap_value, discount_t[-1])
    return backward_recurrence(reward_t, discount_t, last)


def lambda_returns(
    *,
    reward_t: Float[Tensor, "T B"],
    discount_t: Float[Tensor, "T B"],
    value_tp1: Float[Tensor, "T B"],
    lambda_: Float[Tensor, ""] | Float[Tensor, "T B"],
    weight_t: Float[Tensor, "T B"],
) -> Float[Tensor, "T B"]:
    """Return G_t for every step; `lambda_` 0 is the one-step target, 1 the Monte Carlo return bootstrapped at the end.

    Unused values may be NaN: reward and value where the weight is zero, and `value_tp1` where the discount is.

    Args:
        reward_t: reward received on leaving step t.
        discount_t: discount applied to everything after step t; zero at a termination, kept at a truncation.
        value_tp1: value estimate of the observation that step t led to (at a truncation the final observation).
        lambda_: trace parameter in [0, 1]; one for all steps, or for each step that of the state it led to.
        weight_t: one where step t is experience, zero at a reset; the return of a reset row is not defined.

    Gradient: flows to every argument but `weight_t`; pass detached values for a semi-gradient target.
    """
    lambda_t = lambda_ * torch.cat((weight_t[1:], torch.ones_like(weight_t[:1])))
    trace_t, value_tp1 = discount_t * lambda_t, bootstrap_values(value_tp1, discount_t * weight_t)
    offset_t = cleared(reward_t + (discount_t - trace_t) * value_tp1, weight_t)
    return backward_recurrence(offset_t, trace_t, value_tp1[-1])
