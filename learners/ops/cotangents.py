"""The cotangents of an actor-critic loss for its network's outputs, and their derivatives by the meta-parameters.

The gradient of the loss is the network's vector-Jacobian product with the cotangents of log pi(a_t), V_t and H_t,

    c_t = (-p A_t,  -b (v_t - V_t),  -e) * w_t

and eta enters there and nowhere else (targets, advantages and ratios are constants of the loss). So, with p, b, e the three costs,

    gamma, lambda, leaks   dc_t = (-p dA_t,  -b dv_t,  0) * w_t        policy cost     dc_t = (-A_t, 0, 0) * w_t
    baseline cost          dc_t = (0, -(v_t - V_t), 0) * w_t           entropy cost    dc_t = (0, 0, -1) * w_t

Reference: Xu, van Hasselt and Silver (2018), section 2, control: df/deta = alpha dg/deta [dlog pi/dtheta + b dv/dtheta].
Letters: T time, B environments, M meta-parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.masks import cleared
from learners.ops.vtrace_derivatives import ReturnParameter, VTraceDerivatives

RETURN_PARAMETERS: tuple[ReturnParameter, ...] = get_args(ReturnParameter)


def return_parameters(eta: Sequence[str]) -> list[ReturnParameter]:
    """Those of `eta` that the return depends on, in their order."""
    return [known for name in eta for known in RETURN_PARAMETERS if known == name]


def cotangent_derivatives(
    eta: Sequence[str],
    vtrace: VTraceDerivatives,
    value_t: Float[Tensor, "T B"],
    weight_t: Float[Tensor, "T B"],
    *,
    policy_cost: float,
    baseline_cost: float,
) -> Float[Tensor, "M 3 T B"]:
    """Return dc/deta, for log pi, V and the entropy; zero where the weight is zero.

    Args:
        eta: names of the meta-parameters.
        vtrace: targets with their derivatives by `return_parameters(eta)`, in that order.
        value_t: value estimates.
        weight_t: one where step t is experience, zero at a reset.
        policy_cost: p, the current weight of the policy loss.
        baseline_cost: b, that of the value loss.

    Gradient: none is meant to flow.
    """
    zero, targets = torch.zeros_like(weight_t), vtrace.targets
    by_return = dict(zip(return_parameters(eta), zip(vtrace.advantage, vtrace.value_target, strict=True), strict=True))
    rows = []
    for name in eta:
        match name:
            case "policy_cost":
                row = (-targets.advantage, zero, zero)
            case "baseline_cost":
                row = (zero, value_t - targets.value_target, zero)
            case "entropy_cost":
                row = (zero, zero, -torch.ones_like(zero))
            case "gamma" | "lambda" | "leak_rho" | "leak_c":
                advantage, target = by_return[name]
                row = (-policy_cost * advantage, -baseline_cost * target, zero)
            case _:
                raise ValueError(f"{name} is no meta-parameter of an actor-critic loss")
        rows.append(torch.stack(row))
    return cleared(torch.stack(rows), weight_t) * weight_t
