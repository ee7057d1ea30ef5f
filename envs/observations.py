"""How observation spaces and observations of an environment are converted.

    Box of floats        float32
    Box of integers      as it is: the network scales it by the space's own bounds, see `integer_bounds`
    Box of bool          uint8, 0 and 1; so is MultiBinary
    Discrete             one index from 0 on; the network looks the state's weights up, so that no one-hot vector is ever made
    MultiDiscrete        a vector of such indices

Images stay as the environment gives them, channels first or last: the network views them transposed, which copies nothing.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from envs.errors import InvalidInputError

Bounds = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest values: one of each for all components, or one a component in C order; infinite where there is none."""

SUPPORTED = "Box, Discrete, MultiDiscrete and MultiBinary"


def observed_space(name: str, space: gymnasium.Space[Any]) -> Box | Discrete | MultiDiscrete:
    """Return the space of what `converted` returns.

    Args:
        name: of the environment, for the error.
        space: the environment's own.

    Raises:
        InvalidInputError: it is none that a network can read here.
    """
    if isinstance(space, Discrete):
        return Discrete(int(space.n))
    if isinstance(space, MultiDiscrete):
        return MultiDiscrete(space.nvec)
    if isinstance(space, MultiBinary) or (isinstance(space, Box) and space.dtype == np.bool_):
        return Box(0, 1, space.shape, np.uint8)
    if isinstance(space, Box) and space.dtype.kind in "iu":
        return space
    if isinstance(space, Box):
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    raise InvalidInputError(f"{name} has a {type(space).__name__} observation space; {SUPPORTED} are supported")


def converted(space: gymnasium.Space[Any], obs: np.ndarray) -> np.ndarray:
    """Return observations [B, *O] of `space` as `observed_space` has them; always a new array."""
    if isinstance(space, Discrete | MultiDiscrete):
        indices: np.ndarray = obs - space.start
        return indices
    dtype = np.dtype(space.dtype)
    if isinstance(space, MultiBinary) or dtype == np.bool_:
        return obs.astype(np.uint8)
    return obs.astype(dtype if dtype.kind in "iu" else np.float32)


def index_sizes(space: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Return how many values each index of an observation may take, in C order; nothing for a space of numbers."""
    if isinstance(space, Discrete):
        return (int(space.n),)
    return tuple(space.nvec.ravel().tolist()) if isinstance(space, MultiDiscrete) else ()


def integer_bounds(space: gymnasium.Space[Any]) -> Bounds | None:
    """Return the bounds that integer observations are scaled by; None where they are left as they are.

    A component is scaled where the space bounds it on both sides. The end of the dtype's own range is no bound, save 0 of unsigned
    numbers and the 255 of uint8.

    Returns:
        The bounds; None for other spaces, where no component is bounded, and for uint8 that are all in [0, 255], which a network takes
        for pixels anyway.
    """
    if not isinstance(space, Box) or space.dtype.kind not in "iu":
        return None
    limits = np.iinfo(space.dtype)
    is_low = space.bounded_below & ((space.low > limits.min) | (limits.min == 0))
    is_high = space.bounded_above & ((space.high < limits.max) | (limits.max == 255))
    low = np.where(is_low & is_high, space.low.astype(np.float64), -np.inf).ravel()
    high = np.where(is_low & is_high, space.high.astype(np.float64), np.inf).ravel()
    if np.isinf(low).all() or (space.dtype == np.uint8 and not low.any() and (high == 255).all()):
        return None
    if (low == low[0]).all() and (high == high[0]).all():
        low, high = low[:1], high[:1]
    return tuple(low.tolist()), tuple(high.tolist())
