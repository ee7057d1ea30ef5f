"""Terms of actor-critic losses: policy, value and entropy, each a sum over the unroll, and PPO's two terms per step.

Sums, not means: the learning rate 6e-4 and the gradient clip 40 of IMPALA belong to a loss summed over time and batch.
Where the weight is zero no argument is used: any may be NaN there.

    policy: -sum_t w_t * A_t * log pi(a_t)      value: 1/2 * sum_t w_t * (v_t - V_t)^2      entropy: -sum_t w_t * H(pi_t)

    PPO:    min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)               rho_t = pi(a_t) / pi_old(a_t)
            1/2 * max((V_t - v_t)^2, (V_old_t + clip(V_t - V_old_t, -eps, eps) - v_t)^2)

Reference: Espeholt et al. (2018), section 4.2 and table D.1; Mnih et al. (2016), section 4. Schulman et al. (2017), eq. 7; the clipped
value is that of its released code.
Letters: T time, B environments.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import cleared

MAX_LOG_RATIO = 20.0
"""Of PPO's ratio: above 88 it is infinite in float32, and the gradient of a clipped ratio would be 0 * infinity."""


def policy_gradient_loss(
    log_prob_t: Float[Tensor, "T B"], advantage_t: Float[Tensor, "T B"], weight_t: Float[Tensor, "T B"]
) -> Float[Tensor, ""]:
    """Return -sum w * A * log pi, whose gradient is the policy gradient.

    Args:
        log_prob_t: log pi of the action taken.
        advantage_t: its advantage, importance ratio included.
        weight_t: one where step t is experience, zero at a reset.

    Gradient: flows to `log_prob_t` only; the advantage is a constant.
    """
    return -(cleared(log_prob_t, weight_t) * cleared(advantage_t.detach() * weight_t, weight_t)).sum()


def value_loss(
    value_t: Float[Tensor, "T B"], target_t: Float[Tensor, "T B"], weight_t: Float[Tensor, "T B"]
) -> Float[Tensor, ""]:
    """Return 1/2 * sum w * (target - value)^2.

    Args:
        value_t: value estimates.
        target_t: their regression targets.
        weight_t: one where step t is experience, zero at a reset.

    Gradient: flows to `value_t` only (a semi-gradient).
    """
    return 0.5 * (weight_t * cleared(target_t.detach() - value_t, weight_t).square()).sum()


def entropy_loss(entropy_t: Float[Tensor, "T B"], weight_t: Float[Tensor, "T B"]) -> Float[Tensor, ""]:
    """Return -sum w * H: minimising it keeps the policy from collapsing.

    Args:
        entropy_t: entropy of the policy, in nats.
        weight_t: one where step t is experience, zero at a reset.

    Gradient: flows to `entropy_t`.
    """
    return -(cleared(entropy_t, weight_t) * weight_t).sum()


def clipped_surrogate(log_ratio_t: Float[Tensor, "*N"], advantage_t: Float[Tensor, "*N"], clip: float) -> Float[Tensor, "*N"]:
    """Return min(rho A, clip(rho, 1 - eps, 1 + eps) A), whose mean PPO maximises.

    Args:
        log_ratio_t: log pi(a_t) - log pi_old(a_t).
        advantage_t: advantage of the action taken.
        clip: eps, the clip of the ratio.

    Gradient: flows to both; to the ratio only where the clip is not active.
    """
    ratio_t = log_ratio_t.clamp(max=MAX_LOG_RATIO).exp()
    return torch.minimum(ratio_t * advantage_t, ratio_t.clamp(1 - clip, 1 + clip) * advantage_t)


def clipped_value_error(
    value_t: Float[Tensor, "*N"], old_value_t: Float[Tensor, "*N"], target_t: Float[Tensor, "*N"], clip: float
) -> Float[Tensor, "*N"]:
    """Return half the squared error of the value, or of the value clipped around the old one, whichever is larger.

    Args:
        value_t: value estimates.
        old_value_t: value estimates that the targets were computed from.
        target_t: their regression targets.
        clip: clip of the change of an estimate; 0 for the plain error.

    Gradient: flows to every tensor; pass detached what is constant.
    """
    squared_t = (value_t - target_t).square()
    if clip > 0:
        held_t = old_value_t + (value_t - old_value_t).clamp(-clip, clip)
        squared_t = torch.maximum(squared_t, (held_t - target_t).square())
    return 0.5 * squared_t
