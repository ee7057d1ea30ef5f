"""IMPALA: importance-weighted actor-learner architecture, with V-trace.

Reference: Espeholt et al. (2018), "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
arXiv 1802.01561: eq. 1 and remarks 1-2 (V-trace), section 4.2 (the three gradients), table G.1 (hyper-parameters).

    L = policy_cost * sum -rho_t A_t log pi(a_t | x_t)  +  baseline_cost * sum (v_t - V(x_t))^2 / 2  -  entropy_cost * sum H(pi(. | x_t))

Deviations from the paper:
    1. V-trace carries a trace parameter lambda (remark 2), with rlax's advantage for lambda < 1; lambda = 1 is the paper's.
    2. A truncated episode bootstraps from its final observation; the paper's environments only terminate.
    3. Observations may be normalised by running moments, which travel with the weights (for MuJoCo; off for Atari).
    4. Adam is offered beside RMSProp, and RMSProp with the epsilon inside or outside of the root.
    5. One trajectory of many environments may feed several updates (columns split into batches), each column once.
    6. The clips of V-trace may leak (leak_rho, leak_c; 1 is the paper's).

`learners.metagradient` is built on this page: it tunes gamma, lambda and the rest of the loss while this learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor
from torch.func import functional_call

from learners.batch import Batch, batches
from learners.networks.agent import Agent, Conditioning, NetworkConfig, SpaceSpec
from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.losses import entropy_loss, policy_gradient_loss, value_loss
from learners.ops.masks import cleared
from learners.ops.normaliser import RunningMoments
from learners.ops.normaliser import update as update_moments
from learners.ops.optimisers import OptimiserConfig, OptimiserState
from learners.ops.vtrace import VTrace, vtrace
from learners.trajectory import Trajectory

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class ImpalaConfig:
    """Hyper-parameters of IMPALA; the defaults are the paper's for Atari (table G.1)."""

    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per step")] = 0.99
    lambda_: Annotated[float, Meta(ge=0, le=1, description="V-trace's trace parameter")] = 1.0
    clip_rho: Annotated[float, Meta(gt=0, description="rho-bar, the ceiling of the weight of a temporal difference")] = 1.0
    clip_c: Annotated[float, Meta(gt=0, description="c-bar, the ceiling of the weight of a trace; at most clip_rho")] = 1.0
    clip_pg_rho: Annotated[float, Meta(gt=0, description="ceiling of the weight of the policy gradient")] = 1.0
    leak_rho: Annotated[
        float, Meta(ge=0, le=1, description="share of rho and of the policy gradient's weight that is clipped; 1: V-trace")
    ] = 1.0
    leak_c: Annotated[float, Meta(ge=0, le=1, description="share of a trace's weight that is clipped; 1: V-trace")] = 1.0
    policy_cost: Annotated[float, Meta(ge=0, description="weight of the policy loss")] = 1.0
    baseline_cost: Annotated[float, Meta(ge=0, description="weight of the value loss")] = 0.5
    entropy_cost: Annotated[float, Meta(ge=0, description="weight of the entropy bonus")] = 0.01
    reward_scale: Annotated[float, Meta(gt=0, description="rewards are multiplied by it, before clipping")] = 1.0
    reward_clip: Annotated[
        float, Meta(ge=0, description="rewards are clipped to [-reward_clip, reward_clip]; 0 for no clipping")
    ] = 0.0
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size at the start")] = 6e-4
    anneal: Annotated[
        bool, Meta(description="let the learning rate fall linearly to 0 over schedule_env_steps, or else over total_env_steps")
    ] = True
    max_gradient_norm: Annotated[float, Meta(gt=0, description="ceiling of the global norm of the gradient")] = 40.0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    precision: Annotated[Precision, Meta(description="arithmetic of the learner's network; weights stay fp32")] = "fp32"


