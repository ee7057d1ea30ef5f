"""The agent: torso, optional recurrent core, policy head and value head.

    obs --scale or normalise--> torso --(+ previous action, previous reward)--> [core] --> policy parameters, value

Where the learner tunes meta-parameters eta (`Conditioning`), an embedding of them, e = W eta, is concatenated to the observation (MLP) or
to the features of the convolutions, and a second value head may estimate the return under the fixed outer discount and trace.
No gradient flows to eta through e: it is a buffer, set by the learner like the moments of the observations.

With `separate_value` the value has its own torso. Actors use the module's weights; a learner calls it with
`torch.func.functional_call`. Under autocast the torso alone runs in lower precision: a logit rounded to eight bits would make the
importance ratio of on-policy data differ from one.

Reference: Espeholt et al. (2018), figure 3: the last reward, clipped to [-1, 1], and the one-hot last action enter after the torso. Xu, van
Hasselt and Silver (2018), section 2: conditioning on eta. Bonnet, Midgley and Laterre (2022): the outer value head.
Letters: T time, B environments, O observation, A action, H hidden, P distribution parameters, N = T * B rows, F features,
M meta-parameters.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from learners.networks.config import Conditioning, NetworkConfig
from learners.networks.inputs import Inputs, check, make_torso
from learners.networks.mlp import orthogonal_linear
from learners.networks.recurrent import GRU, LSTM
from learners.networks.spaces import SpaceSpec
from learners.ops.distributions import Categorical, DiagonalGaussian, distribution
from learners.ops.normaliser import standardise

__all__ = ["Agent", "AgentOutput", "Conditioning", "NetworkConfig", "NetworkInputs", "SpaceSpec"]


@dataclass(frozen=True, kw_only=True)
class NetworkInputs:
    """The network's inputs for an unroll.

    Attributes:
        obs: observations, frames stacked.
        is_first: where the recurrent state, the previous action and the previous reward are zero.
        previous_action: action of the step before.
        previous_reward: reward of the step before, unclipped.
        initial_state: recurrent state before row 0.
    """

    obs: Shaped[Tensor, "T B *O"]
    is_first: Bool[Tensor, "T B"]
    previous_action: Shaped[Tensor, "T B *A"]
    previous_reward: Float[Tensor, "T B"]
    initial_state: tuple[Float[Tensor, "B H"], ...]


@dataclass(frozen=True)
class AgentOutput:
    """The network's outputs for an unroll.

    Attributes:
        distribution_params: parameters of the action distribution, for `Agent.distribution`.
        value: value estimates.
        state: recurrent state after the last step; empty without a core.
        outer_value: estimates of the second value head; None without one.
    """

    distribution_params: Float[Tensor, "T B P"]
    value: Float[Tensor, "T B"]
    state: tuple[Float[Tensor, "B H"], ...]
    outer_value: Float[Tensor, "T B"] | None = None


class Agent(nn.Module):
    """Policy and value of one network.

    Buffers, set by the learner and part of every snapshot: `observation_mean` and `observation_std` [*O], present only with
    `normalise_observations`; `eta` [M], where the position of each meta-parameter in its range, present only with an embedding of them.

    Raises:
        InvalidInputError: torso, core and spaces do not fit.
    """

    observation_mean: Tensor
    observation_std: Tensor
    eta: Tensor

    def __init__(self, spec: SpaceSpec, config: NetworkConfig, conditioning: Conditioning | None = None) -> None:
        super().__init__()
        check(spec, config)
        conditioning = conditioning or Conditioning()
        self.spec, self.config = spec, config
        self.inputs = Inputs(spec, config)
        self.torso = make_torso(spec, config, self.inputs, conditioning.num_extras)
        self.value_torso = make_torso(spec, config, self.inputs, conditioning.num_extras) if config.separate_value else None
        size = self.torso.output_size
        if config.use_previous_action:
            size += spec.num_actions or spec.action_size
        size += int(config.use_previous_reward)
        self.core = _core(size, config)
        size = size if self.core is None else config.core_size
        self.policy_head = orthogonal_linear(size, spec.num_actions or spec.action_size, gain=0.01)
        self.value_head = orthogonal_linear(size, 1, gain=1.0)
        self.outer_value_head = orthogonal_linear(size, 1, gain=1.0) if conditioning.has_outer_value else None
        self.eta_embedding = None
        if conditioning.num_extras:
            self.eta_embedding = nn.Linear(conditioning.num_eta, conditioning.embedding_size, bias=False)
            self.register_buffer("eta", torch.zeros(conditioning.num_eta))
        self.log_std = None if spec.is_discrete else nn.Parameter(torch.full((spec.action_size,), config.initial_log_std))
        if config.normalise_observations:
            self.register_buffer("observation_mean", torch.zeros(spec.obs_shape))
            self.register_buffer("observation_std", torch.ones(spec.obs_shape))

    def initial_state(self, num_envs: int) -> tuple[Float[Tensor, "B H"], ...]:
        """Return the recurrent state before an episode: zeros, or nothing without a core."""
        if self.core is None:
            return ()
        return tuple(self.policy_head.weight.new_zeros(num_envs, self.config.core_size) for _ in range(self.core.num_states))

    def forward(self, inputs: NetworkInputs) -> AgentOutput:
        """Run the network over an unroll. Gradient: flows to the parameters and to the initial state."""
        x, embedding = self._observed(inputs), self._embedding(inputs)
        extras = self._extras(inputs)
        features, state = self._features(self.torso(x, embedding), extras, inputs)
        value_features = features if self.value_torso is None else _concatenated(self.value_torso(x, embedding), extras)
        shape = inputs.is_first.shape
        with _full_precision(x.device.type):
            value = self.value_head(value_features).view(shape)
            outer = None if self.outer_value_head is None else self.outer_value_head(value_features).view(shape)
            return AgentOutput(self._params(features, inputs), value, state, outer)

    def policy(self, inputs: NetworkInputs) -> tuple[Float[Tensor, "T B P"], tuple[Float[Tensor, "B H"], ...]]:
        """Return distribution parameters and state only: `forward` without the value, for acting."""
        torso_features = self.torso(self._observed(inputs), self._embedding(inputs))
        features, state = self._features(torso_features, self._extras(inputs), inputs)
        with _full_precision(features.device.type):
            return self._params(features, inputs), state

    def distribution(self, params: Float[Tensor, "*N P"]) -> Categorical | DiagonalGaussian:
        """Return the action distribution with these parameters."""
        return distribution(self.spec, params)

    def _observed(self, inputs: NetworkInputs) -> Tensor:
        """Return the torso's inputs, [N, ...]."""
        x, dtype = inputs.obs.flatten(0, 1), self.policy_head.weight.dtype
        if self.config.normalise_observations:
            x = standardise(x.to(dtype), self.observation_mean, self.observation_std)
        taken: Tensor = self.inputs(x, dtype)
        return taken

    def _embedding(self, inputs: NetworkInputs) -> Tensor | None:
        """Return e = W eta for every row [N, F]; None for a network without conditioning."""
        if self.eta_embedding is None:
            return None
        embedding: Tensor = self.eta_embedding(self.eta)
        return embedding.expand(inputs.is_first.numel(), -1)

    def _extras(self, inputs: NetworkInputs) -> Tensor | None:
        """Return previous action and reward as features [N, F], zero at an episode's first step; None where neither is used."""
        config, dtype = self.config, self.policy_head.weight.dtype
        if not (config.use_previous_action or config.use_previous_reward):
            return None
        parts = []
        if config.use_previous_action:
            action = inputs.previous_action
            parts.append(_one_hot(action, self.spec.num_actions) if self.spec.is_discrete else action)
        if config.use_previous_reward:
            parts.append(inputs.previous_reward.clamp(-1, 1).unsqueeze(-1))
        extras = torch.cat([part.to(dtype) for part in parts], dim=-1)
        return extras.masked_fill(inputs.is_first.unsqueeze(-1), 0).flatten(0, 1)

    def _features(self, features: Tensor, extras: Tensor | None, inputs: NetworkInputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the policy head's inputs, [N, F], and the state after the unroll."""
        features = _concatenated(features, extras)
        if self.core is None:
            return features, inputs.initial_state
        with _full_precision(features.device.type):
            unrolled = features.view(*inputs.is_first.shape, -1)
            outputs, state = self.core(unrolled, inputs.is_first, inputs.initial_state)
        return outputs.flatten(0, 1), state

    def _params(self, features: Tensor, inputs: NetworkInputs) -> Tensor:
        params: Tensor = self.policy_head(features)
        if self.log_std is not None:
            if self.config.bounded_mean:
                params = params.tanh()
            params = torch.cat((params, self.log_std.expand_as(params)), dim=-1)
        return params.view(*inputs.is_first.shape, -1)


def _concatenated(features: Tensor, extras: Tensor | None) -> Tensor:
    """Return the torso's features in full precision, concatenated with the extras."""
    if features.dtype in (torch.bfloat16, torch.float16):
        features = features.float()
    return features if extras is None else torch.cat((features, extras), dim=-1)


def _one_hot(action: Tensor, num_actions: int) -> Tensor:
    """Return whether an action is the k-th, along a new last axis; unlike torch's, without a synchronising check of the values."""
    return action.unsqueeze(-1) == torch.arange(num_actions, device=action.device)


def _full_precision(device: str) -> AbstractContextManager[object]:
    """Leave autocast, where it is on."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _core(num_inputs: int, config: NetworkConfig) -> LSTM | GRU | None:
    if config.core == "none":
        return None
    core = LSTM if config.core == "lstm" else GRU
    return core(num_inputs, config.core_size)
