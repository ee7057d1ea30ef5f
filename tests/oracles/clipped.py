"""PPO's two clips, one number at a time, by cases."""

from __future__ import annotations

import math


def surrogate(log_ratio: float, advantage: float, clip: float) -> float:
    """rho A, but no more than it is worth at the clip on the side where moving gains."""
    ratio = math.exp(log_ratio)
    if advantage >= 0:
        return advantage * min(ratio, 1 + clip)
    return advantage * max(ratio, 1 - clip)


def value_error(value: float, old: float, target: float, clip: float) -> float:
    """Half the squared error of the value or of the value held within `clip` of the old one, the larger."""
    if clip == 0:
        return (value - target) ** 2 / 2
    held = min(max(value, old - clip), old + clip)
    return max(abs(value - target), abs(held - target)) ** 2 / 2
