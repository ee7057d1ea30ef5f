"""IMPALA's loss, an actor-critic loss with V-trace, and its update on one batch.

    L = policy_cost * sum -rho_t A_t log pi(a_t | x_t)  +  baseline_cost * sum (v_t - V(x_t))^2 / 2  -  entropy_cost * sum H(pi(. | x_t))

Reference: Espeholt et al. (2018), arXiv 1802.01561: eq. 1 and remarks 1-2 (V-trace), section 4.2 (the three gradients), table G.1
(hyper-parameters). `learners.impala` is the algorithm and lists its deviations; `learners.metagradient` tunes the
hyper-parameters of this loss; `learners.compiled` compiles the update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor

from learners.actor_critic import (
    Anneal,
    LearnerPrecision,
    LearnerState,
    Outputs,
    RewardClip,
    counted,
    descend,
    learning_rate,
    means,
    network_arrays,
    outputs,
    scaled_rewards,
)
from learners.batch import Batch
from learners.networks.agent import Agent
from learners.ops.losses import entropy_loss, policy_gradient_loss, value_loss
from learners.ops.masks import cleared
from learners.ops.optimisers import OptimiserConfig
from learners.ops.vtrace import VTrace, vtrace


@dataclass(frozen=True, kw_only=True)
class ImpalaConfig:
    """Hyper-parameters of IMPALA; the defaults are the paper's for Atari (table G.1)."""

    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per step")] = 0.99
    lambda_: Annotated[float, Meta(ge=0, le=1, description="V-trace's trace parameter")] = 1.0
    clip_rho: Annotated[float, Meta(gt=0, description="rho-bar, clip of the ratio of a temporal difference")] = 1.0
    clip_c: Annotated[float, Meta(gt=0, description="c-bar, clip of the ratio of a trace; at most clip_rho")] = 1.0
    clip_pg_rho: Annotated[float, Meta(gt=0, description="clip of the ratio in the policy gradient")] = 1.0
    leak_rho: Annotated[
        float, Meta(ge=0, le=1, description="weight of the clipped ratio in rho and in the policy gradient; 1: V-trace")
    ] = 1.0
    leak_c: Annotated[float, Meta(ge=0, le=1, description="weight of the clipped ratio in the trace; 1: V-trace")] = 1.0
    policy_cost: Annotated[float, Meta(ge=0, description="weight of the policy loss")] = 1.0
    baseline_cost: Annotated[float, Meta(ge=0, description="weight of the value loss")] = 0.5
    entropy_cost: Annotated[float, Meta(ge=0, description="weight of the entropy bonus")] = 0.01
    reward_scale: Annotated[float, Meta(gt=0, description="rewards are multiplied by it, before clipping")] = 1.0
    reward_clip: RewardClip = 0.0
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="step size at the start")] = 6e-4
    anneal: Anneal = True
    max_gradient_norm: Annotated[float, Meta(gt=0, description="clip of the global norm of the gradient")] = 40.0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    passes: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="steps of the optimiser on each batch, V-trace's ratios recomputed each time; 1 is the paper's",
        ),
    ] = 1
    target_kl: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="no further pass over a batch once its mean KL(behaviour || policy) is above this; null: all passes"),
    ] = None
    precision: LearnerPrecision = "fp32"


