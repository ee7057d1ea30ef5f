"""Meta-gradients: IMPALA with online tuning of the hyper-parameters eta of its return and loss.

Reference: Xu, van Hasselt and Silver (2018), "Meta-Gradient Reinforcement Learning", arXiv 1805.09801: section 2 (the meta-gradient, with
A = mu I), section 4 and appendix C (Atari: V-trace, RMSProp differentiated through, every sample used twice, conditioning on eta).

    theta' = theta - step(clip(g)),   g = dL(tau, theta, eta) / dtheta                  the inner update is IMPALA's, at the current eta
    J(tau', theta') = mean over tau' of -A_bar_t log pi_theta'(a_t | x_t)               A_bar: V-trace at fixed gamma-bar, lambda-bar
    dJ/deta = v . dtheta'/deta = u . dg/deta,    v = dJ/dtheta',   u = (dtheta'/dg)^T v

eta enters g only through the cotangents of the network's outputs, T x B numbers each: c = (-p A_t, -b (v_t - V_t), -e) for log pi, V and
the entropy. So dg/deta is the network's vector-Jacobian product with dc/deta; with the derivative of the outputs in the direction u,

    dJ/deta = sum_t dc_t/deta . (d/dh) outputs_t(theta + h u)                           `derivative` jvp: one forward-mode pass on tau
    z = dtheta'/deta = (dtheta'/dg) VJP(dc/deta),   dJ/deta = v . z                     `derivative` vjp: one backward per meta-parameter

Both are exact and neither differentiates the network twice. tau' of an update is tau of the next; one forward pass
serves both.

Numbered deviations:
    1. The mean over tau' and not the sum: the clip of the meta-gradient then does not depend on the size of the batch. Adam makes the two
       equal, its epsilon being far below any meta-gradient.
    2. The advantage in J comes from a separate value head, trained at gamma-bar and lambda-bar (Bonnet, Midgley and Laterre 2022,
       arXiv 2211.10550: with the inner critic, J itself is biased towards short horizons); `outer_critic` inner is the 2018 form.
    3. The network is conditioned on the eta of its snapshot; the returns of the update use eta after the meta-step, one step of Adam
       later.
    4. Costs and leaks of the loss may be tuned beside gamma and lambda (Zahavy et al. 2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.autograd import forward_ad

from learners import actor_critic
from learners.actor_critic import LearnerState, Outputs
from learners.batch import Batch
from learners.metagradient_config import MetaGradient
from learners.networks.agent import Agent, NetworkConfig, SpaceSpec
from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.cotangents import cotangent_derivatives, return_parameters
from learners.ops.losses import policy_gradient_loss, value_loss
from learners.ops.masks import cleared, standardised
from learners.ops.meta_parameters import META_PARAMETERS, slopes_of, to_logits, values_of
from learners.ops.optimisers import OptimiserState
from learners.ops.step_derivative import pull_back, push_forward
from learners.ops.vtrace import VTrace
from learners.ops.vtrace_derivatives import Clips, vtrace_with_derivatives
from learners.vtrace_loss import ImpalaConfig, loss_terms, targets, vtrace_inputs

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class PendingUpdate:
    """An update that the next batch gives the meta-gradient of: what dg/deta and dtheta'/dg depend on.

    Attributes:
        arrays: parameters and buffers before the update.
        batch: tau.
        gradient: g, before the clip.
        optimiser: its state before the update.
        rate: the step size.
        cotangents: dc/deta for log pi, V and the entropy, [M, 3, T, B].
    """

    arrays: Tensors
    batch: Batch
    gradient: Tensors
    optimiser: OptimiserState
    rate: float
    cotangents: Tensor


@dataclass(frozen=True, kw_only=True)
class Trace:
    """z = dtheta/deta, decayed by mu from update to update, by parameter name [M, ...]."""

    z: Tensors


@dataclass(frozen=True, kw_only=True)
class MetaState:
    """The state of the learner.

    Attributes:
        logits: x, the unbounded form of eta, float64 [M].
        learner: the inner learner's state.
        optimiser: Adam's state for the logits.
        pending: the last update, or the trace z; None before the first update.
    """

    logits: Tensor = field(
        metadata={
            "misfit": "checkpoint does not fit eta: it holds {num_have} meta-parameters, the config names {num_want}",
        }
    )
    learner: LearnerState
    optimiser: OptimiserState
    pending: PendingUpdate | Trace | None

    @property
    def version(self) -> int:
        """Number of updates."""
        return self.learner.version


def init(
    spec: SpaceSpec, network: NetworkConfig, config: MetaGradient, run_seed: int, device: torch.device
) -> tuple[Agent, MetaState]:
    """Return the agent module and the initial state."""
    agent, learner = actor_critic.init(spec, network, config.learner.optimiser, run_seed, device, config.conditioning)
    logits = to_logits(config.starts, dict(zip(config.eta, config.ranges, strict=True))).to(device)
    return agent, MetaState(
        learner=learner, logits=logits, optimiser=optimisers.init(config.meta.optimiser, {"logits": logits}), pending=None
    )


def network_arrays(config: MetaGradient, state: MetaState) -> Tensors:
    """Parameters and buffers by name: what `functional_call` takes and what a snapshot holds."""
    arrays = actor_critic.network_arrays(state.learner)
    if config.conditioning.num_extras:
        # the position of each in its range
        arrays["eta"] = state.logits.sigmoid().to(next(iter(arrays.values())).dtype)
    return arrays


def tuned(config: MetaGradient, logits: Tensor) -> ImpalaConfig:
    """Config of the inner loss at these logits."""
    values = values_of(logits, config.ranges).tolist()
    return replace(config.learner, **{META_PARAMETERS[name]: value for name, value in zip(config.eta, values, strict=True)})


def update(agent: Agent, config: MetaGradient, state: MetaState, batch: Batch, total_env_steps: int) -> tuple[MetaState, Tensors]:
    """Make one meta-step for the previous update, if there was one, and one gradient step, both on one batch; pure in `state`.

    Returns:
        The next state, and scalars to log, by metric name, still on the device.
    """
    params = {name: parameter.detach().requires_grad_() for name, parameter in state.learner.params.items()}
    arrays = network_arrays(config, state) | params
    num_meta = min(config.meta.batch_unrolls, batch.num_envs)
    meta_batch, rest = batch.columns(slice(num_meta)), batch.columns(slice(num_meta, None))
    # two graphs: the backward pass of J then goes through the columns of the meta-batch alone
    parts = [actor_critic.outputs(agent, arrays, part, config.learner.precision) for part in (meta_batch, rest) if part.num_envs]
    found = Outputs.concatenated(parts)
    outer_target = targets(found.outer, batch, config.outer)

    logits, meta_optimiser, watched = state.logits, state.optimiser, _no_meta_step(config)
    if state.pending is not None:
        objective = outer_objective(parts[0], outer_target.advantage[:, :num_meta], meta_batch, config)
        by_eta = meta_gradient(agent, config, state.pending, _vjp(objective, params, keep=True))
        logits, meta_optimiser, watched = _meta_step(config, state, by_eta, objective)

    inner = tuned(config, logits)
    target, cotangents = _targets_and_cotangents(found, batch, inner, config.eta)
    total, terms = loss_terms(found, target, batch, inner)
    if found.outer_value is not None:
        total = total + config.learner.baseline_cost * value_loss(found.outer_value[:-1], outer_target.value_target, batch.weight)
    keeps_trace = config.meta.derivative == "vjp"
    by_network = [_vjp(_loss_inputs(found), params, one, keep=True) for one in cotangents] if keeps_trace else []
    gradient = _vjp(total, params)
    rate = actor_critic.learning_rate(config.learner, state.learner.env_steps, total_env_steps)
    moved, norm = actor_critic.descend(config.learner, state.learner, gradient, rate)
    pending = PendingUpdate(
        arrays={name: array.detach() for name, array in arrays.items()},
        batch=batch,
        gradient=gradient,
        optimiser=state.learner.optimiser,
        rate=rate,
        cotangents=cotangents,
    )
    next_state = MetaState(
        learner=actor_critic.counted(moved, batch),
        logits=logits,
        optimiser=meta_optimiser,
        pending=_trace(config, state.pending, pending, by_network) if keeps_trace else pending,
    )
    step = {"gradient/norm": norm, "learning_rate": torch.as_tensor(rate)}
    return next_state, terms | step | watched | _eta_by_name(config, logits)


def outer_objective(found: Outputs, advantage: Tensor, batch: Batch, config: MetaGradient) -> Tensor:
    """J: the mean policy-gradient loss on tau' (section 4: no value and no entropy term).

    Gradient: flows to log pi; advantages are constants.
    """
    weight = batch.weight
    num_steps = weight.sum().clamp(min=1.0)
    if config.meta.normalise_advantages:
        advantage = standardised(advantage, weight)
    return policy_gradient_loss(found.log_prob, advantage, weight) / num_steps


def meta_gradient(agent: Agent, config: MetaGradient, pending: PendingUpdate | Trace, cotangent: Tensors) -> Tensor:
    """Return dJ/deta [M] of the pending update, given v = dJ/dtheta'.

    Gradient: none is kept.
    """
    if isinstance(pending, Trace):
        return torch.stack([pending.z[name].flatten(1) @ cotangent[name].flatten() for name in cotangent]).sum(0)
    learner = config.learner
    direction = pull_back(
        learner.optimiser, pending.optimiser, pending.gradient, learner.max_gradient_norm, pending.rate, cotangent
    )

    with torch.no_grad(), forward_ad.dual_level():
        params = {
            name: forward_ad.make_dual(pending.arrays[name], slope)  # type: ignore[no-untyped-call]
            for name, slope in direction.items()
        }
        found = actor_critic.outputs(agent, pending.arrays | params, pending.batch, learner.precision)
        along: Tensor = forward_ad.unpack_dual(_loss_inputs(found)).tangent  # type: ignore[no-untyped-call]
        return torch.einsum("mktb,ktb->m", pending.cotangents, cleared(along, pending.batch.weight))


def _loss_inputs(found: Outputs) -> Tensor:
    """The network's outputs that the inner loss is a function of, [3, T, B]."""
    return torch.stack((found.log_prob, found.value[:-1], found.entropy))


