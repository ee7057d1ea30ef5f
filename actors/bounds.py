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
        self._centre_and_reach: tuple[np.ndarray, np.ndarray] | None = None
        if hasattr(space, "low") and np.isfinite(space.low).all() and np.isfinite(space.high).all():
            low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            self._centre_and_reach = (high + low) / 2, (high - low) / 2

    def apply(self, action: np.ndarray) -> np.ndarray:
        """Return what the environment is given: the action clipped to [-1, 1] and stretched to its space."""
        if self._centre_and_reach is None:
            return action
        centre, reach = self._centre_and_reach
        given: np.ndarray = centre + reach * np.clip(action, -1.0, 1.0)
        return given
