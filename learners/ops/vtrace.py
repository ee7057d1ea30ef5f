"""V-trace: value targets and policy-gradient advantages from experience of an older policy.

    rho_t = min(rho_bar, pi/mu),   c_t = lambda * min(c_bar, pi/mu),   d_t = gamma * (1 - terminated_t)
    v_t   = V_t + rho_t * delta_t + d_t * c_t * (v_{t+1} - V_{t+1}),   delta_t = r_t + d_t * V_{t+1} - V_t
    q_t   = r_t + d_t * (lambda * v_{t+1} + (1 - lambda) * V_{t+1}),   the last step bootstraps from V alone
    A_t   = min(rho_pg_bar, pi/mu) * (q_t - V_t)

Reference: Espeholt et al. (2018), eq. 1, remarks 1 and 2. lambda enters q_t as in rlax's `vtrace_td_error_and_advantage`: on-policy, A_t is
then the lambda-return less V_t, which meta-gradients on lambda need. The page docs/vtrace.md compares conventions and implementations.
Letters: T time, B environments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.recurrence import backward_recurrence


@dataclass(frozen=True, kw_only=True)
class VTrace:
    """What V-trace makes of an unroll.

    Attributes:
        value_target: v_t, the regression target of V_t; equal to V_t where the weight is zero.
        advantage: A_t, with its importance ratio multiplied in; zero where the weight is zero.
        rho: the clipped and weighted ratio rho_t, for logging how much was clipped.
    """

    value_target: Float[Tensor, "T B"]
    advantage: Float[Tensor, "T B"]
    rho: Float[Tensor, "T B"]


def vtrace(
    *,
    log_rho_t: Float[Tensor, "T B"],
    reward_t: Float[Tensor, "T B"],
    discount_t: Float[Tensor, "T B"],
    value_t: Float[Tensor, "T B"],
    value_tp1: Float[Tensor, "T B"],
    lambda_: Float[Tensor, ""],
    weight_t: Float[Tensor, "T B"],
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
) -> VTrace:
    """Return the targets and advantages of an unroll.

    Episode borders: a termination has `discount_t` zero. A truncated step t keeps its discount and bootstraps from `value_tp1[t]`, the
    value of the final observation; row t + 1, the reset, has `weight_t` zero, so that v equals V there and nothing flows across it.

    Args:
        log_rho_t: log pi(a_t) - log mu(a_t).
        reward_t: reward received on leaving step t.
        discount_t: discount applied to everything after step t; zero at a termination.
        value_t: value estimate of the observation of step t.
        value_tp1: value estimate of the observation that step t led to.
        lambda_: trace parameter in [0, 1].
        weight_t: one where step t is experience, zero at a reset.
        clip_rho: rho_bar, positive; decides which policy's value is learned. At least `clip_c`.
        clip_c: c_bar, positive; decides how fast it is learned.
        clip_pg_rho: the clip of the ratio in the advantage, positive.

    Gradient: flows to every argument; pass detached what must not carry it (the paper: everything but gamma and lambda).
    """
    # min(clip, rho) = exp(min(log clip, log rho)): the ratio cannot overflow, and a clipped one has gradient zero, not 0 * inf.
    ratio = {clip: log_rho_t.clamp(max=math.log(clip)).exp() * weight_t for clip in {clip_rho, clip_c, clip_pg_rho}}
    td_error_t = reward_t + discount_t * value_tp1 - value_t
    trace_t = lambda_ * discount_t
    # correction_t = v_t - V_t, so a reset row (weight zero) hands exactly zero to the row before it.
    correction_t = backward_recurrence(ratio[clip_rho] * td_error_t, trace_t * ratio[clip_c])
    correction_tp1 = torch.cat((correction_t[1:], torch.zeros_like(correction_t[:1])))
    advantage_t = ratio[clip_pg_rho] * torch.addcmul(td_error_t, trace_t, correction_tp1)
    return VTrace(value_target=value_t + correction_t, advantage=advantage_t, rho=ratio[clip_rho])
