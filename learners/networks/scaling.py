"""Scaling of integers to [0, 1] by the bounds of their space.

    x' = (x - low) / (high - low)

Pixels are bytes in [0, 255], flags those in [0, 1], and the object ids of a grid may lie in [0, 10]: divided by 255, the latter
two would be close to zero. A component without bounds is not changed, and a constant one becomes 0.

Letters: N rows, O observation.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from learners.networks.spaces import SpaceSpec

PIXELS = ((0.0,), (255.0,))
AS_THEY_ARE = ((0.0,), (1.0,))


class Scaling(nn.Module):
    """Observations of a space, its integers in [0, 1] where they have bounds.

    Attributes:
        offset, factor: x' = (x - offset) * factor. Plain numbers where all components share them, buffers [*O] otherwise; not
            part of snapshots, since every process has the space.
    """

    offset: float | Tensor
    factor: float | Tensor

    def __init__(self, spec: SpaceSpec) -> None:
        super().__init__()
        low, high = (np.array(bound) for bound in spec.obs_bounds or (PIXELS if spec.is_pixels else AS_THEY_ARE))
        is_bounded = np.isfinite(low) & np.isfinite(high)
        offset = np.where(is_bounded, low, 0.0)
        factor = 1.0 / np.where(is_bounded & (high > low), high - offset, 1.0)
        if offset.size == 1:
            self.offset, self.factor = float(offset[0]), float(factor[0])
        else:
            for name, values in (("offset", offset), ("factor", factor)):
                self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(spec.obs_shape), persistent=False)

    @property
    def common_factor(self) -> float | None:
        """The factor by which a layer's weights may be scaled in place of its inputs; None where inputs are shifted or differ."""
        return self.factor if isinstance(self.factor, float) and self.offset == 0.0 else None

    def forward(self, x: Float[Tensor, "N *O"]) -> Float[Tensor, "N *O"]:
        """Return scaled observations. Gradient: flows to `x`."""
        if isinstance(self.offset, Tensor) or self.offset != 0.0:
            x = x - self.offset
        return x if isinstance(self.factor, float) and self.factor == 1.0 else x * self.factor
