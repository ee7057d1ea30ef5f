"""TD(lambda) prediction with state-dependent discount and trace parameter, tuned by meta-gradients.

Reference: Xu, van Hasselt, Silver (2018), "Meta-Gradient Reinforcement Learning", arXiv 1805.09801: the update and its meta-gradient
(section 1), meta-gradient prediction, the illustrative examples with gamma and lambda of the state.

    g_t      = R_{t+1} + gamma(S_{t+1}) ((1 - lambda(S_{t+1})) v(S_{t+1}) + lambda(S_{t+1}) g_{t+1})                          (1)
    v'       = v + f(tau, v, eta),      f(s) = alpha sum_{t: S_t = s} (g_t - v(s))                                            (2)
    J'       = mean_t (g'_t - v'(S'_t))^2 on the next episode tau', with g' of the fixed eta' = (outer_gamma, outer_lambda)   (3)
    dJ'/deta = dJ'/dv' . df/deta = sum_t dJ'/dv'(S_t) alpha dg_t/deta                                                         (4)
    x       <- x - beta dJ'/dx,         eta = sigmoid(x)                                                                      (5)

eta enters f through the returns g alone, so (4) is one reverse pass through the recursion (1), with alpha dJ'/dv'(S_t) as the
cotangent of g_t: exact, and nothing is differentiated twice. The recursion is differentiated to its end: gamma(S_{t+2}) has its part in
g_t through g_{t+1}. The values in g and in g' are constants (semi-gradient).

An episode is used twice: as tau' of the update before it, and then, under the new eta, as tau.

Deviations from the paper:
    1. A = 0 in its trace z' = A z + df/deta, as in its Atari experiments: an update is credited with the next episode only.
    2. J' is the mean and not the sum over the steps of an episode, so that beta does not depend on its length.
    3. N learners, each with values, eta and episodes of its own, are computed side by side, independently.

Letters: T time, N learners, S states, the terminal one included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from benchmarks.reward_processes import Walk
from learners.ops.masks import cleared
from learners.ops.returns import lambda_returns

EtaName = Literal["gamma", "lambda"]


@dataclass(frozen=True, kw_only=True)
class TDConfig:
    """Hyper-parameters; the defaults suit MRP-gamma."""

    eta: Annotated[tuple[EtaName, ...], Meta(description="meta-parameters to tune; the other one is 1 in every state")] = (
        "gamma",
    )
    learning_rate: Annotated[float, Meta(gt=0, le=1, description="alpha, the step size of the values")] = 0.5
    meta_learning_rate: Annotated[float, Meta(ge=0, description="beta, the step size of the logits of eta")] = 5.0
    initial_logit: Annotated[float, Meta(description="the logits at the start; 0 is eta 0.5")] = 0.0
    outer_gamma: Annotated[float, Meta(ge=0, le=1, description="discount of the outer objective")] = 1.0
    outer_lambda: Annotated[float, Meta(ge=0, le=1, description="trace parameter of the outer objective")] = 1.0


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A `Walk` as tensors; `weight` [T, N] is 1 where step t is experience and 0 at a reset row."""

    state: Tensor
    reward: Tensor
    terminated: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class TDState:
    """State of the learners.

    Attributes:
        value: v [S, N].
        logits: x [S, N] of each tuned meta-parameter.
        pending: the last tau and the value [S, N] before its update, until their tau'; None before the first update.
    """

    value: Tensor
    logits: dict[EtaName, Tensor]
    pending: tuple[Steps, Tensor] | None


@dataclass(frozen=True, kw_only=True)
class History:
    """Eta over the episodes.

    Attributes:
        episode: [R] number of episodes seen at each record.
        eta: [R, S, N] of each tuned meta-parameter.
    """

    episode: np.ndarray
    eta: dict[EtaName, np.ndarray]


def init(config: TDConfig, num_states: int, num_learners: int, dtype: torch.dtype = torch.float64) -> TDState:
    """Return the initial learners; `num_states` counts the terminal state, which is the last."""
    zeros = torch.zeros(num_states, num_learners, dtype=dtype)
    return TDState(value=zeros, logits=dict.fromkeys(config.eta, zeros + config.initial_logit), pending=None)


