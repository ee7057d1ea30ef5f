"""V-trace: value targets and policy-gradient advantages from experience of an older policy.

    rho_t = min(rho_bar, pi/mu),   c_t = lambda * min(c_bar, pi/mu),   d_t = gamma * (1 - terminated_t)
    v_t   = V_t + rho_t * delta_t + d_t * c_t * (v_{t+1} - V_{t+1}),   delta_t = r_t + d_t * V_{t+1} - V_t
    q_t   = r_t + d_t * (lambda * v_{t+1} + (1 - lambda) * V_{t+1}),   the last step bootstraps from V alone
    A_t   = min(rho_pg_bar, pi/mu) * (q_t - V_t)

With a leak, each clipped ratio min(bar, x) becomes alpha * min(bar, x) + (1 - alpha) * x: alpha_rho for both rho, alpha_c for c.
At alpha = 1 that is V-trace.

Reference: Espeholt et al. (2018), eq. 1, remarks 1 and 2. lambda enters q_t as in rlax's `vtrace_td_error_and_advantage`: on-policy, A_t is
then the lambda-return less V_t, which meta-gradients on lambda need. The leak: Zahavy et al. (2020), "A Self-Tuning Actor-Critic
Algorithm", leaky V-trace. The page docs/vtrace.md compares conventions and implementations.
Letters: T time, B environments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import bootstrap_values, cleared
from learners.ops.recurrence import backward_recurrence

MAX_LEAKED_LOG_RATIO = 10.0
"""Bound of the unclipped ratio in a leaky one, at 22,000: an infinite ratio times a weight of zero would be NaN."""

Leak = float | Float[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class VTrace:
    """V-trace's results for an unroll.

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
    leak_rho: Leak = 1.0,
    leak_c: Leak = 1.0,
) -> VTrace:
    """Return the targets and advantages of an unroll.

    Episode borders: a termination has `discount_t` zero. A truncated step t keeps its discount and bootstraps from `value_tp1[t]`, the
    value of the final observation; row t + 1, the reset, has `weight_t` zero, so that v equals V there and nothing flows across it.
    Unused values may be NaN: ratio, reward and values where the weight is zero, and `value_tp1` where the discount is.

    Args:
        log_rho_t: log pi(a_t) - log mu(a_t).
        reward_t: reward received on leaving step t.
        discount_t: discount applied to everything after step t; zero at a termination.
        value_t: value estimate of the observation of step t.
        value_tp1: value estimate of the observation that step t led to.
        lambda_: trace parameter in [0, 1].
        weight_t: one where step t is experience, zero at a reset.
        clip_rho: rho_bar, positive; determines the policy whose value is learned. At least `clip_c`.
        clip_c: c_bar, positive; affects the speed of learning.
        clip_pg_rho: the clip of the ratio in the advantage, positive.
        leak_rho: alpha_rho in [0, 1], of rho and of the ratio in the advantage; 1 clips, 0 does not.
        leak_c: alpha_c in [0, 1], of c.

    Gradient: flows to every argument but `weight_t`; pass detached what must not carry it (the paper: everything but gamma and lambda).
    """
    log_rho_t, value_tp1 = cleared(log_rho_t, weight_t), bootstrap_values(value_tp1, discount_t * weight_t)
    rho_t = leaky_ratio(log_rho_t, clip_rho, leak_rho) * weight_t
    is_plain = isinstance(leak_rho, float) and isinstance(leak_c, float) and leak_rho == leak_c
    c_t = rho_t if is_plain and clip_c == clip_rho else leaky_ratio(log_rho_t, clip_c, leak_c) * weight_t
    pg_rho_t = rho_t if clip_pg_rho == clip_rho else leaky_ratio(log_rho_t, clip_pg_rho, leak_rho) * weight_t
    td_error_t = cleared(reward_t + discount_t * value_tp1 - value_t, weight_t)
    trace_t = lambda_ * discount_t
    # correction_t = v_t - V_t, so a reset row (weight zero) passes exactly zero to the row before it.
    correction_t = backward_recurrence(rho_t * td_error_t, trace_t * c_t)
    correction_tp1 = torch.cat((correction_t[1:], torch.zeros_like(correction_t[:1])))
    advantage_t = pg_rho_t * torch.addcmul(td_error_t, trace_t, correction_tp1)
    return VTrace(value_target=value_t + correction_t, advantage=advantage_t, rho=rho_t)


def leaky_ratio(log_rho_t: Float[Tensor, "T B"], clip: float, leak: Leak) -> Float[Tensor, "T B"]:
    """Return alpha * min(clip, pi/mu) + (1 - alpha) * pi/mu.

    Args:
        log_rho_t: log pi(a_t) - log mu(a_t).
        clip: ceiling of the clipped share, positive.
        leak: alpha in [0, 1]; the float 1 leaves the second term out.

    Gradient: flows to `log_rho_t` and `leak`.
    """
    # min(clip, rho) = exp(min(log clip, log rho)): the ratio cannot overflow, and a clipped one has gradient zero, not 0 * inf.
    clipped = log_rho_t.clamp(max=math.log(clip)).exp()
    if isinstance(leak, float) and leak == 1.0:
        return clipped
    ratio = log_rho_t.clamp(max=MAX_LEAKED_LOG_RATIO).exp()
    return ratio + leak * (clipped - ratio)
