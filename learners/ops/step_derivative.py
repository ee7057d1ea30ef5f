"""The derivative of one clipped optimiser step by its gradient.

    theta' = theta - step(clip(g)),      pull_back(v)   = (d theta' / d g)^T v
                                         push_forward(x) = (d theta' / d g) x

The step of each parameter is a function of its own gradient only, so its Jacobian D is diagonal; that of the clip, C, is
s (I - g g^T / |g|^2) or I, symmetric either way. So the vector-Jacobian products of both, from reverse mode through a few
elementwise operations, serve both directions: pull_back = C D v, push_forward = D C x. No network is differentiated here.

Reference: Xu, van Hasselt and Silver (2018), appendix C.2 (RMSProp is differentiated through).
"""

from __future__ import annotations

import torch
from torch import Tensor

from learners.ops import optimisers
from learners.ops.clip import clip_by_global_norm
from learners.ops.optimisers import OptimiserConfig, OptimiserState

Tensors = dict[str, Tensor]


def pull_back(
    config: OptimiserConfig, state: OptimiserState, grads: Tensors, max_norm: float, learning_rate: float, cotangent: Tensors
) -> Tensors:
    """Return the gradient by `grads` of <cotangent, theta'>.

    Args:
        config: of the optimiser.
        state: of the optimiser, before the step.
        grads: the gradient before clipping, by parameter name.
        max_norm: of the clip.
        learning_rate: of the step.
        cotangent: derivative of something by theta', by the same names.

    Gradient: none is kept.
    """
    return _through_clip(grads, max_norm, _through_step(config, state, grads, max_norm, learning_rate, cotangent))


def push_forward(
    config: OptimiserConfig, state: OptimiserState, grads: Tensors, max_norm: float, learning_rate: float, tangent: Tensors
) -> Tensors:
    """Return the change of theta' along `tangent`, a change of `grads`.

    Args:
        config: of the optimiser.
        state: of the optimiser, before the step.
        grads: the gradient before clipping, by parameter name.
        max_norm: of the clip.
        learning_rate: of the step.
        tangent: derivative of `grads` by something, by the same names.

    Gradient: none is kept.
    """
    return _through_step(config, state, grads, max_norm, learning_rate, _through_clip(grads, max_norm, tangent))


def _through_clip(grads: Tensors, max_norm: float, vector: Tensors) -> Tensors:
    leaves = _leaves(grads)
    with torch.enable_grad():
        return _vjp(clip_by_global_norm(leaves, max_norm)[0], leaves, vector)


def _through_step(
    config: OptimiserConfig, state: OptimiserState, grads: Tensors, max_norm: float, learning_rate: float, vector: Tensors
) -> Tensors:
    leaves = _leaves(clip_by_global_norm(grads, max_norm)[0])
    with torch.enable_grad():
        # the step does not depend on the values of the parameters
        still = {name: torch.zeros_like(grad) for name, grad in grads.items()}
        return _vjp(optimisers.apply(config, state, still, leaves, learning_rate)[0], leaves, vector)


def _leaves(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().requires_grad_() for name, tensor in tensors.items()}


def _vjp(outputs: Tensors, inputs: Tensors, vector: Tensors) -> Tensors:
    found = torch.autograd.grad([outputs[name] for name in inputs], list(inputs.values()), [vector[name] for name in inputs])
    return dict(zip(inputs, found, strict=True))
