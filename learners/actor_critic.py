"""Code shared by all actor-critics: the network's outputs on a batch, the learner state, the learning-rate schedule and the gradient step.

    outputs(theta, batch) --> the algorithm's loss --> gradient --clip--> descend --> theta' --counted--> next state

Letters: T time, B environments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Protocol

import torch
from msgspec import Meta
from torch import Tensor
from torch.func import functional_call

from learners.batch import Batch
from learners.networks.agent import Agent, AgentOutput, Conditioning, NetworkConfig, NetworkInputs, SpaceSpec
from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.normaliser import RunningMoments
from learners.ops.normaliser import update as update_moments
from learners.ops.optimisers import OptimiserConfig, OptimiserState
from learners.seeds import Stream, integer_seed

Precision = Literal["fp32", "bf16"]

Anneal = Annotated[
    bool, Meta(description="decay the learning rate linearly to 0 over schedule_env_steps, or else over total_env_steps")
]
RewardClip = Annotated[float, Meta(ge=0, description="rewards are clipped to [-reward_clip, reward_clip]; 0 for no clipping")]
LearnerPrecision = Annotated[Precision, Meta(description="arithmetic of the learner's network; weights stay fp32")]
LearnerCompile = Annotated[
    bool, Meta(description="compile the update to machine code before training (needs a C++ compiler; tens of seconds, once)")
]
"""Types of settings that several algorithms have."""


class StepConfig(Protocol):
    """The fields of an algorithm's config that the schedule and the step use."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def anneal(self) -> bool: ...
    @property
    def max_gradient_norm(self) -> float: ...
    @property
    def optimiser(self) -> OptimiserConfig: ...


@dataclass(frozen=True, kw_only=True)
class LearnerState:
    """The state of a learner: everything that a checkpoint needs, and nothing else.

    Attributes:
        params: trainable parameters by name, float32.
        moments: running moments of the observations, when the network normalises them.
        optimiser: the optimiser's accumulators.
        version: number of batches learned from.
        env_steps: environment steps learned from; it sets the annealed learning rate.
    """

    params: dict[str, Tensor]
    moments: RunningMoments | None = field(
        metadata={"misfit": "checkpoint does not fit the network: one of them normalises observations, the other does not"}
    )
    optimiser: OptimiserState
    version: int
    env_steps: int


def init(
    spec: SpaceSpec,
    network: NetworkConfig,
    optimiser: OptimiserConfig,
    run_seed: int,
    device: torch.device,
    conditioning: Conditioning | None = None,
) -> tuple[Agent, LearnerState]:
    """Return the agent module, used for its structure, and the initial learner state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(run_seed, Stream.PARAMETERS))
        agent = Agent(spec, network, conditioning)
    agent = agent.to(device)
    params = {name: parameter.detach().clone() for name, parameter in agent.named_parameters()}
    moments = RunningMoments.empty(spec.obs_shape).to(device) if network.normalise_observations else None
    return agent, LearnerState(
        params=params, moments=moments, optimiser=optimisers.init(optimiser, params), version=0, env_steps=0
    )


def device_of(agent: Agent) -> torch.device:
    """The device of the agent's learner."""
    return agent.policy_head.weight.device


def network_arrays(state: LearnerState) -> dict[str, Tensor]:
    """Parameters and buffers by name: the arguments of `functional_call` and the content of a snapshot."""
    if state.moments is None:
        return dict(state.params)
    return state.params | {"observation_mean": state.moments.mean.float(), "observation_std": state.moments.std.float()}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The network's outputs on a batch that losses use.

    Attributes:
        log_prob: log pi(a_t | x_t) of the actions taken, [T, B].
        entropy: of pi(. | x_t), [T, B].
        value: V(x_t), [T + 1, B].
        outer_value: of the second value head, [T + 1, B]; None without one.
    """

    log_prob: Tensor
    entropy: Tensor
    value: Tensor
    outer_value: Tensor | None = None

    @property
    def outer(self) -> Outputs:
        """The outputs with the second head's values in place of the first's, where there is one."""
        return self if self.outer_value is None else replace(self, value=self.outer_value)

    @staticmethod
    def concatenated(parts: Sequence[Outputs]) -> Outputs:
        """The outputs of several batches, concatenated along the environments."""
        outer = [part.outer_value for part in parts if part.outer_value is not None]
        return Outputs(
            log_prob=torch.cat([part.log_prob for part in parts], dim=1),
            entropy=torch.cat([part.entropy for part in parts], dim=1),
            value=torch.cat([part.value for part in parts], dim=1),
            outer_value=torch.cat(outer, dim=1) if outer else None,
        )


def forward(agent: Agent, arrays: dict[str, Tensor], inputs: NetworkInputs, precision: Precision) -> AgentOutput:
    """Run the network. Gradient: flows to `arrays`."""
    with torch.autocast(inputs.obs.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        found: AgentOutput = functional_call(agent, arrays, (inputs,), tie_weights=False)  # no two names share a parameter
    return found


def outputs(agent: Agent, arrays: dict[str, Tensor], batch: Batch, precision: Precision) -> Outputs:
    """Run the network over a batch. Gradient: flows to `arrays`."""
    output = forward(agent, arrays, batch, precision)
    distribution = agent.distribution(output.distribution_params[:-1])
    return Outputs(
        log_prob=distribution.log_prob(batch.action),
        entropy=distribution.entropy(),
        value=output.value,
        outer_value=output.outer_value,
    )


def scaled_rewards(reward: Tensor, scale: float, clip: float) -> Tensor:
    """Rewards as used by the loss: scaled, then clipped to [-clip, clip]; 0 for no clipping."""
    scaled = reward * scale
    return scaled.clamp(-clip, clip) if clip > 0 else scaled


def learning_rate(config: StepConfig, env_steps: int, total_env_steps: int) -> float:
    """The step size after `env_steps` of a schedule over `total_env_steps`: constant, or linear to zero and zero after that."""
    left = max(0.0, 1.0 - env_steps / total_env_steps) if config.anneal else 1.0
    return config.learning_rate * left


def descend(
    config: StepConfig, state: LearnerState, gradients: dict[str, Tensor], rate: float | Tensor
) -> tuple[LearnerState, Tensor]:
    """Clip the gradient and take one step of the optimiser; return the state after it and the norm before the clip."""
    clipped, norm = clip_by_global_norm(gradients, config.max_gradient_norm)
    params, optimiser = optimisers.apply(config.optimiser, state.optimiser, state.params, clipped, rate)
    return replace(state, params=params, optimiser=optimiser), norm


def counted(state: LearnerState, batch: Batch) -> LearnerState:
    """Update moments and counters with a batch, after all steps on it: the loss normalises observations as the actors did."""
    moments = update_moments(state.moments, batch.obs[:-1], batch.weight) if state.moments is not None else None
    return replace(state, moments=moments, version=state.version + 1, env_steps=state.env_steps + batch.env_steps)


def means(watched: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each scalar over steps or updates."""
    if len(watched) == 1:
        return watched[0]
    return {name: torch.stack([found[name] for found in watched]).float().mean() for name in watched[0]}
