"""Meta-parameters: the hyper-parameters of a loss that a meta-gradient may tune, each in a range and parametrised by a logit.

    eta = low + (high - low) * sigmoid(x),      d eta / d x = (high - low) * s * (1 - s),   s = sigmoid(x) = the position in the range

The optimiser updates x, which is unbounded; eta stays in its range. The network is conditioned on the position s: for gamma and lambda in
[0, 1] it is eta itself.

Reference: Xu, van Hasselt and Silver (2018), section 2 (gamma, lambda; the logistic); Zahavy et al. (2020), "A Self-Tuning Actor-Critic
Algorithm", table 1 (the costs and the leaks of V-trace).
Letters: M meta-parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from envs.errors import InvalidInputError, unknown

META_PARAMETERS: dict[str, str] = {
    "gamma": "gamma",
    "lambda": "lambda_",
    "policy_cost": "policy_cost",
    "baseline_cost": "baseline_cost",
    "entropy_cost": "entropy_cost",
    "leak_rho": "leak_rho",
    "leak_c": "leak_c",
}
"""Name -> the field of the learner's config with its initial value, which it replaces."""

BORDER = 0.005
"""An initial value on the border of its range is moved inside by this share of the range: on the border the sigmoid's slope is zero."""

Range = tuple[float, float]


def check_names(eta: Sequence[str]) -> None:
    """Refuse unknown meta-parameters and repeated ones.

    Raises:
        InvalidInputError: names the nearest one, or the repeated one.
    """
    for name in eta:
        if name not in META_PARAMETERS:
            raise unknown("meta-parameter in eta:", name, META_PARAMETERS)
    if len(set(eta)) < len(eta):
        twice = next(name for name in eta if list(eta).count(name) > 1)
        raise InvalidInputError(f"eta = {','.join(eta)}: {twice} is named twice")


def to_logits(values: Mapping[str, float], ranges: Mapping[str, Range]) -> Float[Tensor, " M"]:
    """Return the logits x of the values of eta.

    Args:
        values: start values by name, in order.
        ranges: (low, high) by name.

    Raises:
        InvalidInputError: a value outside its range.
    """
    positions = []
    for name, value in values.items():
        low, high = ranges[name]
        if not low <= value <= high:
            raise InvalidInputError(
                f"learner.{META_PARAMETERS[name]} = {value:g} is where meta-parameter {name} starts and lies outside of its range "
                f"[{low:g}, {high:g}]: start inside, or widen meta.{name}_range"
            )
        positions.append(min(max((value - low) / (high - low), BORDER), 1 - BORDER))
    return torch.logit(torch.tensor(positions, dtype=torch.float64))


def values_of(logits: Float[Tensor, " M"], ranges: Sequence[Range]) -> Float[Tensor, " M"]:
    """Return eta. Gradient: flows to `logits`."""
    low, high = torch.tensor(ranges, dtype=logits.dtype, device=logits.device).reshape(-1, 2).unbind(-1)
    return low + (high - low) * logits.sigmoid()


def slopes_of(logits: Float[Tensor, " M"], ranges: Sequence[Range]) -> Float[Tensor, " M"]:
    """Return d eta / d x at each logit."""
    low, high = torch.tensor(ranges, dtype=logits.dtype, device=logits.device).reshape(-1, 2).unbind(-1)
    s = logits.sigmoid()
    return (high - low) * s * (1 - s)
