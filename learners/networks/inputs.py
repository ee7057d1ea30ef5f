"""Conversion of observations to a torso's inputs: scaled numbers as rows or images, or indices.

    numbers, torso mlp               normalised, or integers scaled by the bounds of their space; flattened
    images, torso shallow or deep    likewise, channels first; a constant factor is multiplied into the first convolution's weight instead
    indices, torso mlp               unchanged, looked up by the first layer; one-hot where there is no layer

Letters: N rows, O observation.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from envs.errors import InvalidInputError
from learners.networks.config import NetworkConfig
from learners.networks.images import ImageLayout, image_layout
from learners.networks.mlp import MLP, one_hot
from learners.networks.resnet import DeepTorso, ShallowTorso
from learners.networks.scaling import Scaling
from learners.networks.spaces import SpaceSpec


class Inputs(nn.Module):
    """Preprocessing before a torso, without parameters.

    Attributes:
        layout: the image layout; None for torso mlp.
        image_scale: factor that the torso multiplies images by.
    """

    def __init__(self, spec: SpaceSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.layout = _layout(spec, config)
        self._spec, self._is_scaled = spec, config.normalise_observations
        self._has_layers = bool(config.hidden_sizes)
        self._scaling = Scaling(spec)
        self.image_scale = 1.0
        factor = self._scaling.common_factor
        if not self._is_scaled and (factor == 1.0 or (self.layout is not None and factor is not None)):
            self.image_scale, self._is_scaled = factor, True

    def forward(self, x: Shaped[Tensor, "N *O"], dtype: torch.dtype) -> Shaped[Tensor, "N ..."]:
        """Return the torso's input.

        Args:
            x: observations, standardised where the network normalises them.
            dtype: of the network.
        """
        if self._spec.index_sizes:
            indices = x.reshape(len(x), -1)
            return indices if self._has_layers else one_hot(indices, self._spec.index_sizes, dtype)
        if not self._is_scaled:
            x = self._scaling(x.to(dtype))
        return x.to(dtype).flatten(1) if self.layout is None else self.layout.images(x)


def make_torso(spec: SpaceSpec, config: NetworkConfig, inputs: Inputs, num_extras: int) -> MLP | ShallowTorso | DeepTorso:
    """Return the torso for the outputs of `inputs` and `num_extras` additional features.

    Raises:
        InvalidInputError: the images are too small for it.
    """
    if inputs.layout is None:
        sizes = spec.index_sizes
        num_inputs = sum(sizes) if sizes else math.prod(spec.obs_shape)
        return MLP(num_inputs, config.hidden_sizes, config.activation, num_extras, sizes if config.hidden_sizes else ())
    torso = ShallowTorso if config.torso == "shallow" else DeepTorso
    return torso(inputs.layout.shape, input_scale=inputs.image_scale, num_extras=num_extras)


def _layout(spec: SpaceSpec, config: NetworkConfig) -> ImageLayout | None:
    """The image layout of the observations; None for torso mlp."""
    if config.torso == "mlp":
        return None
    return image_layout(config.torso, spec.obs_shape, config.channels, has_frames_first=spec.frame_stack > 1)


def check(spec: SpaceSpec, config: NetworkConfig) -> None:
    """Refuse combinations that are not defined.

    Raises:
        InvalidInputError: such as a torso for images on vectors.
    """
    if config.torso != "mlp" and spec.index_sizes:
        raise InvalidInputError(
            f"torso {config.torso} needs images; observations are indices (of {', '.join(map(str, spec.index_sizes[:8]))} values): "
            "allowed is torso mlp"
        )
    _layout(spec, config)
    if config.separate_value and (config.torso != "mlp" or config.core != "none"):
        raise InvalidInputError(
            f"separate_value is allowed with torso mlp and core none only, not with {config.torso} and {config.core}"
        )
    if config.normalise_observations and spec.index_sizes:
        raise InvalidInputError("normalise_observations is not allowed for indices (Discrete, MultiDiscrete): set it to false")
    if config.normalise_observations and config.torso != "mlp" and spec.is_pixels:
        raise InvalidInputError(
            f"normalise_observations is not allowed with torso {config.torso} for pixels (uint8 in [0, 255]), which are scaled to [0, 1] "
            "already: set it to false"
        )
