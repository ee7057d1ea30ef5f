"""Optimisers as pure functions of (state, parameters, gradients).

    rmsprop_inside_sqrt   m <- d m + (1 - d) g^2,  b <- mu b + lr g / sqrt(m + eps),    p <- p - b        m_0 = 1  (TensorFlow, optax)
    rmsprop_outside_sqrt  m <- d m + (1 - d) g^2,  b <- mu b + g / (sqrt(m) + eps),     p <- p - lr b     m_0 = 0  (PyTorch)
    adam                  f <- b1 f + (1 - b1) g,  m <- b2 m + (1 - b2) g^2,            p <- p - lr f^ / (sqrt(m^) + eps)

The place of epsilon is no detail: IMPALA's 0.01 inside the root bounds the divisor by 0.1 from below, outside by 0.01, a learning rate up
to ten times larger for small gradients. TensorFlow moreover starts m at one, which damps the first updates; `second_moment_init` sets it.

Reference: Tieleman and Hinton (2012), lecture 6.5; Kingma and Ba (2015), algorithm 1; `tf.compat.v1.train.RMSPropOptimizer`,
`torch.optim.RMSprop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor

from learners.ops.flat import flatten, unflatten

Kind = Literal["rmsprop_inside_sqrt", "rmsprop_outside_sqrt", "adam"]


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Which optimiser, and its constants; the learning rate is an argument of `apply`, for it is annealed."""

    kind: Annotated[Kind, Meta(description="update rule; RMSProp with epsilon inside or outside of the square root")] = (
        "rmsprop_inside_sqrt"
    )
    decay: Annotated[float, Meta(ge=0.0, lt=1.0, description="decay of the second moment (RMSProp); 0.99")] = 0.99
    beta1: Annotated[float, Meta(ge=0.0, lt=1.0, description="decay of the first moment (Adam)")] = 0.9
    beta2: Annotated[float, Meta(ge=0.0, lt=1.0, description="decay of the second moment (Adam)")] = 0.999
    epsilon: Annotated[float, Meta(gt=0.0, le=10.0, description="keeps the divisor from zero; IMPALA on Atari: 0.01")] = 0.01
    momentum: Annotated[float, Meta(ge=0.0, lt=1.0, description="momentum (RMSProp); IMPALA: 0")] = 0.0
    second_moment_init: Annotated[
        float | None, Meta(description="start of the second moment; none: 1 for rmsprop_inside_sqrt, 0 otherwise")
    ] = None


@dataclass(frozen=True, kw_only=True)
class OptimiserState:
    """The state of an optimiser.

    Attributes:
        second_moment: running mean of squared gradients, by parameter name.
        first_moment: running mean of gradients (Adam) or momentum buffer (RMSProp); empty without momentum.
        step: number of updates made; a tensor where an update is traced.
    """

    second_moment: dict[str, Tensor]
    first_moment: dict[str, Tensor] = field(default_factory=dict)
    step: int | Tensor = 0


def init(config: OptimiserConfig, params: dict[str, Tensor]) -> OptimiserState:
    """Return the state before the first update."""
    start = config.second_moment_init
    if start is None:
        start = 1.0 if config.kind == "rmsprop_inside_sqrt" else 0.0
    has_first = config.kind == "adam" or config.momentum > 0
    return OptimiserState(
        second_moment={name: torch.full_like(tensor, start, requires_grad=False) for name, tensor in params.items()},
        first_moment={name: torch.zeros_like(tensor, requires_grad=False) for name, tensor in params.items()}
        if has_first
        else {},
    )


def apply(
    config: OptimiserConfig,
    state: OptimiserState,
    params: dict[str, Tensor],
    grads: dict[str, Tensor],
    learning_rate: float | Float[Tensor, ""],
) -> tuple[dict[str, Tensor], OptimiserState]:
    """Make one update.

    Args:
        config: constants.
        state: what `init` or the last `apply` returned.
        params: parameters by name.
        grads: their gradients, by the same names.
        learning_rate: step size.

    Returns:
        The new parameters and the new state; no input is modified.

    Gradient: flows to parameters, gradients, state and learning rate; finite also where the second moment is zero.
    """
    weights, slopes = flatten(params.values()), flatten(grads[name] for name in params)
    second = flatten(state.second_moment[name] for name in params)
    first = flatten(state.first_moment[name] for name in params) if state.first_moment else None
    if config.kind == "adam":
        assert first is not None
        step, first, second = _adam(config, slopes, first, second, learning_rate, state.step + 1)
    else:
        step, first, second = _rmsprop(config, slopes, first, second, learning_rate)
    new_state = OptimiserState(
        second_moment=unflatten(second, params),
        first_moment={} if first is None else unflatten(first, params),
        step=state.step + 1,
    )
    return unflatten(weights - step, params), new_state


def flattened(state: OptimiserState, params: dict[str, Tensor]) -> OptimiserState:
    """Return the state of the same optimiser over all of `params` as one vector, named `all`: for many steps in a row."""
    second, first = (
        {"all": flatten(of[name] for name in params)} if of else {} for of in (state.second_moment, state.first_moment)
    )
    return OptimiserState(second_moment=second, first_moment=first, step=state.step)


def unflattened(state: OptimiserState, params: dict[str, Tensor]) -> OptimiserState:
    """The inverse of `flattened`."""
    second, first = (unflatten(of["all"], params) if of else {} for of in (state.second_moment, state.first_moment))
    return OptimiserState(second_moment=second, first_moment=first, step=state.step)


_Update = tuple[Tensor, Tensor | None, Tensor]
"""The step to subtract, the new first moment, the new second moment; each of all parameters in one vector."""


def _rmsprop(
    config: OptimiserConfig, grad: Tensor, first: Tensor | None, second: Tensor, learning_rate: float | Tensor
) -> _Update:
    second = _decayed(second, grad * grad, config.decay)
    is_inside = config.kind == "rmsprop_inside_sqrt"
    step = grad / ((second + config.epsilon).sqrt() if is_inside else _safe_sqrt(second) + config.epsilon)
    if first is None:
        return step * learning_rate, None, second
    if is_inside:  # TensorFlow accumulates steps, PyTorch accumulates directions: equal at a constant rate
        first = first * config.momentum + step * learning_rate
        return first, first, second
    first = first * config.momentum + step
    return first * learning_rate, first, second


def _adam(
    config: OptimiserConfig, grad: Tensor, first: Tensor, second: Tensor, learning_rate: float | Tensor, step: int | Tensor
) -> _Update:
    first = _decayed(first, grad, config.beta1)
    second = _decayed(second, grad * grad, config.beta2)
    correction1, correction2 = 1 - config.beta1**step, 1 - config.beta2**step
    direction = (first / correction1) / (_safe_sqrt(second / correction2) + config.epsilon)
    return direction * learning_rate, first, second


def _decayed(old: Tensor, new: Tensor, decay: float) -> Tensor:
    """Return decay * old + (1 - decay) * new."""
    return torch.add(old * decay, new, alpha=1 - decay)


def _safe_sqrt(squares: Tensor) -> Tensor:
    """The root, whose derivative at zero is zero and not infinity: a parameter without gradient must not turn a meta-gradient into NaN."""
    return squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
