"""The recursion of all multi-step targets: a linear recurrence, backwards in time.

    x_t = offset_t + decay_t * x_{t+1},      x_T = last

Discounted and lambda returns, GAE and V-trace differ only in `offset_t` and `decay_t`; those are computed for all
steps at once, so that only one fused multiply-add per step remains in the loop.

Letters: T time, B environments.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def backward_recurrence(
    offset_t: Float[Tensor, "T B"], decay_t: Float[Tensor, "T B"], last: Float[Tensor, " B"] | None = None
) -> Float[Tensor, "T B"]:
    """Return x_0 .. x_{T-1} of x_t = offset_t + decay_t * x_{t+1}.

    Args:
        offset_t: the term of step t.
        decay_t: the factor of x_{t+1} in x_t; zero cuts the recursion between t and t + 1.
        last: x_T; None for zero.

    Gradient: flows to every argument, in reverse and in forward mode.
    """
    offsets, decays = offset_t.unbind(), decay_t.unbind()
    x_tp1 = offsets[-1] if last is None else torch.addcmul(offsets[-1], decays[-1], last)
    steps = [x_tp1]
    for offset, decay in zip(offsets[-2::-1], decays[-2::-1], strict=True):
        x_tp1 = torch.addcmul(offset, decay, x_tp1)
        steps.append(x_tp1)
    steps.reverse()
    return torch.stack(steps)