def loss(agent: Agent, arrays: dict[str, Tensor], batch: Batch, config: ImpalaConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """IMPALA's loss on one batch, and its terms by metric name.

    Gradient: flows to `arrays` through log pi, V and the entropy. V-trace's targets, its advantages and rho are constants (section 4.2).
    """
    found = outputs(agent, arrays, batch, config.precision)
    return loss_terms(found, targets(found, batch, config), batch, config)


def loss_terms(found: Outputs, target: VTrace, batch: Batch, config: ImpalaConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """IMPALA's loss from the network's outputs and V-trace's targets, and its terms: sums for losses, means for the rest."""
    policy = policy_gradient_loss(found.log_prob, target.advantage, batch.weight)
    baseline = value_loss(found.value[:-1], target.value_target, batch.weight)
    entropy = entropy_loss(found.entropy, batch.weight)
    total = config.policy_cost * policy + config.baseline_cost * baseline + config.entropy_cost * entropy
    num_steps = batch.weight.sum().clamp(min=1.0)
    log_rho = found.log_prob.detach() - batch.behaviour_log_prob
    return total, {
        "loss/total": total.detach(),
        "loss/policy": policy.detach(),
        "loss/value": baseline.detach(),
        "policy/entropy": -entropy.detach() / num_steps,
        # of actions that the behaviour policy drew: (rho - 1) - log rho, unbiased and never negative
        "policy/kl": cleared(log_rho.exp() - 1 - log_rho, batch.weight).sum() / num_steps,
        "vtrace/rho": target.rho.sum() / num_steps,
        "value/mean": cleared(found.value[:-1].detach(), batch.weight).sum() / num_steps,
    }


def targets(found: Outputs, batch: Batch, config: ImpalaConfig) -> VTrace:
    """V-trace's targets and advantages. Gradient: none."""
    value = found.value
    return vtrace(
        **vtrace_inputs(found, batch, config),
        discount_t=config.gamma * (~batch.terminated).to(value.dtype),
        lambda_=torch.tensor(config.lambda_, dtype=value.dtype, device=value.device),
        clip_rho=config.clip_rho,
        clip_c=config.clip_c,
        clip_pg_rho=config.clip_pg_rho,
        leak_rho=config.leak_rho,
        leak_c=config.leak_c,
    )


def vtrace_inputs(found: Outputs, batch: Batch, config: ImpalaConfig) -> dict[str, Tensor]:
    """The arguments of V-trace that do not depend on the meta-parameters. Gradient: none."""
    value = found.value.detach()
    return {
        "log_rho_t": found.log_prob.detach() - batch.behaviour_log_prob,
        "reward_t": scaled_rewards(batch.reward, config.reward_scale, config.reward_clip),
        "value_t": value[:-1],
        "value_tp1": value[1:],
        "weight_t": batch.weight,
    }


def one_pass(
    agent: Agent, config: ImpalaConfig, state: LearnerState, batch: Batch, rate: float | Tensor
) -> tuple[LearnerState, dict[str, Tensor]]:
    """Take one step along the gradient of a batch; return the state after it, which counts the batch, and scalars to log."""
    params = {name: parameter.detach().requires_grad_() for name, parameter in state.params.items()}
    total, terms = loss(agent, network_arrays(state) | params, batch, config)
    slopes = torch.autograd.grad(total, list(params.values()))
    after, norm = descend(config, state, dict(zip(params, slopes, strict=True)), rate)
    return counted(after, batch), terms | {"gradient/norm": norm, "learning_rate": torch.as_tensor(rate)}


OnePass = Callable[[LearnerState, Batch, float], tuple[LearnerState, dict[str, Tensor]]]


def update(
    agent: Agent, config: ImpalaConfig, state: LearnerState, batch: Batch, total_env_steps: int, compiled: OnePass | None = None
) -> tuple[LearnerState, dict[str, Tensor]]:
    """Step along the gradient of one batch, once for each pass, with V-trace's ratios recomputed each time; pure in `state`.

    Passes end early where the policy has moved beyond `config.target_kl`. The divergence is from the policy that acted, so it includes
    the lag. The first pass is always made.

    Args:
        agent: the network.
        config: of the loss.
        state: before the update.
        batch: what is learned from.
        total_env_steps: length of the schedule of the step size.
        compiled: `one_pass` of this agent and config as machine code; None to run it as it is.

    Returns:
        The next state, and the means over the passes of the scalars to log, by metric name, still on the device.
    """
    take, rate = compiled or partial(one_pass, agent, config), learning_rate(config, state.env_steps, total_env_steps)
    after, made = state, list[dict[str, Tensor]]()
    for _ in range(config.passes):
        # each pass counts the batch into the moments from before the update; the last count is kept
        moved, terms = take(replace(after, moments=state.moments), batch, rate)
        if made and config.target_kl is not None and float(terms["policy/kl"]) > config.target_kl:
            break
        after = moved
        made.append(terms)
    # a compiled pass returns numbers as tensors
    optimiser, env_steps = replace(after.optimiser, step=state.optimiser.step + len(made)), state.env_steps + batch.env_steps
    after = replace(after, optimiser=optimiser, version=state.version + 1, env_steps=env_steps)
    return after, means(made) | {"impala/passes": torch.full_like(made[0]["loss/total"], len(made))}
