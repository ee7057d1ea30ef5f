"""Multi-layer perceptron, and the orthogonal initialisation that all linear layers of an agent share.

Reference: Saxe et al. (2014) for orthogonal initialisation; the gains (sqrt 2 in the torso, 0.01 for the policy, 1 for the value) are
those of Andrychowicz et al. (2021), "What matters in on-policy reinforcement learning": a small policy head starts near the uniform policy.

Letters: N rows, F features.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
        num_inputs: features of a row.
        hidden_sizes: width of each layer; with none the input is handed on.
        activation: `tanh` or `relu`.
        num_extras: further features of a row, given apart.
    """

    def __init__(self, num_inputs: int, hidden_sizes: tuple[int, ...], activation: Activation, num_extras: int = 0) -> None:
        super().__init__()
        sizes = (num_inputs + num_extras, *hidden_sizes)
        self.layers = nn.ModuleList([orthogonal_linear(before, after, HIDDEN_GAIN) for before, after in pairwise(sizes)])
        self.output_size = sizes[-1]
        self._activate = torch.tanh if activation == "tanh" else torch.relu

    def forward(self, x: Float[Tensor, "N F"], extras: Float[Tensor, "N E"] | None = None) -> Float[Tensor, "N G"]:
        """Return the features of the last layer; `extras` stand beside `x` at the input."""
        x = x if extras is None else torch.cat((x, extras), dim=-1)
        for layer in self.layers:
            x = self._activate(layer(x))
        return x