def _targets_and_cotangents(found: Outputs, batch: Batch, inner: ImpalaConfig, eta: tuple[str, ...]) -> tuple[VTrace, Tensor]:
    """V-trace at the current eta, and dc/deta [M, 3, T, B]. Gradient: none."""
    inputs = vtrace_inputs(found, batch, inner)
    derivatives = vtrace_with_derivatives(
        **inputs,
        continues_t=(~batch.terminated).to(found.value.dtype),
        gamma=inner.gamma,
        lambda_=inner.lambda_,
        clips=Clips(rho=inner.clip_rho, c=inner.clip_c, pg_rho=inner.clip_pg_rho, leak_rho=inner.leak_rho, leak_c=inner.leak_c),
        by=return_parameters(eta),
    )
    costs = {"policy_cost": inner.policy_cost, "baseline_cost": inner.baseline_cost}
    return derivatives.targets, cotangent_derivatives(eta, derivatives, inputs["value_t"], batch.weight, **costs)


def _trace(config: MetaGradient, before: PendingUpdate | Trace | None, made: PendingUpdate, by_network: list[Tensors]) -> Trace:
    """Z' = mu z + dtheta'/deta, from dg/deta of each meta-parameter."""
    learner = config.learner
    each = [
        push_forward(learner.optimiser, made.optimiser, made.gradient, learner.max_gradient_norm, made.rate, one)
        for one in by_network
    ]
    z = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    if isinstance(before, Trace) and config.meta.trace_decay > 0:
        z = {name: tensor + config.meta.trace_decay * before.z[name] for name, tensor in z.items()}
    return Trace(z=z)


