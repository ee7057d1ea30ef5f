"""The three terms of an actor-critic loss, each a sum over the unroll.

Sums, not means: the learning rate 6e-4 and the gradient clip 40 of IMPALA belong to a loss summed over time and batch.
Where the weight is zero nothing is looked at: any argument may be NaN there.

    policy: -sum_t w_t * A_t * log pi(a_t)      value: 1/2 * sum_t w_t * (v_t - V_t)^2      entropy: -sum_t w_t * H(pi_t)

Reference: Espeholt et al. (2018), section 4.2 and table D.1; Mnih et al. (2016), section 4.
Letters: T time, B environments.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import cleared


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
        target_t: what they should have been.
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
