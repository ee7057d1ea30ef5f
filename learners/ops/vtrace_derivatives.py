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

The scan carries x and all x' as the rows of one tensor, so every step is two small operations for any number of derivatives.

Reference: Xu, van Hasselt and Silver (2018), "Meta-Gradient Reinforcement Learning", section 2: the return is differentiated in full
through its recursion, with all values held constant. `learners.ops.vtrace` is the same without derivatives.
Letters: T time, B environments, M meta-parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import bootstrap_values, cleared
from learners.ops.vtrace import VTrace, leaky_ratio

ReturnParameter = Literal["gamma", "lambda", "leak_rho", "leak_c"]
"""Meta-parameters of V-trace's return."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The ceilings of V-trace's ratios and their leaks; see `vtrace`."""

    rho: float = 1.0
    c: float = 1.0
    pg_rho: float = 1.0
    leak_rho: float = 1.0
    leak_c: float = 1.0


@dataclass(frozen=True, kw_only=True)
class VTraceDerivatives:
    """V-trace and its derivatives.

    Attributes:
        targets: what `vtrace` returns.
        value_target: d v_t / d eta_m, m in the order of `by`.
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
    clips: Clips,
    by: Sequence[ReturnParameter],
) -> VTraceDerivatives:
    """Return V-trace's targets and advantages with their derivatives; unused values may be NaN as in `vtrace`.

    Args:
        log_rho_t: log pi(a_t) - log mu(a_t).
        reward_t: reward received on leaving step t.
        continues_t: one, zero at a termination; `gamma` times it is `vtrace`'s discount.
        value_t: estimate for the observation of step t.
        value_tp1: estimate for the observation after step t.
        weight_t: one where step t is experience, zero at a reset.
        gamma: discount in [0, 1].
        lambda_: trace parameter in [0, 1].
        clips: of the ratios.
        by: the M meta-parameters to differentiate by, in order; may be empty.

    Gradient: none; the derivatives are in the result.
    """
    log_rho_t, value_tp1 = cleared(log_rho_t, weight_t), bootstrap_values(value_tp1, continues_t * weight_t)
    discount_t = gamma * continues_t
    rho_t = leaky_ratio(log_rho_t, clips.rho, clips.leak_rho) * weight_t
    c_t = leaky_ratio(log_rho_t, clips.c, clips.leak_c) * weight_t
    pg_rho_t = leaky_ratio(log_rho_t, clips.pg_rho, clips.leak_rho) * weight_t
    delta_t, trace_t = cleared(reward_t + discount_t * value_tp1 - value_t, weight_t), lambda_ * discount_t
    beyond = {clip: _beyond(log_rho_t, clip) * weight_t for clip in {clips.rho, clips.c, clips.pg_rho}}
    zero = torch.zeros_like(reward_t)
    d_delta, d_rho, d_c, d_pg_rho, d_trace = _stacked(
        by,
        {
            "gamma": (continues_t * value_tp1, zero, zero, zero, lambda_ * continues_t),
            "lambda": (zero, zero, zero, zero, discount_t),
            "leak_rho": (zero, beyond[clips.rho], zero, beyond[clips.pg_rho], zero),
            "leak_c": (zero, zero, beyond[clips.c], zero, zero),
        },
        zero,
    )
    offset = d_rho * delta_t + rho_t * d_delta
    offset[0] = rho_t * delta_t
    x = _scan(offset, trace_t * c_t, d_trace * c_t + trace_t * d_c)
    x_tp1 = x[:, 1:]
    inner_t = torch.addcmul(delta_t, trace_t, x_tp1[0])
    d_advantage = d_pg_rho * inner_t + pg_rho_t * (d_delta + d_trace * x_tp1[0] + trace_t * x_tp1)
    return VTraceDerivatives(
        targets=VTrace(value_target=value_t + x[0, :-1], advantage=pg_rho_t * inner_t, rho=rho_t),
        value_target=x[1:, :-1],
        advantage=d_advantage[1:],
    )


def _stacked(by: Sequence[ReturnParameter], table: Mapping[str, tuple[Tensor, ...]], zero: Tensor) -> list[Tensor]:
    """The columns of the module's table, rho' of the advantage between c' and (lambda d)': [1 + M, T, B] each, row 0 for x itself."""
    rows = [(zero,) * 5, *(table[name] for name in by)]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def _beyond(log_rho_t: Float[Tensor, "T B"], clip: float) -> Float[Tensor, "T B"]:
    """min(bar, ratio) - ratio: the derivative by the leak."""
    return leaky_ratio(log_rho_t, clip, 1.0) - leaky_ratio(log_rho_t, clip, 0.0)


def _scan(
    offset_t: Float[Tensor, "M1 T B"], decay_t: Float[Tensor, "T B"], d_decay_t: Float[Tensor, "M1 T B"]
) -> Float[Tensor, "M1 T+1 B"]:
    """Return x_t = offset_t + decay_t x_{t+1} + d_decay_t x_{t+1}[0], x_T = 0; row 0 of `d_decay_t` is zero, so row 0 is the recursion."""
    steps = zip(offset_t.unbind(1)[::-1], decay_t.unbind()[::-1], d_decay_t.unbind(1)[::-1], strict=True)
    x = torch.zeros_like(offset_t[:, 0])
    found = [x]
    for offset, decay, d_decay in steps:
        x = torch.addcmul(torch.addcmul(offset, d_decay, x[:1]), decay, x)
        found.append(x)
    return torch.stack(found[::-1], dim=1)
