"""Multi-layer perceptron, and the orthogonal initialisation of an agent's linear layers.

Where observations are indices, the first layer is a lookup that equals a linear layer on their one-hot vectors:

    W onehot(s) + b = W[:, s] + b,        W onehot(s_1) ++ .. ++ onehot(s_K) + b = sum_k W[:, o_k + s_k] + b,      o_k = n_1 + .. + n_(k-1)

The layer keeps the weight [H, n], the initial distribution and the checkpoints of a network on one-hot vectors. A row costs H numbers and
not H n; its gradient is dense, so that an optimiser still updates all H n weights: 25 ms of Adam for 20,000 states and H = 64.

Reference: Saxe et al. (2014) for orthogonal initialisation; the gains (sqrt 2 in the torso, 0.01 for the policy, 1 for the value) are
those of Andrychowicz et al. (2021), "What matters in on-policy reinforcement learning": a small policy head starts near the uniform policy.

Letters: N rows, F features, K indices, H outputs of the first layer, n values that the indices have together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["tanh", "relu"]

HIDDEN_GAIN = math.sqrt(2.0)


def orthogonal_linear(num_inputs: int, num_outputs: int, gain: float) -> nn.Linear:
    """Return a linear layer with orthogonal weight of the given gain and zero bias."""
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Module):
    """Linear layers, each followed by the activation.

    Args:
        num_inputs: features of a row; of its one-hot vectors where it consists of indices.
        hidden_sizes: width of each layer; with none the input is returned.
        activation: `tanh` or `relu`.
        num_extras: additional features of a row.
        index_sizes: how many values each index of a row takes; empty where rows are numbers. There must be a layer then.
    """

    offsets: Tensor

    def __init__(
        self,
        num_inputs: int,
        hidden_sizes: tuple[int, ...],
        activation: Activation,
        num_extras: int = 0,
        index_sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        sizes = (num_inputs + num_extras, *hidden_sizes)
        self.layers = nn.ModuleList([orthogonal_linear(before, after, HIDDEN_GAIN) for before, after in pairwise(sizes)])
        self.output_size = sizes[-1]
        self._has_indices = bool(index_sizes)
        self._activate = torch.tanh if activation == "tanh" else torch.relu
        if index_sizes:
            self.register_buffer("offsets", torch.tensor(_offsets(index_sizes)), persistent=False)

    def forward(self, x: Shaped[Tensor, "N F"], extras: Float[Tensor, "N E"] | None = None) -> Float[Tensor, "N G"]:
        """Return the features of the last layer; `extras` are concatenated to `x`.

        Gradient: flows to the parameters, to `extras`, and to `x` where rows are numbers.
        """
        layers = list(self.layers)
        if self._has_indices:
            x = self._activate(_looked_up(layers.pop(0), x + self.offsets, extras))
        elif extras is not None:
            x = torch.cat((x, extras), dim=-1)
        for layer in layers:
            x = self._activate(layer(x))
        return x


def one_hot(indices: Integer[Tensor, "N K"], sizes: Sequence[int], dtype: torch.dtype) -> Float[Tensor, "N n"]:
    """Return the concatenated one-hot vectors of K indices with these numbers of values."""
    rows = indices.long() if len(sizes) == 1 else indices + torch.tensor(_offsets(sizes), device=indices.device)
    return torch.zeros(len(rows), sum(sizes), dtype=dtype, device=rows.device).scatter_(1, rows, 1.0)


def _offsets(sizes: Sequence[int]) -> list[int]:
    """Position of each index's values in the concatenated one-hot vector."""
    return [0, *accumulate(sizes)][:-1]


def _looked_up(layer: nn.Module, rows: Integer[Tensor, "N K"], extras: Float[Tensor, "N E"] | None) -> Float[Tensor, "N H"]:
    """Return a linear layer's outputs for the one-hot vectors of `rows`, whose K indices have their offsets added."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    found = _columns(weight, rows.flatten())
    if rows.shape[1] > 1:
        found = found.view(*rows.shape, -1).sum(dim=1)
    if extras is None:
        return found + bias
    return found + functional.linear(extras, weight[:, -extras.shape[1] :], bias)


def _columns(weight: Float[Tensor, "H F"], which: Integer[Tensor, " N"]) -> Float[Tensor, "N H"]:
    """Return some columns of a weight as rows. Gradient: flows to `weight`.

    On a CPU its gradient is laid out as the weight is, which an embedding's is not, and an optimiser is twice as fast on it. On a GPU it
    would add up equal indices in another order at each call, which an embedding's does not.
    """
    return functional.embedding(which, weight.t()) if weight.is_cuda else weight.index_select(1, which).t()