@dataclass(frozen=True, kw_only=True)
class LearnerState:
    """All that a checkpoint of the learner needs, and nothing else.

    Attributes:
        params: trainable parameters by name, float32.
        moments: running moments of the observations, when the network normalises them.
        optimiser: the optimiser's accumulators.
        version: number of updates made.
        env_steps: environment steps learned from; it sets the annealed learning rate.
    """

    params: dict[str, Tensor]
    moments: RunningMoments | None = field(
        metadata={
            "misfit": "checkpoint does not fit the network: one of them normalises observations, the other does not",
        }
    )
    optimiser: OptimiserState
    version: int
    env_steps: int


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """The loss and what is worth watching of it; sums over the batch, save for `entropy`, `rho` and `value` (means)."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    rho: Tensor
    mean_value: Tensor


def init(
    spec: SpaceSpec,
    network: NetworkConfig,
    config: ImpalaConfig,
    seed: int,
    device: torch.device,
    conditioning: Conditioning | None = None,
) -> tuple[Agent, LearnerState]:
    """Return the network's skeleton and the state of a learner that has seen nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        agent = Agent(spec, network, conditioning)
    agent = agent.to(device)
    params = {name: parameter.detach().clone() for name, parameter in agent.named_parameters()}
    moments = RunningMoments.empty(spec.obs_shape).to(device) if network.normalise_observations else None
    return agent, LearnerState(
        params=params, moments=moments, optimiser=optimisers.init(config.optimiser, params), version=0, env_steps=0
    )


def network_arrays(state: LearnerState) -> dict[str, Tensor]:
    """Parameters and buffers by name: what `functional_call` takes and what a snapshot holds."""
    if state.moments is None:
        return dict(state.params)
    return state.params | {"observation_mean": state.moments.mean.float(), "observation_std": state.moments.std.float()}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the loss needs of the network's answer to a batch.

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
        """The same with the second head's values in place of the first's, where there is one."""
        return self if self.outer_value is None else replace(self, value=self.outer_value)

    @staticmethod
    def joined(parts: Sequence[Outputs]) -> Outputs:
        """The outputs of several batches, side by side."""
        outer = [part.outer_value for part in parts if part.outer_value is not None]
        return Outputs(
            log_prob=torch.cat([part.log_prob for part in parts], dim=1),
            entropy=torch.cat([part.entropy for part in parts], dim=1),
            value=torch.cat([part.value for part in parts], dim=1),
            outer_value=torch.cat(outer, dim=1) if outer else None,
        )


