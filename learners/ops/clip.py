"""Clipping of gradients by their global norm.

    g <- g * max_norm / max(max_norm, |g|),      |g| = sqrt(sum over all parameters of |g_i|^2)

This is TensorFlow's `clip_by_global_norm`, which IMPALA uses: at the clip the norm is `max_norm` exactly. PyTorch's `clip_grad_norm_`
divides by |g| + 1e-6 instead; the two differ by one part in a million at a norm of one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from learners.ops.flat import flatten, unflatten


def clip_by_global_norm(grads: dict[str, Tensor], max_norm: float) -> tuple[dict[str, Tensor], Float[Tensor, ""]]:
    """Scale `grads` down to a global norm of at most `max_norm`.

    A norm that is not finite makes every gradient NaN or zero: look at the norm returned before applying them.

    Args:
        grads: gradients by parameter name; not modified.
        max_norm: the largest norm allowed, positive.

    Returns:
        The clipped gradients, and the norm before clipping.

    Gradient: flows through both, the clip being the projection s * (I - g g^T / |g|^2) where active.
    """
    vector = flatten(grads.values())
    norm: Tensor = torch.linalg.vector_norm(vector)
    return unflatten(vector * (max_norm / norm.clamp(min=max_norm)), grads), norm