def steps_of(walk: Walk, dtype: torch.dtype = torch.float64) -> Steps:
    """Return `walk` as tensors."""
    return Steps(
        state=torch.from_numpy(walk.state),
        reward=torch.from_numpy(walk.reward).to(dtype),
        terminated=torch.from_numpy(walk.terminated),
        weight=torch.from_numpy(~walk.is_first[1:]).to(dtype),
    )


def target(value: Tensor, eta: Mapping[EtaName, Tensor], steps: Steps) -> Tensor:
    """Return g_t of (1), [T, N].

    Args:
        value: v [S, N].
        eta: [S, N] of each meta-parameter that is not 1 everywhere.
        steps: the episode.

    Gradient: flows to `value` and `eta`, through the whole recursion.
    """
    successor = steps.state[1:]
    ones = torch.ones_like(steps.reward)
    gamma, lambda_ = (eta[name].gather(0, successor) if name in eta else ones for name in ("gamma", "lambda"))
    return lambda_returns(
        reward_t=steps.reward,
        discount_t=gamma * ~steps.terminated,
        value_tp1=value.gather(0, successor),
        lambda_=lambda_,
        weight_t=steps.weight,
    )


def td_update(config: TDConfig, value: Tensor, eta: Mapping[EtaName, Tensor], steps: Steps) -> Tensor:
    """Return v' of (2).

    Gradient: flows to `value` and `eta`; detach inputs that should be constants.
    """
    visited = steps.state[:-1]
    error = cleared(target(value.detach(), eta, steps) - value.gather(0, visited), steps.weight)
    return value + config.learning_rate * torch.zeros_like(value).scatter_add(0, visited, error)


def outer_gradient(config: TDConfig, value: Tensor, steps: Steps) -> Tensor:
    """Return dJ'/dv' of (3), [S, N]."""
    outer: dict[EtaName, Tensor] = {
        "gamma": torch.full_like(value, config.outer_gamma),
        "lambda": torch.full_like(value, config.outer_lambda),
    }
    visited = steps.state[:-1]
    error = cleared(target(value, outer, steps) - value.gather(0, visited), steps.weight) / steps.weight.sum(dim=0)
    return torch.zeros_like(value).scatter_add(0, visited, -2.0 * error)


def meta_gradient(config: TDConfig, state: TDState, validation: Steps) -> dict[EtaName, Tensor]:
    """Return dJ'/dx of (4) and (5), [S, N] for each tuned meta-parameter.

    Args:
        config: constants.
        state: learners after an update, which holds that update's tau.
        validation: tau'.
    """
    if state.pending is None or not state.logits:
        return {}
    steps, value_before = state.pending
    cotangent = config.learning_rate * steps.weight * outer_gradient(config, state.value, validation).gather(0, steps.state[:-1])
    logits = {name: logit.detach().requires_grad_() for name, logit in state.logits.items()}
    returns = target(value_before, eta_of(logits), steps)
    return dict(zip(logits, torch.autograd.grad(returns, list(logits.values()), cotangent), strict=True))


def eta_of(logits: Mapping[EtaName, Tensor]) -> dict[EtaName, Tensor]:
    """Return the meta-parameters [S, N] that the logits stand for."""
    return {name: torch.sigmoid(logit) for name, logit in logits.items()}


def update(config: TDConfig, state: TDState, walk: Walk) -> TDState:
    """Make one meta-step on an episode, then one update of the values on it; pure in `state`."""
    steps = steps_of(walk, state.value.dtype)
    gradients = meta_gradient(config, state, steps)
    logits = {
        name: logit - config.meta_learning_rate * gradients[name] if name in gradients else logit
        for name, logit in state.logits.items()
    }
    return TDState(value=td_update(config, state.value, eta_of(logits), steps), logits=logits, pending=(steps, state.value))


def iterate(
    config: TDConfig, state: TDState, next_walk: Callable[[], Walk], *, num_updates: int, record_every: int = 10
) -> tuple[TDState, History]:
    """Learn from `num_updates` episodes of `next_walk`, and record eta every `record_every` of them."""
    episodes, records = [], []
    for episode in range(1, num_updates + 1):
        state = update(config, state, next_walk())
        if episode % record_every == 0 or episode == num_updates:
            episodes.append(episode)
            records.append(eta_of(state.logits))
    eta = {name: torch.stack([record[name] for record in records]).numpy() for name in state.logits}
    return state, History(episode=np.array(episodes), eta=eta)