def _meta_step(
    config: MetaGradient, state: MetaState, by_eta: Tensor, objective: Tensor
) -> tuple[Tensor, OptimiserState, Tensors]:
    """One step of Adam on the logits; returns them, Adam's state, and scalars to log."""
    by_logits = {"logits": by_eta.double() * slopes_of(state.logits, config.ranges)}
    norm = by_logits["logits"].norm()
    if config.meta.max_gradient_norm is not None:
        by_logits, norm = clip_by_global_norm(by_logits, config.meta.max_gradient_norm)
    moved, optimiser = optimisers.apply(
        config.meta.optimiser, state.optimiser, {"logits": state.logits}, by_logits, config.meta.learning_rate
    )
    watched = {f"meta/gradient/{name}": slope for name, slope in zip(config.eta, by_logits["logits"], strict=True)}
    return moved["logits"], optimiser, watched | {"meta/objective": objective.detach(), "meta/gradient_norm": norm}


def _no_meta_step(config: MetaGradient) -> Tensors:
    """The scalars of `_meta_step` before the first meta-step."""
    names = [*(f"meta/gradient/{name}" for name in config.eta), "meta/objective", "meta/gradient_norm"]
    return dict.fromkeys(names, torch.tensor(math.nan))


def _eta_by_name(config: MetaGradient, logits: Tensor) -> Tensors:
    return {f"eta/{name}": value for name, value in zip(config.eta, values_of(logits, config.ranges), strict=True)}


def _vjp(outputs: Tensor, params: Tensors, cotangent: Tensor | None = None, *, keep: bool = False) -> Tensors:
    """The gradient of <cotangent, outputs> by `params`; zero where none flows."""
    found = torch.autograd.grad(
        outputs, list(params.values()), cotangent, retain_graph=keep, allow_unused=True, materialize_grads=True
    )
    return dict(zip(params, found, strict=True))
