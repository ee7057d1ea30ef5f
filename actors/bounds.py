"""Maps sampled actions to the bounds of the environment.

A Gaussian has no bounds, and simulators clamp controls but not their costs: MuJoCo's control cost is quadratic in the action as given.
The learner keeps the action as sampled, so the clip belongs to the environment and the log-probability stays exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class ActionBounds:
    """A box of continuous actions; [-1, 1] is stretched over it. A box with an open side gets actions as they are."""

    def __init__(self, space: Any) -> None:
        self._centre, self._reach = (None, None) if not hasattr(space, "low") else _centre_and_reach(space)

    def apply(self, action: np.ndarray) -> np.ndarray:
        """Return what the environment is given: the action clipped to [-1, 1] and stretched to its space."""
        if self._centre is None or self._reach is None:
            return action
        given: np.ndarray = self._centre + self._reach * np.clip(action, -1.0, 1.0)
        return given


def _centre_and_reach(space: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The middle of a box and half of its width, or nothing where a side is open."""
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return None, None
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    return (high + low) / 2, (high - low) / 2
