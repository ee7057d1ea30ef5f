"""The properties of observation and action spaces that networks depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from envs.errors import InvalidInputError
from envs.observations import Bounds, index_sizes, integer_bounds


@dataclass(frozen=True)
class SpaceSpec:
    """The spaces of one environment, as sizes.

    Attributes:
        obs_shape: shape of one observation, stacked frames included; () for a single index.
        obs_dtype: name of its numpy type.
        num_actions: number of discrete actions, 0 for continuous ones.
        action_size: number of components of a continuous action, 0 for discrete ones.
        frame_stack: how many frames `obs_shape` stacks along its first axis; 1 where nothing is stacked.
        obs_bounds: bounds that integers are scaled to [0, 1] by, see `envs.observations`; None: uint8 are pixels in [0, 255], and
            other types are not scaled.
        index_sizes: number of values of each index, where observations are indices; empty where they are numbers.
    """

    obs_shape: tuple[int, ...]
    obs_dtype: str
    num_actions: int = 0
    action_size: int = 0
    frame_stack: int = 1
    obs_bounds: Bounds | None = None
    index_sizes: tuple[int, ...] = ()

    @property
    def is_pixels(self) -> bool:
        """Whether observations are bytes in [0, 255]."""
        return self.obs_dtype == "uint8" and self.obs_bounds is None

    @property
    def sent_dtype(self) -> Literal["uint8", "int32", "float32"]:
        """Name of the type in which observations are sent to the learner, and reach the network."""
        if self.index_sizes:
            return "int32"
        return "uint8" if self.obs_dtype == "uint8" else "float32"

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of the part of an observation that is sent: all of it, or the newest frame of its stack."""
        return self.obs_shape[1:] if self.frame_stack > 1 else self.obs_shape

    @property
    def is_discrete(self) -> bool:
        """Whether actions are discrete."""
        return self.num_actions > 0

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return () if self.is_discrete else (self.action_size,)

    @staticmethod
    def of(env: Any) -> SpaceSpec:
        """Read the spec of a batched environment from its single spaces and its frame stack.

        Raises:
            InvalidInputError: its observations are no array of numbers or indices, or its actions neither discrete nor a vector.
        """
        action = env.single_action_space
        observed = _observed(env.single_observation_space) | {"frame_stack": int(getattr(env, "frame_stack", 1))}
        if hasattr(action, "n") and hasattr(action, "start"):  # Discrete; MultiBinary has `n` too, but no `start`
            if int(action.start) != 0:
                raise InvalidInputError(
                    f"action space {action} is not supported: discrete actions are allowed to start at 0 only"
                )
            return SpaceSpec(**observed, num_actions=int(action.n))
        if action.shape is None or len(action.shape) != 1 or np.dtype(action.dtype).kind != "f":
            raise InvalidInputError(f"action space {action} is not supported: allowed are Discrete and a Box with one axis")
        return SpaceSpec(**observed, action_size=int(action.shape[0]))


def _observed(space: Any) -> dict[str, Any]:
    """The fields that depend on the observation space."""
    sizes = index_sizes(space)
    dtype = np.dtype(space.dtype) if space.dtype is not None else None
    if dtype is None or dtype.kind not in "fiu" or not (space.shape or sizes) or np.any(getattr(space, "start", 0)):
        text = " ".join(str(space).split())
        raise InvalidInputError(
            f"observation space {text} is not supported: allowed are a Box of numbers, and Discrete and MultiDiscrete from 0 on"
        )
    shape = tuple(int(size) for size in space.shape)
    return {"obs_shape": shape, "obs_dtype": dtype.name, "obs_bounds": integer_bounds(space), "index_sizes": sizes}
