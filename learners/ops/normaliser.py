"""Running mean and variance of observations, merged batch by batch.

    n = n_a + n_b,    delta = mean_b - mean_a
    mean = mean_a + delta * n_b / n,    M2 = M2_a + M2_b + delta^2 * n_a * n_b / n,    variance = M2 / n

Reference: Chan, Golub and LeVeque (1983), eq. 2.1; Welford (1962) is the case n_b = 1.
The moments are float64: after 10^9 observations a float32 count no longer grows, and M2 loses what a batch adds.

Letters: O observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from learners.ops.masks import cleared

EPSILON = 1e-8
"""Added to the variance: a constant component is scaled by 1e4 at most, and then clipped."""


@dataclass(frozen=True, kw_only=True)
class RunningMoments:
    """The moments of all observations seen so far.

    Attributes:
        mean: their mean.
        m2: sum of squared deviations from it.
        count: how many (a sum of weights).
    """

    mean: Float[Tensor, "*O"]
    m2: Float[Tensor, "*O"]
    count: Float[Tensor, ""]

    @staticmethod
    def empty(obs_shape: tuple[int, ...]) -> RunningMoments:
        """The moments of no observation."""
        zeros = torch.zeros(obs_shape, dtype=torch.float64)
        return RunningMoments(mean=zeros, m2=zeros.clone(), count=torch.zeros((), dtype=torch.float64))

    def to(self, device: torch.device) -> RunningMoments:
        """Return the same moments on `device`."""
        return RunningMoments(mean=self.mean.to(device), m2=self.m2.to(device), count=self.count.to(device))

    @property
    def std(self) -> Float[Tensor, "*O"]:
        """Standard deviation, bounded away from zero; one before the first observation."""
        variance = torch.where(self.count > 0, self.m2 / self.count.clamp(min=1), torch.ones_like(self.m2))
        return (variance + EPSILON).sqrt()


def update(moments: RunningMoments, batch: Shaped[Tensor, "..."], weight: Shaped[Tensor, "..."]) -> RunningMoments:
    """Return the moments with a batch of observations merged in; `moments` is not modified.

    Args:
        moments: of what was seen before.
        batch: observations [*N, *O].
        weight: [*N], one for an observation to count, zero to leave it out, NaN or not.

    Gradient: none is taken.
    """
    with torch.no_grad():
        shape = moments.mean.shape
        # Means and deviations are taken about the old mean: a large common offset does not cost digits.
        shifted = batch.reshape(-1, *shape).to(moments.mean) - moments.mean
        share = weight.reshape(-1, *(1 for _ in shape)).to(shifted)
        shifted = cleared(shifted, share)
        added = share.sum()
        count = moments.count + added
        # an empty batch divides by no 0
        safe_added, safe_count = added.clamp(min=1e-300), count.clamp(min=1e-300)
        delta = (shifted * share).sum(dim=0) / safe_added
        m2_batch = ((shifted - delta).square() * share).sum(dim=0)
        mean = moments.mean + delta * (added / safe_count)
        m2 = moments.m2 + m2_batch + delta.square() * (moments.count * added / safe_count)
        return RunningMoments(mean=mean, m2=m2, count=count)


def standardise(
    x: Float[Tensor, "..."], mean: Float[Tensor, "*O"], std: Float[Tensor, "*O"], clip: float = 10.0
) -> Float[Tensor, "..."]:
    """Return (x - mean) / std, clipped to [-clip, clip].

    Args:
        x: observations [*N, *O].
        mean: of the moments, in the type of `x`.
        std: likewise.
        clip: bound of the result.

    Gradient: flows to `x` where it is not clipped.
    """
    return ((x - mean) / std).clamp(-clip, clip)
