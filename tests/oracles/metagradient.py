"""The slow truth for the meta-gradient: the inner update written as one differentiable function of eta, and differentiated twice.

    J(theta'(eta)),   theta'(eta) = theta - step(clip(d L(tau, theta, eta) / d theta)),   dL/dtheta kept as a graph (create_graph)

The loss is written out from the paper's terms; of the project's code it takes the network, V-trace, the clip and the optimiser, and each
of them has an oracle of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from learners.actor_critic import LearnerState
from learners.batch import Batch
from learners.metagradient_config import MetaGradient
from learners.networks.agent import Agent
from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.vtrace import VTrace, vtrace
from learners.vtrace_loss import ImpalaConfig

Tensors = dict[str, Tensor]


def answers(agent: Agent, arrays: Tensors, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log pi, entropy, inner and outer values of a batch."""
    output = functional_call(agent, arrays, (batch,))
    distribution = agent.distribution(output.distribution_params[:-1])
    outer = output.value if output.outer_value is None else output.outer_value
    return distribution.log_prob(batch.action), distribution.entropy(), output.value, outer


def returns(log_prob: Tensor, value: Tensor, batch: Batch, config: ImpalaConfig, eta: Tensors) -> VTrace:
    """V-trace with everything constant but eta."""
    value = value.detach()
    reward = batch.reward * config.reward_scale
    if config.reward_clip:
        reward = reward.clamp(-config.reward_clip, config.reward_clip)
    return vtrace(
        log_rho_t=log_prob.detach() - batch.behaviour_log_prob,
        reward_t=reward,
        discount_t=eta["gamma"] * (~batch.terminated).double(),
        value_t=value[:-1],
        value_tp1=value[1:],
        lambda_=eta["lambda"],
        weight_t=batch.weight,
        clip_rho=config.clip_rho,
        clip_c=config.clip_c,
        clip_pg_rho=config.clip_pg_rho,
        leak_rho=eta["leak_rho"],
        leak_c=eta["leak_c"],
    )


def constants(config: ImpalaConfig) -> Tensors:
    """Every meta-parameter at its value in the config."""
    values = {
        "gamma": config.gamma,
        "lambda": config.lambda_,
        "policy_cost": config.policy_cost,
        "baseline_cost": config.baseline_cost,
        "entropy_cost": config.entropy_cost,
        "leak_rho": config.leak_rho,
        "leak_c": config.leak_c,
    }
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def updated(
    agent: Agent, config: MetaGradient, state: LearnerState, arrays: Tensors, batch: Batch, eta: Tensors, rate: float
) -> Tensors:
    """theta' as a differentiable function of eta."""
    params = {name: arrays[name].detach().requires_grad_() for name in state.params}
    log_prob, entropy, value, outer_value = answers(agent, arrays | params, batch)
    target = returns(log_prob, value, batch, config.learner, eta)
    w = batch.weight
    loss = (
        -eta["policy_cost"] * (w * target.advantage * log_prob).sum()
        + eta["baseline_cost"] * 0.5 * (w * (target.value_target - value[:-1]).square()).sum()
        - eta["entropy_cost"] * (w * entropy).sum()
    )
    if config.meta.outer_critic == "outer":
        outer = returns(log_prob, outer_value, batch, config.learner, constants(config.outer))
        loss = loss + config.learner.baseline_cost * 0.5 * (w * (outer.value_target - outer_value[:-1]).square()).sum()
    grads = dict(zip(params, torch.autograd.grad(loss, list(params.values()), create_graph=True), strict=True))
    clipped, _ = clip_by_global_norm(grads, config.learner.max_gradient_norm)
    return optimisers.apply(config.learner.optimiser, state.optimiser, params, clipped, rate)[0]


def outer_objective(agent: Agent, config: MetaGradient, arrays: Tensors, batch: Batch) -> Tensor:
    """J on tau'."""
    log_prob, _, _, outer_value = answers(agent, arrays, batch)
    advantage = returns(log_prob, outer_value, batch, config.learner, constants(config.outer)).advantage.detach()
    return -(batch.weight * advantage * log_prob).sum() / batch.weight.sum()
