"""V-trace's targets and advantages with their derivatives by gamma, lambda and the leaks, in one scan.

With x_t = v_t - V_t, k_t = lambda d_t c_t and d_t = gamma n_t (n_t zero at a termination), V-trace is x_t = rho_t delta_t + k_t x_{t+1} and
A_t = rho_pg_t (delta_t + lambda d_t x_{t+1}). A dot is a derivative by one meta-parameter; values, rewards and ratios are constants:

    x'_t = (rho_t delta_t)' + k'_t x_{t+1} + k_t x'_{t+1}
    A'_t = rho_pg'_t (delta_t + lambda d_t x_{t+1}) + rho_pg_t (delta'_t + (lambda d_t)' x_{t+1} + lambda d_t x'_{t+1})

                 delta'_t      rho'_t                  c'_t                  (lambda d_t)'
    gamma        n_t V_{t+1}   0                       0                     lambda n_t
    lambda       0             0                       0                     d_t
    leak_rho     0             min(bar, ratio) - ratio 0                     0
    leak_c       0             0                       min(bar, ratio) - ratio 0

The scan carries x and all x' as the rows of one tensor, so every step is two small operations however many derivatives are asked for.

Reference: Xu, van Hasselt and Silver (2018), "Meta-Gradient Reinforcement Learning", section 2: the return is differentiated in full
through its recursion, with all values held constant. `learners.ops.vtrace` is the same without derivatives.
Letters: T time, B environments, M meta-parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.vtrace import VTrace, leaky_ratio

ReturnParameter = Literal["gamma", "lambda", "leak_rho", "leak_c"]
"""What of V-trace's return can be tuned."""


@dataclass(frozen=True, kw_only=True)
class VTraceDerivatives:
    """V-trace and its derivatives.

    Attributes:
        targets: what `vtrace` returns.
        value_target: d v_t / d eta_m, m in the order asked for.
        advantage: d A_t / d eta_m.
    """

    targets: VTrace
    value_target: Float[Tensor, "M T B"]
    advantage: Float[Tensor, "M T B"]


def vtrace_with_derivatives(
    *,
    log_rho_t: Float[Tensor, "T B"],
    reward_t: Float[Tensor, "T B"],
    continues_t: Float[Tensor, "T B"],
    value_t: Float[Tensor, "T B"],
    value_tp1: Float[Tensor, "T B"],
    weight_t: Float[Tensor, "T B"],
    gamma: float,
    lambda_: float,
    by: Sequence[ReturnParameter],
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
    leak_rho: float = 1.0,
    leak_c: float = 1.0,
) -> VTraceDerivatives:
    """Return V-trace's targets and advantages with their derivatives.

    Args:
        log_rho_t: log pi(a_t) - log mu(a_t).
        reward_t: reward received on leaving step t.
        continues_t: one, zero at a termination; `gamma` times it is `vtrace`'s discount.
        value_t: value estimate of the observation of step t.
        value_tp1: value estimate of the observation that step t led to.
        weight_t: one where step t is experience, zero at a reset.
        gamma: discount in [0, 1].
        lambda_: trace parameter in [0, 1].
        by: which derivatives, in which order; M of them, none is allowed.
        clip_rho: rho_bar, positive.
        clip_c: c_bar, positive.
        clip_pg_rho: the clip of the ratio in the advantage, positive.
        leak_rho: alpha_rho in [0, 1].
        leak_c: alpha_c in [0, 1].

    Gradient: none is meant to flow; the derivatives are in the result.
    """
    ratio, discount_t = log_rho_t, gamma * continues_t
    rho_t = leaky_ratio(ratio, clip_rho, leak_rho) * weight_t
    c_t = leaky_ratio(ratio, clip_c, leak_c) * weight_t
    pg_rho_t = leaky_ratio(ratio, clip_pg_rho, leak_rho) * weight_t
    delta_t, trace_t = reward_t + discount_t * value_tp1 - value_t, lambda_ * discount_t
    zero = torch.zeros_like(reward_t)

    def beyond(clip: float) -> Tensor:
        """min(bar, ratio) - ratio: what a leak of one takes away."""
        return (leaky_ratio(ratio, clip, 1.0) - leaky_ratio(ratio, clip, 0.0)) * weight_t

    # rows by name: delta', rho', c', rho_pg', (lambda d)'
    rules: dict[ReturnParameter, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = {}
    for name in by:
        match name:
            case "gamma":
                rules[name] = (continues_t * value_tp1, zero, zero, zero, lambda_ * continues_t)
            case "lambda":
                rules[name] = (zero, zero, zero, zero, discount_t)
            case "leak_rho":
                rules[name] = (zero, beyond(clip_rho), zero, beyond(clip_pg_rho), zero)
            case "leak_c":
                rules[name] = (zero, zero, beyond(clip_c), zero, zero)
    columns = list(zip(*(rules[name] for name in by), strict=True)) or [()] * 5
    d_delta, d_rho, d_c, d_pg_rho, d_trace = (torch.stack([zero, *column]) for column in columns)  # row 0: x itself

    offset = d_rho * delta_t + rho_t * d_delta
    offset[0] = rho_t * delta_t
    d_decay = d_trace * c_t + trace_t * d_c
    x_tp1 = _scan(offset, trace_t * c_t, d_decay)
    following = torch.cat((x_tp1[:, 1:], torch.zeros_like(x_tp1[:, :1])), dim=1)
    inner_t = torch.addcmul(delta_t, trace_t, following[0])
    d_advantage = d_pg_rho * inner_t + pg_rho_t * (d_delta + d_trace * following[0] + trace_t * following)
    return VTraceDerivatives(
        targets=VTrace(value_target=value_t + x_tp1[0], advantage=pg_rho_t * inner_t, rho=rho_t),
        value_target=x_tp1[1:],
        advantage=d_advantage[1:],
    )


def _scan(
    offset_t: Float[Tensor, "M1 T B"], decay_t: Float[Tensor, "T B"], d_decay_t: Float[Tensor, "M1 T B"]
) -> Float[Tensor, "M1 T B"]:
    """Return x_t = offset_t + decay_t x_{t+1} + d_decay_t x_{t+1}[0]; row 0 of `d_decay_t` is zero, so row 0 is the recursion itself."""
    steps = zip(offset_t.unbind(1)[::-1], decay_t.unbind()[::-1], d_decay_t.unbind(1)[::-1], strict=True)
    x = torch.zeros_like(offset_t[:, 0])
    found = []
    for offset, decay, d_decay in steps:
        x = torch.addcmul(torch.addcmul(offset, d_decay, x[:1]), decay, x)
        found.append(x)
    return torch.stack(found[::-1], dim=1)
