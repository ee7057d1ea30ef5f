"""Stacked networks of many lifetimes: one tensor per layer, with the lifetimes as first axis.

For one lifetime's small network a call costs more than its arithmetic. Stacked, a layer of all lifetimes is one batched product:

    y[l] = x[l] W[l] + b[l],      x [L, N, I],  W [L, I, J],  b [L, J]

The parameters of a lifetime are one row of a matrix [L, P]; a `Layout` gives their positions in the row.

Letters: L lifetimes, N rows, I and J features, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from learners.networks.stacked_mlp import apply_mlp, folded

Per = Literal["input", "output"]
"""The vectors of an initial weight that have unit norm."""


@dataclass(frozen=True)
class Layout:
    """Names, shapes and order of the parameters in a row.

    Attributes:
        shapes: shape by name, in order.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def size(self) -> int:
        """P, the length of a row."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def views(self, rows: Float[Tensor, "L P"]) -> dict[str, Tensor]:
        """Return the parameters by name, [L, *shape], as views of `rows`. Gradient: flows to `rows`."""
        parts = torch.split(rows, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view(-1, *shape) for (name, shape), part in named}

    def rows(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "L P"]:
        """Return parameters [L, *shape], given by name, as rows. Gradient: flows to the parameters."""
        return torch.cat([parameters[name].reshape(len(parameters[name]), -1) for name in self.shapes], dim=1)

    def row(self, parameters: Mapping[str, np.ndarray]) -> Float[np.ndarray, " P"]:
        """Return one lifetime's parameters, given by name, as a row."""
        return np.concatenate([np.ravel(parameters[name]) for name in self.shapes])


def linear(x: Float[Tensor, "L N I"], weight: Float[Tensor, "L I J"], bias: Float[Tensor, "L J"]) -> Float[Tensor, "L N J"]:
    """Return x W + b of each lifetime. Gradient: flows to every argument."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight)


def mlp(x: Float[Tensor, "L N I"], parameters: Mapping[str, Tensor], prefix: str, num_layers: int) -> Float[Tensor, "L N J"]:
    """Return the outputs of an MLP with tanh between its layers. Gradient: flows to the parameters, and not to `x`."""
    return apply_mlp(x, *folded_mlp(parameters, prefix, num_layers))


def folded_mlp(parameters: Mapping[str, Tensor], prefix: str, num_layers: int) -> list[Tensor]:
    """Return an MLP's weights and biases in turn, in the form that `learners.networks.stacked_mlp` computes with."""
    layers = [(parameters[f"{prefix}.{index}.weight"], parameters[f"{prefix}.{index}.bias"]) for index in range(num_layers)]
    return folded(layers)


def draw_normalised(
    rng: np.random.Generator, num_inputs: int, num_outputs: int, norm: float, per: Per
) -> Float[np.ndarray, "I J"]:
    """Draw a weight with random vectors of length `norm`: outgoing ones of each input, or incoming ones of each output."""
    drawn: np.ndarray = rng.standard_normal((num_inputs, num_outputs))
    drawn *= norm / np.sqrt(np.square(drawn).sum(axis=1 if per == "input" else 0, keepdims=True))
    return drawn


def draw_mlp(rng: np.random.Generator, prefix: str, sizes: Sequence[int], last_norm: float, per: Per) -> dict[str, np.ndarray]:
    """Draw an MLP: directions of length 1 in all layers but the last, which has `last_norm`; zero biases."""
    drawn: dict[str, np.ndarray] = {}
    for index, (before, after) in enumerate(pairwise(sizes)):
        norm = 1.0 if index + 2 < len(sizes) else last_norm
        drawn[f"{prefix}.{index}.weight"] = draw_normalised(rng, before, after, norm, per)
        drawn[f"{prefix}.{index}.bias"] = np.zeros(after)
    return drawn
