"""Slow truths for the image torsos: the published layers one after the other, on frames scaled to [0, 1], all rows at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def same_pool(x: Tensor) -> Tensor:
    """TensorFlow's 3 x 3 max-pooling with stride 2 and SAME padding, the padding put in by hand."""
    pads = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.max_pool2d(functional.pad(x, pads, value=-torch.inf), 3, 2)


def shallow(frames: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Convolution 16 8x8/4, convolution 32 4x4/2, linear 256."""
    x = functional.relu(functional.conv2d(frames / 255, weights["convs.0.conv.weight"], weights["convs.0.conv.bias"], 4))
    x = functional.relu(functional.conv2d(x, weights["convs.2.weight"], weights["convs.2.bias"], 2))
    return functional.relu(functional.linear(x.flatten(1), weights["linear.weight"], weights["linear.bias"]))


def deep(frames: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Three sections of convolution, pooling and two residual blocks; linear 256."""

    def conv(x: Tensor, name: str) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    x = frames / 255
    for section in range(3):
        layer = 4 * section
        x = same_pool(conv(x, f"sections.{layer}.conv" if section == 0 else f"sections.{layer}"))
        for block in (layer + 2, layer + 3):
            inner = conv(functional.relu(x), f"sections.{block}.conv1")
            x = x + conv(functional.relu(inner), f"sections.{block}.conv2")
    return functional.relu(functional.linear(functional.relu(x).flatten(1), weights["linear.weight"], weights["linear.bias"]))
