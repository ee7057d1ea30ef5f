"""Flattening of many small tensors into one vector, and back.

Updates are elementwise in the parameters. On the fifteen tensors of a small network each operation would be fifteen calls, and calls cost
more than their arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def flatten(tensors: Iterable[Tensor]) -> Float[Tensor, " N"]:
    """Return all elements of `tensors` in one vector, in order. Gradient: flows to every tensor."""
    vector: Tensor = torch._utils._flatten_dense_tensors(tuple(tensors))  # type: ignore[no-untyped-call]
    return vector


def unflatten(vector: Float[Tensor, " N"], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `vector` as tensors with the names, order and shapes of `like`: views of it. Gradient: flows to `vector`."""
    parts = torch._utils._unflatten_dense_tensors(vector, tuple(like.values()))  # type: ignore[no-untyped-call]
    return dict(zip(like, parts, strict=True))
