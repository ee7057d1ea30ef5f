"""The acting side of a network: numpy in, numpy out, one step at a time, with weights taken from a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.bounds import ActionBounds
from envs.batched import BatchedEnv
from learners.networks.agent import Agent, Conditioning, NetworkConfig, NetworkInputs, SpaceSpec
from learners.trajectory import Snapshot

State = tuple[Tensor, ...]


class Policy:
    """A network that acts on one thread of the CPU.

    Attributes:
        version: of the weights that it acts with.
        obs_dtype: type of the observations as the network reads them and the learner gets them.
        agent: the network.
    """

    def __init__(
        self, spec: SpaceSpec, network: NetworkConfig, action_space: Any, conditioning: Conditioning | None = None
    ) -> None:
        self._spec, self.obs_dtype = spec, np.dtype(spec.sent_dtype)
        self._bounds = ActionBounds(action_space)
        self.agent = Agent(spec, network, conditioning).eval()
        self._arrays: dict[str, Tensor] = dict(self.agent.named_parameters()) | dict(self.agent.named_buffers())
        self._generator = torch.Generator()
        self.version = -1

    @classmethod
    def for_env(cls, env: BatchedEnv, network: NetworkConfig, conditioning: Conditioning | None = None) -> Policy:
        """Return the policy whose inputs and outputs fit `env`."""
        return cls(SpaceSpec.of(env), network, env.single_action_space, conditioning)

    def load(self, snapshot: Snapshot) -> None:
        """Load the weights of `snapshot`, unless its version is loaded already."""
        if snapshot.version == self.version:
            return
        with torch.no_grad():
            for name, array in snapshot.arrays.items():
                # a copy: the array may be a read-only view of memory shared with other processes
                self._arrays[name].copy_(torch.from_numpy(np.array(array)))
        self.version = snapshot.version

    def seed(self, seed: int) -> None:
        """Start the draws of the following actions from `seed`."""
        self._generator.manual_seed(seed)

    @torch.inference_mode()
    def act(
        self,
        obs: np.ndarray,
        is_first: np.ndarray,
        previous_action: np.ndarray,
        previous_reward: np.ndarray,
        state: State,
        *,
        greedy: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, State]:
        """Choose an action for each environment.

        Returns:
            Actions [B, *A], log pi(action) [B], and the next recurrent state.
        """
        inputs = NetworkInputs(
            obs=torch.from_numpy(obs.astype(self.obs_dtype, copy=False))[None],
            is_first=torch.from_numpy(is_first)[None],
            previous_action=torch.from_numpy(previous_action)[None],
            previous_reward=torch.from_numpy(previous_reward)[None],
            initial_state=state,
        )
        params, state = self._params(inputs)
        distribution = self.agent.distribution(params)
        action = distribution.mode() if greedy else distribution.sample(self._generator)
        return action.numpy(), distribution.log_prob(action).numpy(), state

    def _params(self, inputs: NetworkInputs) -> tuple[Tensor, State]:
        """Parameters of the action distributions [B, P], and the next recurrent state."""
        params, state = self.agent.policy(inputs)
        return params[0], state

    def bounded(self, action: np.ndarray) -> np.ndarray:
        """What the environment is given; see `actors.bounds`."""
        return self._bounds.apply(action)

    def initial_state(self, num_envs: int) -> State:
        """The recurrent state at the start; empty for a feed-forward network."""
        return tuple(self.agent.initial_state(num_envs))

    def no_action(self, num_envs: int) -> np.ndarray:
        """The previous action at the start: zeros."""
        return np.zeros((num_envs, *self._spec.action_shape), dtype=np.int64 if self._spec.is_discrete else np.float32)

    def state_arrays(self, state: State) -> tuple[np.ndarray, ...]:
        """The recurrent state as arrays of their own."""
        return tuple(tensor.numpy().copy() for tensor in state)

    def state_tensors(self, arrays: Sequence[np.ndarray]) -> State:
        """The inverse of `state_arrays`."""
        return tuple(torch.from_numpy(array.copy()) for array in arrays)

    def newest_frame(self, obs: np.ndarray) -> np.ndarray:
        """The part of an observation that is sent to the learner: all of it, or the newest frame of its stack."""
        return obs[:, -1] if self._spec.frame_stack > 1 else obs

    def frame_history(self, obs: np.ndarray) -> np.ndarray:
        """The older frames of a stack, [S-1, B, *O], oldest first; no rows where nothing is stacked."""
        if self._spec.frame_stack > 1:
            return np.ascontiguousarray(np.moveaxis(obs[:, :-1], 1, 0), dtype=self.obs_dtype)
        return np.empty((0, *obs.shape), dtype=np.uint8)
