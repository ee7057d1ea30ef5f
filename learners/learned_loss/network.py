"""The loss function that Evolved Policy Gradients learns: its inputs, its layers, and the layout of its parameters phi.

    context = dense(mean_t leaky(conv_2(leaky(conv_1(rows of the buffer)))))
    L_phi   = mean over the minibatch's rows of  w . leaky(W [row, context] + b) + c

A row is one step of a lifetime:

    observation  o    normalised by the lifetime's running moments
    action       a    likewise; one-hot for discrete actions
    reward       1    raw; absent with `reward_input = False`
    count bonus  1    `release` only: disabled in the released code, its channel kept: zero here
    episode end  1    1 where the step ended its episode
    policy       a    mean of pi(.|s), or its probabilities, by the current policy
    log std      a    of the current policy; continuous actions only
    memory      32    the lifetime's memory unit

Phi is a vector: the parameters flattened in the order of their sorted names. Reference: Houthooft et al. (2018) and its released
code (losses.py, agents.py); `docs/epg.md` has the table of both architectures and the deviations.

Letters: D numbers of a row, C channels, K taps of a convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from msgspec import Meta

from envs.errors import InvalidInputError
from learners.networks.spaces import SpaceSpec
from learners.networks.stacked import Layout

LEAK = 0.2
"""Slope of the leaky ReLU below zero: the default of Chainer, which the released code uses."""

MEMORY_SIZE = 32
CONTEXT_SIZE = 32
HEAD_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The temporal convolutions of a named architecture, and whether its rows have the channel of the count bonus."""

    kernels: tuple[int, int]
    strides: tuple[int, int]
    channels: tuple[int, int]
    has_counts: bool

    @property
    def shortest_buffer(self) -> int:
        """Rows that the convolutions need for one output."""
        return self.kernels[0] + (self.kernels[1] - 1) * self.strides[0]


ARCHITECTURES = {
    "release": Architecture(kernels=(6, 4), strides=(5, 2), channels=(16, 32), has_counts=True),
    "paper": Architecture(kernels=(8, 4), strides=(7, 2), channels=(10, 32), has_counts=False),
}


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The learned loss."""

    architecture: Annotated[
        Literal["release", "paper"], Meta(description="convolutions and inputs: of the released code, or as the paper has them")
    ] = "release"
    reward_input: Annotated[bool, Meta(description="whether the loss reads the reward")] = True
    context_gradient: Annotated[
        bool,
        Meta(description="let the gradient flow through the context into the policy; false is cheaper, with another gradient"),
    ] = True
    context_once: Annotated[
        bool,
        Meta(description="compute the context once an update, without gradient, instead of at each minibatch; the cheapest"),
    ] = False


@dataclass(frozen=True, kw_only=True)
class LossShape:
    """The sizes that determine the parameters of a learned loss.

    Attributes:
        obs_size: o, length of an observation.
        action_size: a, components of an action, or the number of discrete actions.
        is_discrete: whether actions are discrete.
        architecture: a name of `ARCHITECTURES`.
        reward_input: whether a row has the reward.
    """

    obs_size: int
    action_size: int
    is_discrete: bool
    architecture: Literal["release", "paper"]
    reward_input: bool

    @classmethod
    def of(cls, config: LossConfig, spec: SpaceSpec) -> LossShape:
        """Return the shape of the loss for `config` and these spaces.

        Raises:
            InvalidInputError: observations are no vectors.
        """
        if len(spec.obs_shape) != 1:
            raise InvalidInputError(f"observations have shape {spec.obs_shape}: a learned loss reads vectors only")
        return cls(
            obs_size=spec.obs_shape[0],
            action_size=spec.num_actions or spec.action_size,
            is_discrete=spec.is_discrete,
            architecture=config.architecture,
            reward_input=config.reward_input,
        )

    @property
    def convolutions(self) -> Architecture:
        """Its convolutions."""
        return ARCHITECTURES[self.architecture]

    @property
    def static_size(self) -> int:
        """S: numbers of a row that do not depend on the policy; they come first."""
        return self.obs_size + self.action_size + int(self.reward_input) + int(self.convolutions.has_counts) + 1

    @property
    def constant_size(self) -> int:
        """Q: numbers that are the same in all rows, the log std and the memory; they come last."""
        return (0 if self.is_discrete else self.action_size) + MEMORY_SIZE

    @property
    def row_size(self) -> int:
        """D: static numbers, the policy's outputs for the row, constants."""
        return self.static_size + self.action_size + self.constant_size

    @cached_property
    def layout(self) -> Layout:
        """The layout of phi. A convolution's weight is [K, D, C], a dense layer's [inputs, outputs]."""
        (first, second), (few, many) = self.convolutions.kernels, self.convolutions.channels
        shapes: dict[str, tuple[int, ...]] = {
            "context.conv1.weight": (first, self.row_size, few),
            "context.conv1.bias": (few,),
            "context.conv2.weight": (second, few, many),
            "context.conv2.bias": (many,),
            "context.dense.weight": (many, CONTEXT_SIZE),
            "context.dense.bias": (CONTEXT_SIZE,),
            "head.hidden.weight": (self.row_size + CONTEXT_SIZE, HEAD_SIZE),
            "head.hidden.bias": (HEAD_SIZE,),
            "head.output.weight": (HEAD_SIZE, 1),
            "head.output.bias": (1,),
        }
        return Layout({name: shapes[name] for name in sorted(shapes)})

    @property
    def num_parameters(self) -> int:
        """P, the length of phi."""
        return self.layout.size


def draw_phi(shape: LossShape, rng: np.random.Generator) -> Float[np.ndarray, " P"]:
    """Draw the initial phi: weights from N(0, 1/fan_in) (LeCun et al., 1998), biases zero; float64."""
    drawn: dict[str, np.ndarray] = {}
    for name, size in shape.layout.shapes.items():
        is_bias = name.endswith("bias")
        fan_in = int(np.prod(size[:-1]))
        drawn[name] = np.zeros(size) if is_bias else rng.standard_normal(size) / np.sqrt(fan_in)
    return shape.layout.row(drawn)
