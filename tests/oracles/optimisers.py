"""Slow truths for the optimisers: scalar loops over one parameter, from the sources' definitions."""

from __future__ import annotations

import math


def rmsprop_inside_sqrt(
    start: float, grads: list[float], rates: list[float], *, decay: float, epsilon: float, momentum: float, second_moment: float
) -> float:
    """TensorFlow's ApplyRMSProp: ms += (g^2 - ms)(1 - rho); mom = mom * momentum + lr g / sqrt(ms + eps); var -= mom."""
    parameter, buffer = start, 0.0
    for grad, rate in zip(grads, rates, strict=True):
        second_moment += (grad * grad - second_moment) * (1 - decay)
        buffer = buffer * momentum + rate * grad / math.sqrt(second_moment + epsilon)
        parameter -= buffer
    return parameter
