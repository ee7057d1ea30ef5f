"""Hyper-parameters of a network, and the conditioning that a learner adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from learners.networks.images import Channels
from learners.networks.mlp import Activation

Width = Annotated[int, Meta(ge=1, le=4096)]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of the network."""

    torso: Annotated[
        Literal["mlp", "shallow", "deep"],
        Meta(description="mlp for vectors and indices; IMPALA's shallow or deep network for images"),
    ] = "mlp"
    channels: Annotated[
        Channels,
        Meta(description="which axis of an image its channels are; auto: the smallest, where it is the first or the last"),
    ] = "auto"
    hidden_sizes: Annotated[tuple[Width, ...], Meta(max_length=8, description="layer widths of the mlp torso")] = (64, 64)
    activation: Annotated[Activation, Meta(description="activation of the mlp torso")] = "tanh"
    separate_value: Annotated[bool, Meta(description="a separate torso for the value (mlp without core only)")] = False
    core: Annotated[Literal["none", "lstm", "gru"], Meta(description="recurrent core after the torso")] = "none"
    core_size: Annotated[int, Meta(ge=1, le=4096, description="units of the recurrent core")] = 256
    use_previous_action: Annotated[bool, Meta(description="append the previous action to the features")] = False
    use_previous_reward: Annotated[bool, Meta(description="append the previous reward, clipped to [-1, 1], to the features")] = (
        False
    )
    normalise_observations: Annotated[bool, Meta(description="scale observations by their running mean and deviation")] = False
    initial_log_std: Annotated[
        float, Meta(ge=-5.0, le=2.0, description="log standard deviation of continuous actions at the start")
    ] = 0.0
    bounded_mean: Annotated[bool, Meta(description="bound the mean of continuous actions to [-1, 1] by a tanh")] = False


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Additions to a network whose learner tunes meta-parameters.

    Attributes:
        num_eta: number of meta-parameters that the torso is conditioned on; 0 for none.
        embedding_size: size of their embedding; 0: no conditioning.
        has_outer_value: whether there is a second value head.
    """

    num_eta: int = 0
    embedding_size: int = 16
    has_outer_value: bool = False

    @property
    def num_extras(self) -> int:
        """Number of additional input features of the torso."""
        return self.embedding_size if self.num_eta else 0