def outputs(agent: Agent, arrays: dict[str, Tensor], batch: Batch, precision: Precision) -> Outputs:
    """Run the network over a batch. Gradient: flows to `arrays`."""
    with torch.autocast(batch.obs.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        output = functional_call(
            agent, arrays, (batch.obs, batch.is_first, batch.previous_action, batch.previous_reward, batch.initial_state)
        )
    distribution = agent.distribution(output.distribution_params[:-1])
    return Outputs(
        log_prob=distribution.log_prob(batch.action),
        entropy=distribution.entropy(),
        value=output.value,
        outer_value=output.outer_value,
    )


def loss(agent: Agent, arrays: dict[str, Tensor], batch: Batch, config: ImpalaConfig) -> LossTerms:
    """IMPALA's loss on one batch.

    Gradient: flows to `arrays` through log pi, V and the entropy. V-trace's targets, its advantages and rho are constants (section 4.2).
    """
    found = outputs(agent, arrays, batch, config.precision)
    return loss_terms(found, targets(found, batch, config), batch, config)


def loss_terms(found: Outputs, target: VTrace, batch: Batch, config: ImpalaConfig) -> LossTerms:
    """IMPALA's loss, from the network's outputs and V-trace's targets."""
    policy = policy_gradient_loss(found.log_prob, target.advantage, batch.weight)
    baseline = value_loss(found.value[:-1], target.value_target, batch.weight)
    entropy = entropy_loss(found.entropy, batch.weight)
    num_steps = batch.weight.sum().clamp(min=1.0)
    return LossTerms(
        total=config.policy_cost * policy + config.baseline_cost * baseline + config.entropy_cost * entropy,
        policy=policy.detach(),
        value=baseline.detach(),
        entropy=-entropy.detach() / num_steps,
        rho=target.rho.sum() / num_steps,
        mean_value=cleared(found.value[:-1].detach(), batch.weight).sum() / num_steps,
    )


def rewards(batch: Batch, config: ImpalaConfig) -> Tensor:
    """The batch's rewards as the loss sees them: scaled, then clipped."""
    reward = batch.reward * config.reward_scale
    return reward.clamp(-config.reward_clip, config.reward_clip) if config.reward_clip > 0 else reward


def targets(found: Outputs, batch: Batch, config: ImpalaConfig) -> VTrace:
    """V-trace's targets and advantages. Gradient: none."""
    value = found.value.detach()
    return vtrace(
        log_rho_t=found.log_prob.detach() - batch.behaviour_log_prob,
        reward_t=rewards(batch, config),
        discount_t=config.gamma * (~batch.terminated).to(value.dtype),
        value_t=value[:-1],
        value_tp1=value[1:],
        lambda_=torch.tensor(config.lambda_, dtype=value.dtype, device=value.device),
        weight_t=batch.weight,
        clip_rho=config.clip_rho,
        clip_c=config.clip_c,
        clip_pg_rho=config.clip_pg_rho,
        leak_rho=config.leak_rho,
        leak_c=config.leak_c,
    )


def learning_rate(config: ImpalaConfig, env_steps: int, total_env_steps: int) -> float:
    """The step size after `env_steps` of a schedule that is laid over `total_env_steps`: constant, or linear to zero and zero beyond."""
    left = max(0.0, 1.0 - env_steps / total_env_steps) if config.anneal else 1.0
    return config.learning_rate * left


def gradient(agent: Agent, config: ImpalaConfig, state: LearnerState, batch: Batch) -> tuple[dict[str, Tensor], LossTerms]:
    """The gradient of the loss on a batch by every parameter, and the loss."""
    params = {name: parameter.detach().requires_grad_() for name, parameter in state.params.items()}
    terms = loss(agent, network_arrays(state) | params, batch, config)
    slopes = torch.autograd.grad(terms.total, list(params.values()))
    return dict(zip(params, slopes, strict=True)), terms


def update(
    agent: Agent, config: ImpalaConfig, state: LearnerState, batch: Batch, total_env_steps: int
) -> tuple[LearnerState, dict[str, Tensor]]:
    """One gradient step on one batch; pure in `state`.

    Returns:
        The next state, and scalars to watch, by metric name, still on the device.
    """
    gradients, terms = gradient(agent, config, state, batch)
    rate = learning_rate(config, state.env_steps, total_env_steps)
    next_state, norm = descend(config, state, gradients, batch, rate)
    return next_state, scalars(terms, norm, rate)


def descend(
    config: ImpalaConfig, state: LearnerState, gradients: dict[str, Tensor], batch: Batch, rate: float | Tensor
) -> tuple[LearnerState, Tensor]:
    """Clip the gradient and step along it; return the next state and the norm before the clip."""
    clipped, norm = clip_by_global_norm(gradients, config.max_gradient_norm)
    new_params, optimiser = optimisers.apply(config.optimiser, state.optimiser, state.params, clipped, rate)
    # the moments move after the gradient: the loss sees observations as the actors' network saw them
    moments = update_moments(state.moments, batch.obs[:-1], batch.weight) if state.moments is not None else None
    next_state = LearnerState(
        params=new_params,
        moments=moments,
        optimiser=optimiser,
        version=state.version + 1,
        env_steps=state.env_steps + batch.env_steps,
    )
    return next_state, norm


def scalars(terms: LossTerms, norm: Tensor, rate: float | Tensor) -> dict[str, Tensor]:
    """What is worth watching of an update, by metric name."""
    return {
        "loss/total": terms.total.detach(),
        "loss/policy": terms.policy,
        "loss/value": terms.value,
        "policy/entropy": terms.entropy,
        "vtrace/rho": terms.rho,
        "value/mean": terms.mean_value,
        "gradient/norm": norm,
        "learning_rate": torch.as_tensor(rate),
    }


def iterate(
    agent: Agent,
    config: ImpalaConfig,
    state: LearnerState,
    trajectories: Sequence[Trajectory],
    *,
    batch_unrolls: int,
    total_env_steps: int,
    device: torch.device,
    update_with: Callable[..., tuple[LearnerState, dict[str, Tensor]]] = update,
) -> tuple[LearnerState, dict[str, float], float]:
    """The learner's inner loop: one update for each batch that `trajectories` hold.

    Returns:
        The state after the last update, the mean of each scalar over the updates, and the seconds it took.
    """
    started = time.perf_counter()
    watched: list[dict[str, Tensor]] = []
    for batch in batches(trajectories, batch_unrolls, device):
        state, found = update_with(agent, config, state, batch, total_env_steps)
        watched.append(found)
    return state, means(watched), time.perf_counter() - started


def means(watched: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each scalar over the updates."""
    return {name: float(torch.stack([found[name] for found in watched]).float().mean()) for name in watched[0]}
