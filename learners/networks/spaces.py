"""What a network must know of the observations and actions that it is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.errors import InvalidInputError


@dataclass(frozen=True)
class SpaceSpec:
    """The spaces of one environment, as sizes.

    Attributes:
        obs_shape: shape of one observation as the network sees it, stacked frames included.
        obs_dtype: name of its numpy type; `uint8` observations are scaled to [0, 1] by the network.
        num_actions: number of discrete actions, 0 for continuous ones.
        action_size: number of components of a continuous action, 0 for discrete ones.
        frame_stack: how many frames `obs_shape` stacks along its first axis; 1 where nothing is stacked.
    """

    obs_shape: tuple[int, ...]
    obs_dtype: str
    num_actions: int = 0
    action_size: int = 0
    frame_stack: int = 1

    @property
    def is_discrete(self) -> bool:
        """Whether actions are named rather than measured."""
        return self.num_actions > 0

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return () if self.is_discrete else (self.action_size,)

    @property
    def num_params(self) -> int:
        """P, the number of distribution parameters: logits, or means and log standard deviations."""
        return self.num_actions if self.is_discrete else 2 * self.action_size

    @staticmethod
    def of(env: Any) -> SpaceSpec:
        """Read the spec of a batched environment from its single spaces and its frame stack.

        Raises:
            InvalidInputError: its observations are no array of numbers, or its actions neither discrete nor a vector.
        """
        observation, action = env.single_observation_space, env.single_action_space
        dtype = np.dtype(observation.dtype) if observation.dtype is not None else None
        if not observation.shape or dtype is None or dtype.kind not in "fiu":
            raise InvalidInputError(f"observation space {observation} is not supported: allowed is a Box of numbers")
        frame_stack = int(getattr(env, "frame_stack", 1))
        obs_shape, obs_dtype = tuple(int(size) for size in observation.shape), dtype.name
        if hasattr(action, "n") and hasattr(action, "start"):  # Discrete; MultiBinary has `n` too, but no `start`
            if int(action.start) != 0:
                raise InvalidInputError(
                    f"action space {action} is not supported: discrete actions are allowed to start at 0 only"
                )
            return SpaceSpec(obs_shape, obs_dtype, num_actions=int(action.n), frame_stack=frame_stack)
        if action.shape is None or len(action.shape) != 1 or np.dtype(action.dtype).kind != "f":
            raise InvalidInputError(f"action space {action} is not supported: allowed are Discrete and a Box with one axis")
        return SpaceSpec(obs_shape, obs_dtype, action_size=int(action.shape[0]), frame_stack=frame_stack)
