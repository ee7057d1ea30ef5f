"""Masks for unused values: multiplying by zero would not remove NaN, since 0 * NaN is NaN, in the gradient too.

    a step without weight, w_t = 0                 its reward, value, ratio, advantage ... count as zero
    a step that is not bootstrapped from           V_{t+1} counts as zero where it is not finite

The final observation of a terminated episode may hold anything (the simulator is gone, the data has ended), and so may a network's
output for it. Inputs are masked before a formula and not its results after it, because only then is the gradient finite as well. A
finite bootstrap value is not changed: multiplied by zero it is zero, and the derivative by the discount exists at a discount of zero too.

Letters: N any axes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cleared(x: Float[Tensor, "*N"], weight: Float[Tensor, "..."]) -> Float[Tensor, "*N"]:
    """Return `x`, zero where the weight is zero.

    Args:
        x: values per step.
        weight: one where a step is experience, zero at a reset; of a shape that broadcasts to that of `x`.

    Gradient: flows to `x` where the weight is not zero; none is meant to flow to `weight`.
    """
    # the weight itself serves as the zero: saves one operation
    return torch.where(weight.bool(), x, weight)


def standardised(x: Float[Tensor, "*N"], weight: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Return `x` with mean 0 and standard deviation 1 over the steps with weight. Gradient: flows to `x`."""
    num_steps, x = weight.sum().clamp(min=1.0), cleared(x, weight)
    x = x - (x * weight).sum() / num_steps
    deviation = ((x.square() * weight).sum() / num_steps).sqrt()
    return x / deviation.clamp(min=1e-8)


def bootstrap_values(value_tp1: Float[Tensor, "*N"], share: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Return `value_tp1`, finite where it is not bootstrapped from.

    Args:
        value_tp1: value estimate of the observation that a step led to.
        share: zero where it is multiplied by zero: at a termination, and at a reset.

    Gradient: flows to `value_tp1`.
    """
    return torch.where(share.bool(), value_tp1, value_tp1.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
